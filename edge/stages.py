"""How long each stage of a frame takes, over the newest frames."""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median
from time import perf_counter
from typing import Literal

from edge.events.payloads import StageTimes

Stage = Literal["detect", "landmarks", "classify", "total"]
KEPT = 300
"""Measurements kept a stage: ten seconds at 30 frames a second, and memory that does not grow."""


class Stages:
    """Measures stages; for one thread."""

    def __init__(self) -> None:
        self._times_ms: dict[str, deque[float]] = {
            name: deque(maxlen=KEPT) for name in ("detect", "landmarks", "classify", "total")
        }

    @contextmanager
    def measure(self, stage: Stage) -> Iterator[None]:
        """Time the block under the stage's name."""
        began = perf_counter()
        try:
            yield
        finally:
            self._times_ms[stage].append((perf_counter() - began) * 1000)

    def medians(self) -> StageTimes | None:
        """Medians over the newest measurements; None before the first frame."""
        if not self._times_ms["total"]:
            return None
        ms = {name: round(median(times), 3) if times else 0.0 for name, times in self._times_ms.items()}
        return StageTimes(
            detect_ms=ms["detect"], landmarks_ms=ms["landmarks"], classify_ms=ms["classify"], total_ms=ms["total"]
        )
