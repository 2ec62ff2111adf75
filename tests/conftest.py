"""Fixtures for all tests."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.fakes.mosquitto import Mosquitto, missing

# No deadline: tests assert no duration, and the first call of a property test loads libraries. In CI, examples are
# the same in each run; elsewhere they differ.
settings.register_profile("emotion-edge", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("emotion-edge")

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session", autouse=True)
def no_state_of_this_machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Hide bundles that are installed on this machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("edge.settings.types.SERVICE_STATE", Path("/nonexistent"))
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(scope="session", autouse=True)
def no_ignored_signals() -> Iterator[None]:
    """Let programs that tests start be interrupted, also under nohup or in the background, where signals are ignored.

    A program inherits an ignored signal, but not a handler. The handler here keeps the tests themselves running.
    """
    ignored = [one for one in (signal.SIGHUP, signal.SIGINT) if signal.getsignal(one) is signal.SIG_IGN]
    for one in ignored:
        signal.signal(one, lambda *_: None)
    yield
    for one in ignored:
        signal.signal(one, signal.SIG_IGN)


@pytest.fixture
def media() -> Path:
    """The folder of real clips; the test is skipped if there is none."""
    folder = SHARED / "media"
    if not folder.is_dir():
        pytest.skip(f"no real clips here: {folder} is absent")
    return folder


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    """A real broker with a password, not started."""
    reason = missing()
    if reason:
        pytest.skip(reason)
    broker = Mosquitto(tmp_path / "broker")
    yield broker
    broker.kill()
