"""Count what was sent, received, lost and duplicated."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True, slots=True)
class Tally:
    """The counts of one fault, taken at the subscriber."""

    fault: str
    sent: int
    """events that the outbox stored"""
    received: int
    """distinct events that arrived; after a kill, these include events that were stored but not reported"""
    lost: int
    duplicates: int
    gaps: int
    """numbers missing between the first and the last that arrived, beyond those that the outbox reports as dropped"""
    in_order: bool
    """each number first arrived after all smaller ones"""
    dropped: int = 0
    """events that the outbox dropped because of its limits"""
    faults: int = 1
    """how many times the fault happened"""
    took_s: float = 0.0
    most_duplicates: int | None = None
    """allowed duplicates for each fault, on average; None if the fault itself produces any number"""

    @property
    def duplicates_a_fault(self) -> float:
        """Mean number of duplicates for each fault."""
        return self.duplicates / self.faults if self.faults else float(self.duplicates)

    @property
    def holds(self) -> bool:
        """Whether nothing was lost, order was kept, and duplicates are within the limit."""
        is_twice = self.most_duplicates is not None and self.duplicates_a_fault > self.most_duplicates
        return not self.lost and not self.gaps and self.in_order and not is_twice


def tally(
    fault: str,
    sent: Iterable[int],
    received: Sequence[int],
    *,
    dropped: int = 0,
    faults: int = 1,
    took_s: float = 0.0,
    most_duplicates: int | None = None,
) -> Tally:
    """Compare the ``seq`` that the outbox gave with those that arrived, in order of arrival."""
    taken, first_seen = set(sent), list(dict.fromkeys(received))
    came = set(received)
    lowest = min(taken | came, default=1)
    missing = set(range(lowest, max(came, default=lowest - 1) + 1)) - came
    return Tally(
        fault=fault,
        sent=len(taken),
        received=len(came),
        lost=len(taken - came) - dropped,
        duplicates=len(received) - len(first_seen),
        gaps=len(missing) - dropped,
        in_order=all(a < b for a, b in pairwise(first_seen)),
        dropped=dropped,
        faults=faults,
        took_s=took_s,
        most_duplicates=most_duplicates,
    )
