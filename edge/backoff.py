"""How long to wait before the next attempt to connect."""

import random
from dataclasses import dataclass, field


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
