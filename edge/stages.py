"""How long each stage of a frame takes, over the newest frames."""

import time
from collections import deque
from statistics import median
from types import TracebackType
from typing import Literal

import numpy as np

Stage = Literal["capture", "detect", "landmarks", "chip", "classify", "smooth", "publish", "total"]
STAGES: tuple[Stage, ...] = Stage.__args__  # type: ignore[attr-defined]
KEPT = 300
"""Frames kept a stage: ten seconds at 30 frames a second, and memory that does not grow."""


class _Timer:
    """Adds up what one stage takes in one frame; entered as often as the stage has parts."""

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
    """Measures the stages of frames, for one thread. A stage that a frame does not have is no measurement of it.

    Parameters
    ----------
    kept
        Frames kept.
    with_cpu
        Measure the thread's CPU time too, for a benchmark.
    """

    def __init__(self, kept: int = KEPT, *, with_cpu: bool = False) -> None:
        self._timers: dict[Stage, _Timer] = {name: _Timer(kept, with_cpu=with_cpu) for name in STAGES}

    def measure(self, stage: Stage) -> _Timer:
        """Time a ``with`` block as part of a stage of the present frame; not within itself."""
        return self._timers[stage]

    def end_frame(self) -> None:
        """Close the present frame: its stages become measurements."""
        for timer in self._timers.values():
            timer.end_frame()

    def wall_ms(self, stage: Stage) -> list[float]:
        """Milliseconds that the stage took, one for each frame that had it, oldest first."""
        return list(self._timers[stage].wall_ms)

    def cpu_ms(self, stage: Stage) -> list[float]:
        """Milliseconds of the thread's CPU time; zeros where they are not measured."""
        return list(self._timers[stage].cpu_ms)

    def median_ms(self, stage: Stage) -> float:
        """Median of the stage's wall milliseconds over the newest frames that had it; 0 where there are none."""
        times = self._timers[stage].wall_ms
        return round(median(times), 3) if times else 0.0


def percentile(values: list[float], share: float) -> float:
    """The value below which ``share`` (0..100) of the values lie; 0 where there are none."""
    return float(np.percentile(values, share)) if values else 0.0
