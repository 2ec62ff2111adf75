"""Measure what the live page costs: CPU of the daemon, and the time from a frame to the broker's acknowledgement.

    python -m benchmarks.page [--rounds 6]

Two daemons play the built-in clip (640x480 in colour, 15 frames/s) at the same time, one without a page, one with a
page that nobody, one or five look at in turn, each with both streams. Their CPU time is read from ``/proc``, so load of
the machine matters little. For the time to the acknowledgement, each frame with a face becomes an event, one frame
after the other at 15 frames/s, with nobody and with one viewer in turn. Viewers run in a process of their own.
"""

import argparse
import http.client
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.daemon import mosquitto
from benchmarks.latency import event
from edge.cameras import open_camera
from edge.cameras.demo import FPS, SECONDS
from edge.clock import SystemClock, new_boot_id
from edge.events.visits import Visits
from edge.mqtt.outbox import Outbox
from edge.mqtt.publisher import Publisher
from edge.pipeline import load_pipeline
from edge.settings import MqttSettings, Settings, WebSettings
from edge.web import View
from edge.web.examination import Examination
from edge.web.server import PageServer


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=float(SECONDS), help="multiples of the clip's length")
    parser.add_argument("--look", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.look:
        look(int(arguments.look[0]), int(arguments.look[1]))
        return
    with mosquitto() as url:
        show_cpu(url, arguments.rounds, arguments.seconds)
        show_latency(url, arguments.rounds, frames=round(arguments.seconds * FPS))


def show_cpu(url: str, rounds: int, seconds: float) -> None:
    """Print the CPU of the daemons, percent of one core."""
    percents: dict[str, list[float]] = {}
    pictures: list[float] = []
    with daemon(url, page=False) as (without, _), daemon(url, page=True) as (with_page, port):
        for _ in range(rounds):
            for count in (0, 1, 5):
                with viewers(port, count) as seen:
                    before = [cpu_s(pid) for pid in (without, with_page)]
                    began_s = time.monotonic()
                    time.sleep(seconds)
                    took_s = time.monotonic() - began_s
                    off, on = (
                        100 * (cpu_s(pid) - b) / took_s for pid, b in zip((without, with_page), before, strict=True)
                    )
                percents.setdefault("no page", []).append(off)
                percents.setdefault(f"page, {count} looking", []).append(on)
                percents.setdefault(f"added by {count}", []).append(on - off)
                if count == 1:
                    pictures.append(seen() / took_s)
    table = Table(title=f"CPU of the daemon, % of one core, {rounds} rounds of {seconds:g} s; "
                  f"one viewer got {statistics.median(pictures):.1f} pictures/s")  # fmt: skip
    for name in ("daemon", "median", "least", "most"):
        table.add_column(name, justify="left" if name == "daemon" else "right")
    for name, values in percents.items():
        table.add_row(name, *(f"{value:.1f}" for value in (statistics.median(values), min(values), max(values))))
    Console().print(table)


def show_latency(url: str, rounds: int, *, frames: int) -> None:
    """Print the time from a frame to the acknowledgement."""
    view = View()
    settings = Settings(web=WebSettings(enabled=True, picture=True, listen="127.0.0.1:0"))
    page = PageServer(settings, view, examination=Examination(), clock=SystemClock())
    page.start()
    port = int(page.address.rpartition(":")[2].rstrip("/"))
    pipeline = load_pipeline(settings, live=True)
    source = open_camera("demo:?loop=1&pace=fast")
    times_ms: dict[int, list[float]] = {0: [], 1: []}
    with tempfile.TemporaryDirectory(prefix="emotion-edge-page-") as folder:
        outbox = Outbox(Path(folder) / "outbox.sqlite3", max_events=1000, max_age_s=3600)
        publisher = Publisher(MqttSettings(url=url), "page", outbox, boot=new_boot_id(), version="0", model=lambda: "m")
        publisher.start()
        visits = Visits(settings.smoothing, forget_after_s=2.0)
        for index in range(2 * rounds):
            with viewers(port, index % 2):
                for number in range(frames):
                    frame = source.read(5)
                    assert frame is not None
                    began_s = time.perf_counter()
                    faces = pipeline.follow(frame)
                    visits.update(faces, frame.time_s)
                    if view.wants_scene():
                        view.show(frame, faces, visits.readings())
                    if faces:
                        publisher.publish_events([event(faces[0])])
                        if not publisher.drain(10):
                            raise SystemExit("the broker does not acknowledge")
                        if number > 5:
                            times_ms[index % 2].append(1000 * (time.perf_counter() - began_s))
                    time.sleep(max(0.0, 1 / FPS - (time.perf_counter() - began_s)))
        publisher.stop(3)
        outbox.close()
    source.close()
    page.close(3)
    table = Table(title=f"frame to PUBACK, load {os.getloadavg()[0]:.1f}")
    for name in ("ms", "events", "p50", "p90", "p99"):
        table.add_column(name, justify="left" if name == "ms" else "right")
    for count, values in times_ms.items():
        shown = (f"{value:.2f}" for value in np.percentile(values, (50, 90, 99)))
        table.add_row(f"{count} looking", str(len(values)), *shown)
    Console().print(table)
    print(f"median with one viewer / with nobody: {np.median(times_ms[1]) / np.median(times_ms[0]):.3f}")


@contextmanager
def daemon(url: str, *, page: bool) -> Iterator[tuple[int, int]]:
    """Run a daemon; yields its process id, and the port of its page."""
    with tempfile.TemporaryDirectory(prefix="emotion-edge-page-") as folder:
        port = 8379
        settings = Path(folder) / "config.toml"
        settings.write_text(f'[web]\nenabled = {str(page).lower()}\npicture = true\nlisten = "127.0.0.1:{port}"\n')
        command = [sys.executable, "-m", "edge", "run", "--quiet", "--camera", "demo:?pace=realtime&loop=1",
                   "--mqtt", url, "--device", f"page-{page}".lower(), "--state-dir", folder,
                   "--config", str(settings)]  # fmt: skip
        process = subprocess.Popen(command)
        try:
            time.sleep(5)
            yield process.pid, port
        finally:
            process.terminate()
            process.wait(20)


def cpu_s(pid: int) -> float:
    """Return the CPU seconds of a process so far (proc(5), utime and stime)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def viewers(port: int, count: int) -> Iterator[Callable[[], int]]:
    """Let some look, in a process of their own; yields what returns the pictures that one of them got in the end."""
    if not count:
        yield lambda: 0
        return
    command = [sys.executable, "-m", "benchmarks.page", "--look", str(port), str(count)]
    got: list[int] = []
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()  # all look
        yield lambda: got[0]
        said, _ = process.communicate("end\n")
        got.append(int(said))


def look(port: int, count: int) -> None:
    """Read both streams as ``count`` pages do until something comes on standard input, and print a picture count."""
    pictures = [0] * count
    ready = threading.Barrier(2 * count + 1)

    def read(path: str, number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        connection.request("GET", path)
        answer = connection.getresponse()
        ready.wait()
        with suppress(OSError, ValueError):
            while part := answer.read1(65_536):
                pictures[number] += part.count(b"X-Scene")

    for number in range(count):
        for path in ("/events", "/picture"):
            threading.Thread(target=read, args=(path, number), daemon=True).start()
    ready.wait()
    pictures[:] = [0] * count
    print("all look", flush=True)
    sys.stdin.readline()
    print(pictures[0], flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
