from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.clock import utc_time, uuid7
from edge.events.payloads import UNNUMBERED, EmotionEvent
from edge.mqtt.outbox import Outbox
from tests.fakes.clock import FakeClock
from tests.fakes.outbox import Opens, opens


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    box = Outbox(tmp_path / "outbox.sqlite", max_events=10_000, max_age_s=3600)
    yield box
    box.close()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Of an outbox that is not there yet, nor is its folder."""
    return tmp_path / "state" / "outbox.sqlite"


@pytest.fixture
def reopen(path: Path, clock: FakeClock) -> Opens:
    """Opens the outbox of ``path``."""
    return opens(path, clock)


@pytest.fixture
def event() -> EmotionEvent:
    return EmotionEvent(
        event_type="emotion_changed",
        id=uuid7(),
        seq=UNNUMBERED,
        boot="b007",
        time=utc_time(),
        mono_ms=1234,
        time_synced=False,
        device="dev-1",
        face=1,
        box=(10, 20, 30, 40),
        emotion="happy",
        confidence=0.75,
        scores={"angry": 0.05, "happy": 0.75, "sad": 0.1, "surprise": 0.05, "neutral": 0.05},
        duration_s=1.5,
        model="default-12345678",
    )
