"""Waits between attempts, noted and made short."""

from dataclasses import dataclass, field

from edge.backoff import Backoff


@dataclass(frozen=True)
class NotedBackoff(Backoff):
    """Notes which waits were asked for, failures and whether refused, and makes them short."""

    asked: list[tuple[int, bool]] = field(default_factory=list)

    def delay_s(self, failures: int, *, refused: bool = False) -> float:
        self.asked.append((failures, refused))
        return 0.01
