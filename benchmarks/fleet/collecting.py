"""The product's collector, which also notes how long each event took from the device until it was stored.

python -m benchmarks.fleet.collecting URL TO RESULT.json
"""

import json
import resource
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from edge.mqtt.address import broker_address
from edge.mqtt.connection import Session
from edge.mqtt.subscriber import Subscriber
from edge.record.collector import KEEP_S, MAX_IN_FLIGHT, Collector
from edge.record.messages import Row, filters
from edge.record.targets import Target, open_target
from edge.settings import MqttSettings


class Timed:
    """A target that notes the age of each event when it is stored, in milliseconds."""

    events_only = False

    def __init__(self, target: Target) -> None:
        self._target = target
        self.ages_ms: list[tuple[float, float]] = []
        """of each event that came, twice or not: when it was stored, seconds since 1970, and its age"""

    def store(self, rows: Sequence[Row]) -> tuple[int, int]:
        """Store rows, and note."""
        result = self._target.store(rows)
        now_s = time.time()
        self.ages_ms += [
            (now_s, now_s * 1000 - int(str(row.values["time_ms"]))) for row in rows if row.table == "event"
        ]
        return result

    def close(self) -> None:
        """Close the target."""
        self._target.close()


def main(url: str, to: str, result: str) -> None:
    """Collect until SIGTERM, then write what was measured."""
    target = Timed(open_target(to))
    subscriber = Subscriber(
        broker_address(MqttSettings(url=url)), client_id="fleet-benchmark", topics=filters(),
        session=Session(keep_s=KEEP_S, max_in_flight=MAX_IN_FLIGHT),
    )  # fmt: skip
    collector = Collector(subscriber, target)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    print("ready", flush=True)
    collector.run(stop)
    target.close()
    used = resource.getrusage(resource.RUSAGE_SELF)
    counts = collector.counts
    Path(result).write_text(json.dumps({
        "ages_ms": target.ages_ms, "received": counts.received, "cpu_s": used.ru_utime + used.ru_stime,
        "memory_mb": used.ru_maxrss * 1024 / 1e6,
    }))  # fmt: skip


if __name__ == "__main__":
    main(*sys.argv[1:])
