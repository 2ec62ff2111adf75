"""What tests of live sources share."""

import threading
from collections.abc import Iterator

import pytest

JOIN_TIMEOUT_S = 20.0


@pytest.fixture
def no_thread_stays() -> Iterator[None]:
    """Fail if a thread that the test started still runs after it."""
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        thread.join(JOIN_TIMEOUT_S)
        assert not thread.is_alive(), f"{thread.name} was left running"
