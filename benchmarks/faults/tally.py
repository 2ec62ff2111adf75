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


def tally(
    fault: str, sent: Iterable[int], received: Sequence[int], *, dropped: int = 0, faults: int = 1, took_s: float = 0.0
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
    )
