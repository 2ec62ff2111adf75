"""Collect: read the messages of all devices, store them, and only then acknowledge them to the broker."""

import logging
import threading
import time
from collections import Counter
from dataclasses import dataclass, field

from edge.backoff import Backoff
from edge.mqtt.connection import Arrived
from edge.mqtt.subscriber import Subscriber
from edge.record.messages import InvalidMessageError, Row, read
from edge.record.targets import Target, TargetAwayError

KEEP_S = 30 * 86_400
"""Seconds for which the broker keeps messages for a collector that is away (MQTT 5; with 3.1.1 for ever)."""
MAX_IN_FLIGHT = 1000
"""Messages received and not yet acknowledged: the bound of the collector's memory."""

_LOG = logging.getLogger(__name__)
_REPORT_S = 60.0
_RETRY = Backoff(first_s=0.5, most_s=15.0)


@dataclass(slots=True)
class Counts:
    """What a collector has done since its start."""

    received: int = 0
    stored: int = 0
    duplicates: int = 0
    """messages that were stored before, or that came twice"""
    invalid: Counter[str] = field(default_factory=Counter)
    """messages that are stored nowhere, by kind"""

    def __str__(self) -> str:
        return (
            f"{self.received:,} received, {self.stored:,} stored, {self.duplicates:,} duplicates, "
            f"{self.invalid.total():,} invalid"
        )


class Collector:
    """Moves messages from a broker to a target until `stop` is set.

    A message is acknowledged when it is in the target, so whatever dies in between, the broker sends it again. While
    the target is away nothing is acknowledged, and the broker keeps what comes.
    """

    def __init__(self, subscriber: Subscriber, target: Target) -> None:
        self._subscriber = subscriber
        self._target = target
        self.counts = Counts()

    def run(self, stop: threading.Event) -> None:
        """Collect until ``stop`` is set."""
        reported_s, reported = time.monotonic(), 0
        with self._subscriber:
            while not stop.is_set():
                messages = self._subscriber.receive(1.0, most=MAX_IN_FLIGHT)
                if messages and self._store(messages, stop):
                    self._subscriber.acknowledge(messages)
                if time.monotonic() - reported_s >= _REPORT_S and self.counts.received > reported:
                    _LOG.info("%s", self.counts)
                    reported_s, reported = time.monotonic(), self.counts.received

    def _store(self, messages: list[Arrived], stop: threading.Event) -> bool:
        """Store messages, however long that takes; return False if `stop` was set before."""
        self.counts.received += len(messages)
        rows = self._read(messages)
        failures = 0
        while True:
            try:
                new, refused = self._target.store(rows) if rows else (0, 0)
            except TargetAwayError as error:
                if not failures:
                    _LOG.error("%s; retrying, the broker keeps the messages", error)
                failures += 1
                if stop.wait(_RETRY.delay_s(failures)):
                    return False
                continue
            if failures:
                _LOG.info("the target is back after %d attempts", failures)
            if refused:
                self._count_invalid("refused by the database", refused)
            self.counts.stored += new
            self.counts.duplicates += len(rows) - new - refused
            return True

    def _read(self, messages: list[Arrived]) -> list[Row]:
        received_ms = time.time_ns() // 1_000_000
        rows = []
        for message in messages:
            try:
                rows.append(read(message.topic, message.payload, received_ms))
            except InvalidMessageError as error:
                self._count_invalid(str(error), 1, message.topic)
        return rows

    def _count_invalid(self, kind: str, number: int, topic: str = "") -> None:
        if kind not in self.counts.invalid and len(self.counts.invalid) >= _MOST_KINDS:
            kind = "other"
        if kind not in self.counts.invalid:
            _LOG.warning("a message is ignored: %s (first from %r); more of this kind are only counted", kind, topic)
        self.counts.invalid[kind] += number


_MOST_KINDS = 100
