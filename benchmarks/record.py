"""Measure `emotion-edge collect`: how fast it is, and what is lost when something dies.

    python -m benchmarks.record [rate] [kills] [report] [--events 50000] [--times 10]

`rate` has events of 100 devices waiting at mosquitto and measures how fast one collector stores them, and with how much
CPU time and memory. `kills` publishes with the product's own publisher and outbox, kills collector, broker or database
(-9) again and again, and compares what was sent with what is in the record. `report` makes a
record of a million events of 12 devices in a day of 25 hours, and draws it. Each prints one table.
"""

import argparse
import heapq
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec
import paho.mqtt.client as paho
import sqlalchemy as sa
from paho.mqtt.enums import CallbackAPIVersion
from rich.console import Console
from rich.table import Table

from benchmarks.faults import device
from edge.clock import new_boot_id
from edge.emotions import EMOTIONS, UNCERTAIN
from edge.mqtt.publisher import Publisher
from edge.record.database import EVENT, METADATA, Database, open_engine
from edge.record.gaps import find_gaps
from edge.record.messages import Row, Value
from edge.record.period import day
from tests.fakes.mosquitto import Mosquitto
from tests.fakes.postgresql import PostgreSQL, missing

PATIENCE_S = 120.0
SEED = 20_261_127
REPORTED = 1_000_000
"""Events of the day that is reported."""
DAY = day("2026-10-25", ZoneInfo("Europe/Berlin"))


@dataclass(slots=True)
class Tally:
    """What was sent and what is in the record."""

    fault: str
    sent: int
    stored: int
    twice: int
    """rows of one event beyond the first"""
    lost: int
    gaps: int
    times: int
    took_s: float


class Collecting:
    """`emotion-edge collect` as a process."""

    def __init__(self, broker: Mosquitto, to: str, log: Path, *arguments: str) -> None:
        password_file = broker.settings().password_file
        url = broker.url.replace("//", f"//{broker.username}@")
        self._command = [sys.executable, "-m", "edge", "collect", "--mqtt", url, "--to", to, "--password-file",
                         password_file, *arguments]  # fmt: skip
        self._log = log
        self.process: subprocess.Popen[bytes] | None = None
        self.cpu_s = self.memory_mb = 0.0

    def start(self) -> None:
        """Start it."""
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(self._command, stdout=log, stderr=log)

    def end(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End it, and add what it used."""
        assert self.process is not None
        with suppress(ProcessLookupError):
            self.process.send_signal(how)
        _, _, used = os.wait4(self.process.pid, 0)
        self.process.returncode = 0
        self.cpu_s += used.ru_utime + used.ru_stime
        self.memory_mb = max(self.memory_mb, used.ru_maxrss * 1024 / 1e6)

    @property
    def connections(self) -> int:
        """How many times it has said that it is connected."""
        return self._log.read_text(errors="replace").count("connected to broker") if self._log.exists() else 0


@dataclass(slots=True)
class Device:
    """A device that publishes: the real outbox and publisher."""

    publisher: Publisher
    sent: list[int] = field(default_factory=list)
    """``seq`` of what the outbox took"""

    @contextmanager
    def publishing(self, rate: float) -> Iterator[None]:
        """Publish at this rate, a second, in a thread."""
        stop = threading.Event()
        boot = new_boot_id()

        def run() -> None:
            while not stop.wait(1 / rate):
                self.sent += self.publisher.publish_events([device.event(boot)])

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()


@contextmanager
def site(folder: Path, to: str, *, collectors: int = 1) -> Iterator[tuple[Mosquitto, list[Collecting], Device]]:
    """Run a broker, collectors that have subscribed, and a device."""
    folder.mkdir(parents=True, exist_ok=True)
    broker = Mosquitto(folder / "broker", autosave=False)
    with (folder / "broker/mosquitto.conf").open("a") as conf:
        conf.write("max_queued_messages 0\n")  # Mosquitto's default drops what is beyond 1000
    with broker, ExitStack() as stack:
        share = ["--share", "test"] if collectors > 1 else []
        all_of_them = [
            Collecting(broker, to, folder / f"collect-{number}.log", "--name", f"c{number}", *share)
            for number in range(collectors)
        ]
        for one in all_of_them:
            one.start()
            stack.callback(one.end)
        wait(lambda: (folder / "broker/mosquitto.log").read_text().count("Sending SUBACK") >= 1)
        for one in all_of_them:
            wait(lambda one=one: one.connections)  # type: ignore[misc]
        outbox = device.outbox(folder)
        publisher = device.publisher(broker.settings(), outbox, new_boot_id())
        publisher.start()
        wait(lambda: publisher.stats().connected)
        broker.save()
        try:
            yield broker, all_of_them, Device(publisher)
        finally:
            publisher.stop(5)
            outbox.close()


def collector_killed(folder: Path, to: str, *, times: int = 10, rate: float = 200.0, collectors: int = 1) -> Tally:
    """Kill a collector (-9) at random moments, and start it again."""
    rng = random.Random(SEED)
    with site(folder, to, collectors=collectors) as (_, running, one):
        began_s = time.monotonic()
        with one.publishing(rate):
            for _ in range(times):
                time.sleep(rng.uniform(0.3, 1.2))
                victim = rng.choice(running)
                victim.end(signal.SIGKILL)
                victim.start()
            time.sleep(0.5)
        name = f"collector killed (-9){f', one of {collectors}' if collectors > 1 else ''}, {kind(to)}"
        return count(name, one, to, times, began_s)


def broker_killed(folder: Path, to: str, *, times: int = 10, rate: float = 100.0, down_s: float = 1.0) -> Tally:
    """Kill the broker (-9) when the collector has caught up, publish while it is away, and start it again."""
    with site(folder, to) as (broker, (collecting,), one):
        began_s = time.monotonic()
        for _ in range(times):
            with one.publishing(rate):
                time.sleep(1.0)
            # A broker loses what it has acknowledged and only has in memory; no device and no collector can know.
            assert one.publisher.drain(PATIENCE_S)
            wait(lambda: stored(to) == len(one.sent))
            before = collecting.connections
            broker.kill()
            with one.publishing(rate):
                time.sleep(down_s)
            broker.start()
            wait(lambda before=before: collecting.connections > before)  # type: ignore[misc]
        return count(f"broker killed (-9), {kind(to)}", one, to, times, began_s)


def database_killed(
    folder: Path, server: PostgreSQL, *, times: int = 5, rate: float = 200.0, collectors: int = 1
) -> Tally:
    """Kill PostgreSQL (-9) and start it again."""
    with site(folder, server.url, collectors=collectors) as (_, _, one):
        began_s = time.monotonic()
        with one.publishing(rate):
            for _ in range(times):
                time.sleep(1.0)
                server.kill()
                time.sleep(0.5)
                server.start()
        return count("PostgreSQL killed (-9)", one, server.url, times, began_s)


def count(fault: str, one: Device, to: str, times: int, began_s: float) -> Tally:
    """Wait for the last event, and compare."""
    assert one.publisher.drain(PATIENCE_S)
    with suppress(TimeoutError):
        wait(lambda: stored(to) >= len(one.sent))
    engine = open_engine(to)
    with engine.connect() as connection:
        rows = connection.execute(sa.select(EVENT.c.seq)).scalars().all()
    gaps = sum(gap.missing for gap in find_gaps(engine))
    engine.dispose()
    lost = len(set(one.sent) - set(rows))
    return Tally(
        fault, len(one.sent), len(rows), len(rows) - len(set(rows)), lost, gaps, times, time.monotonic() - began_s
    )


def stored(to: str) -> int:
    """Return the number of events in the record; 0 if it cannot be read now."""
    from edge.errors import EmotionEdgeError

    try:
        engine = open_engine(to)
    except EmotionEdgeError:
        return 0
    try:
        with engine.connect() as connection:
            return connection.execute(sa.select(sa.func.count()).select_from(EVENT)).scalar_one()
    except sa.exc.DBAPIError:
        return 0
    finally:
        engine.dispose()


def kind(to: str) -> str:
    """Name a target."""
    return "PostgreSQL" if to.startswith("postgresql") else {".db": "SQLite"}.get(Path(to).suffix, Path(to).suffix[1:])


def wait(done: Callable[[], object], timeout_s: float = PATIENCE_S) -> None:
    """Wait for what only looking can tell."""
    deadline = time.monotonic() + timeout_s
    while not done():
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.02)


def flood(broker: Mosquitto, events: int, devices: int) -> None:
    """Publish events of many devices as fast as the broker takes them; they wait for the collector."""
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    client.username_pw_set(broker.username, broker.password)
    client.max_inflight_messages_set(1000)
    client.connect("127.0.0.1", broker.port)
    client.loop_start()
    boot = new_boot_id()
    for number in range(events):
        name = f"device-{number % devices:03}"
        sent = msgspec.structs.replace(device.event(boot), device=name, seq=number // devices + 1)
        info = client.publish(f"emotion/1/{name}/event", msgspec.json.encode(sent), qos=1)
        if number % 500 == 499:
            info.wait_for_publish(PATIENCE_S)
    info.wait_for_publish(PATIENCE_S)
    client.disconnect()
    client.loop_stop()


def measure_rate(folder: Path, to: str, *, events: int, devices: int = 100) -> dict[str, float]:
    """Let events wait at the broker, and time one collector from its first row to its last."""
    with site(folder, to) as (broker, (collecting,), _):
        collecting.end()
        flood(broker, events, devices)
        collecting.cpu_s = 0.0
        collecting.start()
        wait(lambda: stored(to) > 0)
        began_s, first = time.monotonic(), stored(to)
        while (now := stored(to)) < events:
            time.sleep(0.1)
        took_s = time.monotonic() - began_s
        collecting.end()
        collecting.start()
        return {
            "events": now,
            "per_s": (now - first) / took_s,
            "cpu_s": collecting.cpu_s,
            "memory": collecting.memory_mb,
        }


def write_day(path: Path, events: int, devices: int = 12) -> None:
    """Write a record of visits, spread over a day in which the clocks change, nearly in the order of their arrival."""
    each = events // devices // 4
    visits = heapq.merge(*(visits_of(number, each) for number in range(devices)), key=lambda rows: str(rows[0]["id"]))
    database = Database(str(path))
    rows = (Row("event", values) for visit in visits for values in visit)
    while some := list(islice(rows, 10_000)):
        database.store(some)
    database.close()


def visits_of(number: int, visits: int) -> Iterator[list[dict[str, Value]]]:
    """Yield the rows of each visit at one device, four events each."""
    chance = random.Random(SEED + number)
    starts = sorted(chance.randrange(DAY.start_ms, DAY.end_ms - 60_000) for _ in range(visits))
    scores: dict[str, Value] = {str(one): 0.2 for one in EMOTIONS}
    for face, start_ms in enumerate(starts, 1):
        rows: list[dict[str, Value]] = []
        at_ms = start_ms
        for step, kind in enumerate(("face_appeared", "emotion_changed", "emotion_changed", "face_left"), 1):
            rows.append({
                "device": f"device-{number:02}", "id": f"{at_ms:013x}-{number}-{face}", "seq": 4 * (face - 1) + step,
                "boot": "0123456789abcdef", "event_type": kind, "time_ms": at_ms, "mono_ms": at_ms - DAY.start_ms,
                "time_synced": True, "face": face, "x": 200, "y": 100, "width": 120, "height": 120,
                "emotion": chance.choice([*scores, UNCERTAIN]), "confidence": 0.8, **scores,
                "duration_s": (at_ms - start_ms) / 1000, "model": "default@01234567", "received_ms": at_ms + 50,
            })  # fmt: skip
            at_ms += chance.randrange(500, 15_000)
        yield rows


def measure_report(folder: Path, to: str) -> tuple[float, float, float]:
    """Draw the day; return seconds by the clock and of CPU time, and the peak of the memory in MB."""
    command = [sys.executable, "-m", "edge", "report", "--from", to, "--day", DAY.title, "--timezone", DAY.zone.key]
    began_s = time.monotonic()
    process = subprocess.Popen([*command, "--out", str(folder)], stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"report ended with {process.returncode}")
    return time.monotonic() - began_s, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", default=["rate", "kills"])
    parser.add_argument("--events", type=int, default=50_000)
    parser.add_argument("--times", type=int, default=10)
    arguments = parser.parse_args()
    when = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    with tempfile.TemporaryDirectory(prefix="emotion-edge-record-") as name, ExitStack() as stack:
        folder = Path(name)
        server = None if missing() else stack.enter_context(PostgreSQL())
        if server is None:
            print(f"without PostgreSQL: {missing()}", file=sys.stderr)
        if "rate" in arguments.parts:
            table = Table("target", "events", "events/s", "CPU ms an event", "one core allows", "memory", title=when)
            for to in [str(folder / "rate.db"), str(folder / "rate.jsonl"), *([server.url] if server else [])]:
                found = measure_rate(folder / f"rate-{kind(to)}", to, events=arguments.events)
                cpu_ms = 1000 * found["cpu_s"] / found["events"]
                table.add_row(kind(to), f"{found['events']:,.0f}", f"{found['per_s']:,.0f}", f"{cpu_ms:.3f}",
                              f"{1000 / cpu_ms:,.0f}/s", f"{found['memory']:.0f} MB")  # fmt: skip
            Console().print(table)
        if "report" in arguments.parts:
            write_day(folder / "day.db", REPORTED)
            table = Table("events", "wall", "CPU", "memory", title=when)
            for _ in range(3):
                wall_s, cpu_s, memory_mb = measure_report(folder, str(folder / "day.db"))
                table.add_row(
                    f"{stored(str(folder / 'day.db')):,}", f"{wall_s:.1f} s", f"{cpu_s:.1f} s", f"{memory_mb:.0f} MB"
                )
            Console().print(table)
        if "kills" in arguments.parts:
            table = Table("fault", "times", "sent", "stored", "twice", "lost", "gaps", "took", title=when)
            times = arguments.times
            runs = [
                collector_killed(folder / "a", str(folder / "a.db"), times=times),
                collector_killed(folder / "b", str(folder / "b.jsonl"), times=times),
                broker_killed(folder / "d", str(folder / "d.db"), times=times),
            ]
            if server is not None:
                empty(server)
                runs.append(collector_killed(folder / "e", server.url, times=times, collectors=3))
                empty(server)
                runs.append(database_killed(folder / "f", server, times=times))
            for run in runs:
                table.add_row(
                    run.fault,
                    *(f"{value:,}" for value in (run.times, run.sent, run.stored, run.twice, run.lost, run.gaps)),
                    f"{run.took_s:.0f} s",
                )
            Console().print(table)


def empty(server: PostgreSQL) -> None:
    """Remove the tables of an earlier run."""
    engine = Database(server.url).engine
    METADATA.drop_all(engine)
    engine.dispose()


if __name__ == "__main__":
    main()
