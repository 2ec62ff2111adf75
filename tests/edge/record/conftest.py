from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from benchmarks.faults import device
from edge.events.payloads import EmotionEvent
from edge.record.messages import Row, read

Events = Callable[..., EmotionEvent]


@pytest.fixture
def event() -> Events:
    """Makes events: ``event(seq=3, device="hall")``."""

    def make(**changes: Any) -> EmotionEvent:
        return msgspec.structs.replace(device.event("boot-1"), **changes)

    return make


@pytest.fixture
def row(event: Events) -> Callable[..., Row]:
    """Makes rows of events, as they are read from messages."""

    def make(*, received_ms: int = 1_800_000_000_000, **changes: Any) -> Row:
        sent = event(**{"seq": 1, "device": "hall", **changes})
        return read(f"emotion/1/{sent.device}/event", msgspec.json.encode(sent), received_ms)

    return make


@pytest.fixture(params=["db", "jsonl", "csv"])
def target_file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return tmp_path / f"events.{request.param}"
