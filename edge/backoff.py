"""Waits between attempts: exponential, with jitter, and started over after a success that lasted."""

import random
from dataclasses import dataclass, field

from edge.clock import Clock

HOLDS_S = 60.0
"""Seconds after which a connection counts as a success: the next failure is then the first again."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential waits with jitter, so that the devices of a fleet do not all reconnect at the same time."""

    first_s: float = 1.0
    """longest wait before the second attempt, seconds"""
    most_s: float = 60.0
    """longest wait of all, seconds; also the wait after a refusal, which seldom ends by itself"""
    rng: random.Random = field(default_factory=random.SystemRandom)

    def delay_s(self, failures: int, *, refused: bool = False) -> float:
        """Return the seconds to wait after this many failures in a row (1 or more): 50 to 100 % of the step."""
        step_s = self.most_s if refused else min(self.most_s, self.first_s * 2.0 ** min(failures - 1, 30))
        return step_s * self.rng.uniform(0.5, 1.0)


class Attempts:
    """Counts failures in a row. A connection that is lost within `HOLDS_S` counts as a failure too."""

    def __init__(self, backoff: Backoff, clock: Clock) -> None:
        self._backoff = backoff
        self._clock = clock
        self._since_s: float | None = None
        self.failures = 0
        self.lost_early = 0
        """connections in a row that were made and lost within `HOLDS_S`"""

    def connected(self) -> None:
        """Note that a connection was made."""
        self._since_s = self._clock.monotonic()

    def failed(self, *, refused: bool = False) -> float:
        """Note the end of a connection or of an attempt; return the seconds to wait before the next attempt."""
        if self.has_held():
            self.failures = self.lost_early = 0
        elif self._since_s is not None:
            self.lost_early += 1
        self._since_s = None
        self.failures += 1
        return self._backoff.delay_s(self.failures, refused=refused)

    def has_held(self) -> bool:
        """Return True if there is a connection that has lasted for `HOLDS_S`."""
        return self._since_s is not None and self._clock.monotonic() - self._since_s >= HOLDS_S
