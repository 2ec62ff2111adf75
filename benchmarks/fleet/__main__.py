"""Many devices at one broker: what arrives, how fast, what it costs, and what happens when the broker goes away.

    python -m benchmarks.fleet [--broker NAME] [--devices 1000] [--seconds 60] [--outage 60] [--kill]

Every device has the product's publisher, connection and outbox; the product's collector stores in SQLite (or in
PostgreSQL, ``--postgresql``). With ``--outage`` the broker is stopped for so many seconds while events go on; with
``--kill`` it is killed (-9). Prints one table.

`mosquitto`, `rabbitmq`: a single one.
`cluster`: three RabbitMQ nodes behind one port; one of them is killed (-9) and stays away.
`central`, `bridge`: the devices' Mosquitto is a bridge to the collector's; the outage is the one's that is named.
"""

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import sqlalchemy as sa
from rich.console import Console
from rich.table import Table

from benchmarks.fleet.forwarder import Forwarder
from edge.record.database import EVENT, open_engine
from edge.record.gaps import find_gaps
from tests.fakes.mosquitto import find
from tests.fakes.postgresql import PostgreSQL
from tests.fakes.rabbitmq import Cluster

A_PROCESS = 100
"""Devices in one process: with more, descriptors pass 1023, which paho's select(2) cannot watch."""


BRIDGE = """
connection central
address 127.0.0.1:{port}
topic emotion/1/# out 1
topic emotion/1/+/privacy/set in 1
cleansession false
local_clientid bridge
remote_clientid bridge
restart_timeout 1 10
notifications false
"""
"""As docs/fleet.md has it."""


def fixed_port(*taken: int) -> int:
    """Return a free port that is given to no outgoing connection, which would take it while the broker is away."""
    for port in range(20_000 + os.getpid() % 5000, 30_000):
        with socket.socket() as probe:
            if port not in taken and probe.connect_ex(("127.0.0.1", port)) != 0:
                return port
    raise SystemExit("no free port between 20000 and 30000")


class Mosquitto:
    """mosquitto without a limit to what waits, which saves every second; ``to``: it is a bridge to another."""

    def __init__(self, folder: Path, *, to: "Mosquitto | None" = None) -> None:
        folder.mkdir(exist_ok=True)
        self.port: int = fixed_port(*([] if to is None else [to.port]))
        self._conf = folder / "mosquitto.conf"
        self._conf.write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous true\npersistence true\npersistence_location {folder}/\n"
            "autosave_interval 1\n"
            "max_queued_messages 0\nmax_inflight_messages 1000\nlog_type error\n"
            + ("user root\n" if os.getuid() == 0 else "")
            + ("" if to is None else BRIDGE.format(port=to.port))
        )
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it."""
        self._process = subprocess.Popen([str(find("mosquitto")), "-c", str(self._conf)])
        time.sleep(0.5)

    def stop(self) -> None:
        """Stop it properly."""
        assert self._process is not None
        self._process.terminate()
        self._process.wait(30)

    def kill(self) -> None:
        """Kill it (-9)."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(30)

    def processes(self) -> list[psutil.Process]:
        """Return its processes."""
        assert self._process is not None
        return [psutil.Process(self._process.pid)]


class Devices:
    """The processes that hold the devices."""

    def __init__(self, url: str, folder: Path, count: int, rate: float) -> None:
        self._processes = [
            subprocess.Popen(
                [sys.executable, "-m", "benchmarks.fleet.devices", url, str(folder), str(first),
                 str(min(A_PROCESS, count - first)), str(rate)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            )
            for first in range(0, count, A_PROCESS)
        ]  # fmt: skip
        self.answers()

    def tell(self, command: str) -> None:
        """Give all processes a command."""
        for one in self._processes:
            assert one.stdin is not None
            one.stdin.write(f"{command}\n")
            one.stdin.flush()

    def answers(self) -> list[dict[str, Any]]:
        """Return the next answer of each process."""
        found = []
        for one in self._processes:
            assert one.stdout is not None
            found.append(json.loads(one.stdout.readline() or '{"gone": true}'))
        return found

    def ask(self, command: str) -> list[dict[str, Any]]:
        """Give a command and return the answers."""
        self.tell(command)
        return self.answers()

    def wait_connected(self, count: int) -> list[float]:
        """Wait until all are connected; return when each connection was made, seconds since 1970."""
        deadline = time.monotonic() + 300
        while True:
            found = self.ask("connections")
            if sum(one["connected"] for one in found) == count:
                return [moment for one in found for moment in one["made_s"]]
            if time.monotonic() > deadline:
                raise SystemExit(f"only {sum(one['connected'] for one in found)} of {count} devices are connected")
            time.sleep(0.5)

    def end(self) -> None:
        """End the processes."""
        for one in self._processes:
            one.terminate()
            one.wait(60)


@dataclass(frozen=True)
class Brokers:
    """Brokers that run."""

    port: int
    """of the devices'"""
    collector_port: int
    processes: Callable[[], list[psutil.Process]]
    disturb: Callable[[float], float] | None
    """disturbs them half-way through so many seconds; returns when that was over"""


def run(
    name: str, *, devices: int, seconds: float, outage: float, kill: bool, rate: float, postgresql: bool
) -> dict[str, str]:
    """Run one fleet; return the rows of the table."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="emotion-edge-fleet-")))
        running = stack.enter_context(brokers(name, folder, outage, kill=kill))
        processes, disturb = running.processes, running.disturb
        to = stack.enter_context(PostgreSQL()).url if postgresql else str(folder / "events.db")
        url, result = f"mqtt://127.0.0.1:{running.port}", folder / "result.json"
        collecting = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.fleet.collecting", f"mqtt://127.0.0.1:{running.collector_port}", to,
             str(result)], stdout=subprocess.PIPE,
        )  # fmt: skip
        stack.callback(collecting.kill)
        assert collecting.stdout is not None
        collecting.stdout.readline()
        time.sleep(3)
        fleet = Devices(url, folder, devices, rate)
        stack.callback(fleet.end)
        first = fleet.wait_connected(devices)
        before_s, cpu_s = time.time(), cpu(processes())
        memory_mb = sum(one.memory_info().rss for one in processes()) / 1e6
        fleet.tell(f"publish {seconds + outage}")
        returned_s = disturb(seconds) if disturb else 0.0
        sent = {key: value for one in fleet.answers() for key, value in one["sent"].items()}
        share = 100 * (cpu(processes()) - cpu_s) / (time.time() - before_s) if not disturb else None
        made = fleet.wait_connected(devices)
        ends = fleet.ask("finish")
        total = sum(sent.values())
        deadline = time.monotonic() + 120
        while (found := stored(to)) < total and time.monotonic() < deadline:
            time.sleep(0.5)
        collecting.terminate()
        collecting.wait(60)
        measured = json.loads(result.read_text())
        rows = {
            "devices, events sent": f"{devices:,}, {total:,}",
            "delivered, lost": f"{found:,}, {total - found:,}",
            "gaps in seq": f"{sum(gap.missing for gap in find_gaps(open_engine(to))):,}",
            "first out of order": f"{out_of_order(to):,}",
            "events delivered twice by a broker": f"{len(measured['ages_ms']) - found:,}",
            "dropped by outboxes": f"{sum(one['dropped'] for one in ends):,}",
        }
        ages = [age for at_s, age in measured["ages_ms"] if not returned_s or at_s < returned_s - outage]
        if len(ages) > 10:
            quantiles = statistics.quantiles(ages, n=100)
            rows["event to database, p50, p99"] = f"{quantiles[49]:.0f} ms, {quantiles[98]:.0f} ms"
        if share is not None:
            rows["broker, CPU of a core"] = f"{share:.1f} %"
        rows["broker, memory"] = f"{memory_mb:.0f} MB"
        rows["collector, CPU a message, memory"] = (
            f"{1000 * measured['cpu_s'] / max(1, measured['received']):.2f} ms, {measured['memory_mb']:.0f} MB"
        )
        rows["a device, CPU an event (no camera), memory"] = (
            f"{1000 * sum(one['cpu_s'] for one in ends) / total:.1f} ms, "
            f"{sum(one['memory_mb'] for one in ends) / devices:.1f} MB"
        )
        if returned_s:
            rows |= spread([moment for moment in made if moment >= returned_s - 1], returned_s, len(made) - len(first))
        return rows


def spread(moments: list[float], returned_s: float, reconnections: int) -> dict[str, str]:
    """Describe how connections were spread over time after a broker's return."""
    if not moments:
        return {"connections after it was back": "0"}
    delays = sorted(moment - returned_s for moment in moments)
    by_second = Counter(int(delay) for delay in delays)
    return {
        "connections after it was back": f"{len(delays):,} ({reconnections:,} in all)",
        "after seconds: first, median, last": f"{delays[0]:.1f}, {statistics.median(delays):.1f}, {delays[-1]:.1f}",
        "most in one second": f"{max(by_second.values()):,}",
    }


@contextmanager
def brokers(name: str, folder: Path, outage: float, *, kill: bool) -> Iterator[Brokers]:
    """Run the brokers."""
    with ExitStack() as stack:

        def started(broker: Mosquitto) -> Mosquitto:
            broker.start()
            stack.callback(broker.stop)
            return broker

        victim: Any
        nodes: list[Any]
        if name in {"central", "bridge"}:
            central = started(Mosquitto(folder / "central"))
            bridge = started(Mosquitto(folder / "bridge", to=central))
            nodes, port, collector_port = [central, bridge], bridge.port, central.port
            victim = central if name == "central" else bridge
        elif name == "mosquitto":
            victim = started(Mosquitto(folder))
            nodes, port, collector_port = [victim], victim.port, victim.port
        else:
            nodes = stack.enter_context(Cluster(folder, 3 if name == "cluster" else 1)).nodes
            victim, port = nodes[-1], nodes[-1].port
            if name == "cluster":
                port = stack.enter_context(Forwarder([node.port for node in nodes])).port
            collector_port = port

        def disturb(seconds: float) -> float:
            time.sleep(seconds / 2)
            if kill or name == "cluster":
                victim.kill()
            else:
                victim.stop()
            if name != "cluster":
                time.sleep(outage)
                victim.start()
            return time.time()

        def processes() -> list[psutil.Process]:
            return [one for node in nodes for one in node.processes()]

        yield Brokers(port, collector_port, processes, disturb if outage or name == "cluster" else None)


def cpu(processes: list[psutil.Process]) -> float:
    """Return the CPU time of processes, seconds."""
    return float(sum(one.cpu_times().user + one.cpu_times().system for one in processes))


def stored(to: str) -> int:
    """Return the number of events in the record."""
    engine = open_engine(to)
    with engine.connect() as connection:
        return int(connection.execute(sa.select(sa.func.count()).select_from(EVENT)).scalar_one())


def out_of_order(to: str) -> int:
    """Return how many events were stored in a later batch than one of the same device with a higher number."""
    highest = sa.func.max(EVENT.c.received_ms).over(partition_by=EVENT.c.device, order_by=EVENT.c.seq)
    rows = sa.select(EVENT.c.received_ms, highest.label("highest")).subquery()
    with open_engine(to).connect() as connection:
        late = sa.select(sa.func.count()).where(rows.c.received_ms < rows.c.highest)
        return int(connection.execute(late).scalar_one())


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--broker", choices=["mosquitto", "rabbitmq", "cluster", "central", "bridge"],
                        default="mosquitto")  # fmt: skip
    parser.add_argument("--devices", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--outage", type=float, default=0)
    parser.add_argument("--kill", action="store_true", help="an outage is a kill (-9)")
    parser.add_argument("--rate", type=float, default=0.2, help="events a second and device")
    parser.add_argument("--postgresql", action="store_true")
    given = parser.parse_args()
    rows = run(given.broker, devices=given.devices, seconds=given.seconds, outage=given.outage, kill=given.kill,
               rate=given.rate, postgresql=given.postgresql)  # fmt: skip
    when = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    how = "killed, " if given.kill else ""
    what = f", {how}away for {given.outage:.0f} s" if given.outage else ""
    table = Table("figure", "value", title=f"{given.broker}{what}; {when}", title_justify="left")
    for name, value in rows.items():
        table.add_row(name, value)
    Console().print(table)


if __name__ == "__main__":
    main()
