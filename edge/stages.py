"""Measures how long each stage of a frame takes."""

import time
from collections import deque
from statistics import median
from types import TracebackType
from typing import Literal

import numpy as np

Stage = Literal["capture", "detect", "landmarks", "chip", "classify", "smooth", "publish", "total"]
STAGES: tuple[Stage, ...] = Stage.__args__  # type: ignore[attr-defined]
KEPT = 300
"""Measurements kept for each stage: those of ten seconds at 30 frames a second."""


class _Timer:
    """Adds up the time that one stage takes in one frame; a stage may be entered several times in a frame."""

    __slots__ = ("_cpu_began_s", "_wall_began_s", "cpu_ms", "cpu_s", "entered", "wall_ms", "wall_s", "with_cpu")

    def __init__(self, kept: int, *, with_cpu: bool) -> None:
        self.with_cpu = with_cpu
        self.wall_ms: deque[float] = deque(maxlen=kept)
        self.cpu_ms: deque[float] = deque(maxlen=kept)
        self.wall_s = self.cpu_s = 0.0
        self.entered = False

    def __enter__(self) -> None:
        self.entered = True
        if self.with_cpu:
            self._cpu_began_s = time.thread_time()
        self._wall_began_s = time.perf_counter()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.wall_s += time.perf_counter() - self._wall_began_s
        if self.with_cpu:
            self.cpu_s += time.thread_time() - self._cpu_began_s

    def end_frame(self) -> None:
        if self.entered:
            self.wall_ms.append(self.wall_s * 1000)
            self.cpu_ms.append(self.cpu_s * 1000)
            self.wall_s = self.cpu_s = 0.0
            self.entered = False


class Stages:
    """Measures the stages of frames, for one thread. A frame without a stage adds no measurement to it.

    ``kept``: newest measurements kept for each stage.
    ``with_cpu``: also measure the thread's CPU time, for a benchmark.
    """

    def __init__(self, kept: int = KEPT, *, with_cpu: bool = False) -> None:
        self._timers: dict[Stage, _Timer] = {name: _Timer(kept, with_cpu=with_cpu) for name in STAGES}

    def measure(self, stage: Stage) -> _Timer:
        """Time a ``with`` block as part of a stage of this frame; blocks of one stage must not be nested."""
        return self._timers[stage]

    def end_frame(self) -> None:
        """End this frame: the time of each stage becomes a measurement."""
        for timer in self._timers.values():
            timer.end_frame()

    def wall_ms(self, stage: Stage) -> list[float]:
        """Return the milliseconds that the stage took in each frame that had it, oldest first."""
        return list(self._timers[stage].wall_ms)

    def cpu_ms(self, stage: Stage) -> list[float]:
        """Return the milliseconds of CPU time of the same frames; zeros where they are not measured."""
        return list(self._timers[stage].cpu_ms)

    def median_ms(self, stage: Stage) -> float:
        """Return the median of `wall_ms`, 0 where there are no measurements."""
        times = self._timers[stage].wall_ms
        return round(median(times), 3) if times else 0.0


def percentile(values: list[float], share: float) -> float:
    """Return the value below which ``share`` percent (0..100) of the values lie; 0 where there are none."""
    return float(np.percentile(values, share)) if values else 0.0
