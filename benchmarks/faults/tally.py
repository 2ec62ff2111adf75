"""What was sent, received, lost and duplicated."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True, slots=True)
class Tally:
    """One fault, counted at the subscriber."""

    fault: str
    sent: int
    """events that the outbox took"""
    received: int
    """different events that came; after a kill, also those that the outbox took and could not say so any more"""
    lost: int
    duplicates: int
    gaps: int
    """numbers missing between the first and the last one that came, beyond those that the outbox says it dropped"""
    in_order: bool
    """each number was first seen after all smaller ones"""
    dropped: int = 0
    """what the outbox says it gave up, because of its bounds"""
    faults: int = 1
    """how often it happened"""
    took_s: float = 0.0
    most_duplicates: int | None = None
    """duplicates a fault, at most, on average; None where the fault itself makes any number of them"""

    @property
    def duplicates_a_fault(self) -> float:
        """On average."""
        return self.duplicates / self.faults if self.faults else float(self.duplicates)

    @property
    def holds(self) -> bool:
        """Whether nothing was lost, all came in order, and no more came twice than may."""
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
    """Compare the ``seq`` that the outbox took with those that came, in the order in which they came."""
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
