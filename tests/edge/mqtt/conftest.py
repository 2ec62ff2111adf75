import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge.mqtt.outbox import Outbox, repair
from tests.fakes.backoff import NotedBackoff
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
def connections(monkeypatch: pytest.MonkeyPatch) -> list[sqlite3.Connection]:
    """The outbox's own connections to its database: for each time it is opened a writing one and a reading one."""
    opened: list[sqlite3.Connection] = []

    def noted(path: Path, *, synchronous: str) -> sqlite3.Connection:
        opened.append(repair.connect(path, synchronous=synchronous))
        return opened[-1]

    monkeypatch.setattr("edge.mqtt.outbox.queue.connect", noted)
    return opened


@pytest.fixture
def fill_disk(connections: list[sqlite3.Connection]) -> Callable[[], None]:
    """Make SQLite answer as on a full disk, without filling one."""
    return lambda: connections[-2].execute("PRAGMA max_page_count = 1").close()


@pytest.fixture
def noted() -> NotedBackoff:
    return NotedBackoff()
