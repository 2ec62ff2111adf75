"""Waiting for what has no way to be waited for."""

import time
from collections.abc import Callable


def wait_for(done: Callable[[], object], timeout_s: float = 30) -> None:
    """Poll until it is done, with a deadline."""
    deadline = time.monotonic() + timeout_s
    while not done():
        assert time.monotonic() < deadline, f"not in {timeout_s} s"
        time.sleep(0.005)
