"""What tests of the outbox put into it, and how they open it."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from edge.mqtt.outbox.queue import Outbox
from tests.fakes.clock import FakeClock

Opens = Callable[..., Outbox]


def payload(seq: int) -> bytes:
    return f"event {seq}".encode()


def stored(box: Outbox) -> list[int]:
    return [event.seq for event in box.batch(0, 10_000)]


def opens(path: Path, clock: FakeClock) -> Opens:
    """Return what opens the outbox, with other settings where they are given."""
    return partial(Outbox, path, clock=clock, max_events=1000, max_age_s=3600)
