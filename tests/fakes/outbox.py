"""Events for tests of the outbox, and how these open it."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec

from edge.mqtt.outbox import Outbox
from tests.fakes.clock import FakeClock

Opens = Callable[..., Outbox]


class Numbered(msgspec.Struct, frozen=True, omit_defaults=True):
    """The field of an event that the outbox sets, and a text that makes the event as long as a test needs."""

    seq: int = 0
    text: object = ""


EVENT = Numbered()
UNENCODABLE = Numbered(text=object())


def long_event(length: int) -> Numbered:
    """An event of ``length`` bytes and a few more."""
    return Numbered(text="x" * length)


def payload(seq: int, length: int = 0) -> bytes:
    """The bytes that the outbox stores for `EVENT` or a `long_event`."""
    return msgspec.json.encode(Numbered(seq, "x" * length))


def stored(box: Outbox) -> list[int]:
    return [event.seq for event in box.batch(0, 10_000)]


def opens(path: Path, clock: FakeClock) -> Opens:
    """Return a function that opens the outbox; its arguments replace these settings."""
    return partial(Outbox, path, clock=clock, max_events=1000, max_age_s=3600)
