"""How long to wait before the next attempt to connect, and which failures follow each other."""

import random
from dataclasses import dataclass, field

from edge.clock import Clock

HOLDS_S = 60.0
"""A connection that lasted for this long was one: what comes after it is a new row of failures."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential waits with jitter, so that a fleet does not come back to its broker all at once."""

    first_s: float = 1.0
    """seconds before the second attempt, at most"""
    most_s: float = 60.0
    """seconds between two attempts, at most; also what follows a refusal, which time alone seldom cures"""
    chance: random.Random = field(default_factory=random.SystemRandom)

    def delay_s(self, failures: int, *, refused: bool = False) -> float:
        """Return seconds to wait after so many failures in a row (1 or more): a random half to whole of the step."""
        step_s = self.most_s if refused else min(self.most_s, self.first_s * 2.0 ** min(failures - 1, 30))
        return step_s * self.chance.uniform(0.5, 1.0)


class Attempts:
    """Counts failures in a row. A connection that is lost at once is one of them, however often it is made again."""

    def __init__(self, backoff: Backoff, clock: Clock) -> None:
        self._backoff = backoff
        self._clock = clock
        self._since_s: float | None = None
        self.failures = 0
        self.lost_early = 0
        """connections in a row that came to be and did not last for `HOLDS_S`"""

    def connected(self) -> None:
        """Note that a connection has come to be."""
        self._since_s = self._clock.monotonic()

    def failed(self, *, refused: bool = False) -> float:
        """Note the end of a connection, or of an attempt at one, and return seconds to wait before the next."""
        if self.has_held():
            self.failures = self.lost_early = 0
        elif self._since_s is not None:
            self.lost_early += 1
        self._since_s = None
        self.failures += 1
        return self._backoff.delay_s(self.failures, refused=refused)

    def has_held(self) -> bool:
        """Whether there is a connection and it has lasted for `HOLDS_S`."""
        return self._since_s is not None and self._clock.monotonic() - self._since_s >= HOLDS_S
