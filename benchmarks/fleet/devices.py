"""Devices of a fleet, as many as one process holds: each has the product's publisher, connection and outbox.

    python -m benchmarks.fleet.devices URL FOLDER FIRST COUNT RATE

They connect over some seconds, publish events in bursts at RATE a second each while told to, and print what happened.
Commands come on standard input, one a line: ``publish SECONDS``, ``connections`` (since when each is connected, and
how many), ``finish``. The outboxes do not wait for the disk: a thousand devices share it only here.
"""

import heapq
import json
import logging
import random
import resource
import sys
import time
from pathlib import Path

from benchmarks.faults.device import event
from edge.clock import new_boot_id
from edge.mqtt.outbox import Outbox
from edge.mqtt.publisher import Publisher
from edge.settings import MqttSettings
from tests.fakes.payloads import HEALTH, replace

BURST = 3
"""Events of a burst, on average: somebody comes, feels, leaves."""
STAGGER_S = 0.02


class Connections(logging.Handler):
    """Notes when connections are made, as the log says it."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.made_s: list[float] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Note the time of a connection."""
        if record.getMessage().startswith("connected to broker"):
            self.made_s.append(record.created)


def main(url: str, folder: str, first: str, count: str, rate: str) -> None:
    """Run the devices until told to finish."""
    connections = Connections()
    logger = logging.getLogger("edge.mqtt")
    logger.setLevel(logging.INFO)
    logger.addHandler(connections)
    logger.propagate = False
    names = [f"device-{number:05}" for number in range(int(first), int(first) + int(count))]
    fleet = [Device(name, url, Path(folder)) for name in names]
    for one in fleet:
        one.publisher.start()
        one.publisher.publish_health(replace(HEALTH, temperature_c=51.0))
        time.sleep(STAGGER_S)
    answer(started=len(fleet))
    for line in sys.stdin:
        command, *words = line.split()
        if command == "publish":
            publish(fleet, float(words[0]), float(rate))
            answer(sent={one.name: one.sent for one in fleet})
        elif command == "connections":
            connected = sum(one.publisher.stats().connected for one in fleet)
            answer(connected=connected, made_s=connections.made_s)
        elif command == "finish":
            break
    drained = [one.publisher.drain(120) for one in fleet]
    used = resource.getrusage(resource.RUSAGE_SELF)
    stats = [one.publisher.stats() for one in fleet]
    answer(
        drained=sum(drained), depth=sum(one.depth for one in stats), dropped=sum(one.dropped for one in stats),
        cpu_s=used.ru_utime + used.ru_stime, memory_mb=used.ru_maxrss * 1024 / 1e6,
    )  # fmt: skip
    for one in fleet:
        one.publisher.stop(0.0)


class Device:
    """One device without a camera."""

    def __init__(self, name: str, url: str, folder: Path) -> None:
        self.name = name
        self.boot = new_boot_id()
        self.sent = 0
        box = Outbox(folder / f"{name}.sqlite3", max_events=100_000, max_age_s=604_800, synchronous="off")
        self.publisher = Publisher(
            MqttSettings(url=url), name, box, boot=self.boot, version="benchmark", model=lambda: "none-00000000"
        )

    def publish(self) -> None:
        """Publish one event."""
        self.publisher.publish_events([replace(event(self.boot), device=self.name)])
        self.sent += 1


def publish(fleet: list[Device], seconds: float, rate: float) -> None:
    """Publish bursts at random moments, as many events a second and device as ``rate`` says on average."""
    rng = random.Random(fleet[0].name)
    began_s = time.monotonic()
    due = [(began_s + rng.expovariate(rate / BURST), index) for index in range(len(fleet))]
    heapq.heapify(due)
    while due[0][0] < began_s + seconds:
        at_s, index = heapq.heappop(due)
        time.sleep(max(0.0, at_s - time.monotonic()))
        fleet[index].publish()
        again = rng.random() < 1 - 1 / BURST
        heapq.heappush(due, (at_s + (rng.uniform(0.1, 0.6) if again else rng.expovariate(rate / BURST)), index))


def answer(**values: object) -> None:
    """Print one object."""
    print(json.dumps(values), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
