"""The clocks, as one seam: tests bring their own."""

import time
from typing import Protocol


class Clock(Protocol):
    """What time it is, twice."""

    def monotonic(self) -> float:
        """Seconds that only grow; their zero means nothing."""
        ...

    def unix_s(self) -> float:
        """Seconds since 1970 UTC, as far as this machine knows the date."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def monotonic(self) -> float:
        """As `time.monotonic`."""
        return time.monotonic()

    def unix_s(self) -> float:
        """As `time.time`."""
        return time.time()
