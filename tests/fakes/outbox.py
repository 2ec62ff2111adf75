"""What tests of the outbox put into it, and how they open it."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec

from edge.mqtt.outbox import Outbox
from tests.fakes.clock import FakeClock

Opens = Callable[..., Outbox]


class Numbered(msgspec.Struct, frozen=True, omit_defaults=True):
    """The part of an event that the outbox knows of, and something that makes it as long as a test wants."""

    seq: int = 0
    text: object = ""


EVENT = Numbered()
UNENCODABLE = Numbered(text=object())


def long_event(length: int) -> Numbered:
    """An event of so many bytes and a few more."""
    return Numbered(text="x" * length)


def payload(seq: int, length: int = 0) -> bytes:
    """What the outbox stores of `EVENT` or of a `long_event`."""
    return msgspec.json.encode(Numbered(seq, "x" * length))


def stored(box: Outbox) -> list[int]:
    return [event.seq for event in box.batch(0, 10_000)]


def opens(path: Path, clock: FakeClock) -> Opens:
    """Return what opens the outbox, with other settings where they are given."""
    return partial(Outbox, path, clock=clock, max_events=1000, max_age_s=3600)
