"""Measure the running daemon: time from start to first event, and memory.

    python benchmarks/daemon.py [--camera file:CLIP] [--runs 5]

Starts a mosquitto on loopback, runs `emotion-edge run` until its clip ends, and prints one table. The first event is
timed from the start of the process until a subscriber has received it. Memory is the peak resident set that the daemon
reads at its end (``/proc/self/status``, VmHWM); the ru_maxrss of wait4(2) would include that of this program.
"""

import argparse
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.table import Table

from edge.cli.watch import listening, read
from edge.settings import MqttSettings

DAEMON = """
import atexit, edge.cli
from edge.daemon.machine import peak_memory_mb
atexit.register(lambda: print(peak_memory_mb()))
edge.cli.main()
"""
"""The program `emotion-edge`, which prints its peak memory in megabytes as its last line."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--camera", default="demo:?pace=fast", help="file:CLIP, a clip with a face in its first frame")
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    with mosquitto() as url:
        runs = [measure(arguments.camera, url) for _ in range(arguments.runs)]
    table = Table(title=f"{arguments.camera}, {len(runs)} runs, {os.cpu_count()} cores")
    for name in ("figure", "median", "least", "most"):
        table.add_column(name, justify="left" if name == "figure" else "right")
    first_event_s, memory_mb = zip(*runs, strict=True)
    for name, unit, values in (("start to first event", "s", first_event_s), ("peak memory", "MB", memory_mb)):
        shown = (statistics.median(values), min(values), max(values))
        table.add_row(name, *(f"{value:.2f} {unit}" for value in shown))
    Console().print(table)


def measure(camera: str, url: str) -> tuple[float, float]:
    """Run the daemon once; return seconds to the first event, and megabytes (10^6 bytes) at the peak."""
    first_s: float | None = None
    with (
        tempfile.TemporaryDirectory(prefix="emotion-edge-benchmark-") as folder,
        listening(MqttSettings(url=url), "benchmark") as subscriber,
    ):
        command = [sys.executable, "-c", DAEMON, "run", "--quiet", "--camera", camera, "--device", "benchmark",
                   "--mqtt", url, "--state-dir", folder, "--config", os.devnull]  # fmt: skip
        began_s = time.monotonic()
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as daemon:
            while first_s is None and daemon.poll() is None:
                if any(seen.row.table == "event" for seen in read(subscriber, timeout_s=0.5)):
                    first_s = time.monotonic()
            printed, _ = daemon.communicate()
    if daemon.returncode or first_s is None:
        raise SystemExit(f"the daemon ended with exit code {daemon.returncode}, and no event came")
    return first_s - began_s, float(printed.splitlines()[-1])


@contextmanager
def mosquitto() -> Iterator[str]:
    """Run a broker on loopback; yields its address."""
    program = shutil.which("mosquitto", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        raise SystemExit("needs mosquitto (sudo apt install mosquitto)")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as conf:
        conf.write(f"listener {port} 127.0.0.1\nallow_anonymous true\n")
        conf.flush()
        with subprocess.Popen([program, "-c", conf.name], stderr=subprocess.DEVNULL) as broker:
            while broker.poll() is None:
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.01)
            if broker.poll() is not None:
                raise SystemExit(f"mosquitto ended with exit code {broker.returncode}")
            try:
                yield f"mqtt://127.0.0.1:{port}"
            finally:
                broker.terminate()


if __name__ == "__main__":
    main()
