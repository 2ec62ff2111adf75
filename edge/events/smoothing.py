"""Smoothing: from scores that jitter from frame to frame to one stable emotion."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.emotions import EMOTIONS, UNCERTAIN
from edge.events.baseline import Baseline
from edge.inference.manifest import LogScores
from edge.settings import SmoothingSettings


@dataclass(frozen=True, slots=True, eq=False)
class Smoothed:
    """The smoothed emotion of a face."""

    emotion: str
    """one of ``EMOTIONS``, or ``uncertain``"""
    confidence: float
    """smoothed score of that emotion, 0..1; while uncertain, the highest score"""
    scores: NDArray[np.float64]
    """[5], sum to 1"""
    baseline: bool = False
    """whether the face's own baseline changed them"""


class EmotionSmoother:
    """Exponential smoothing over time, a confidence floor, and hysteresis; one object per face.

    A score decays with ``exp(-dt / time_constant_s)``, so the result does not depend on the frame rate. The emotion
    changes once another one has led by ``margin`` for ``hold_s``. Below ``confidence_floor`` it is ``uncertain``.
    """

    def __init__(self, settings: SmoothingSettings) -> None:
        self._settings = settings
        self._baseline: Baseline | None = None
        self._scores: NDArray[np.float64] | None = None
        self._time_s = 0.0
        self._emotion = UNCERTAIN
        self._challenger: str | None = None
        self._challenged_s = 0.0

    def update(self, scores: NDArray[np.floating[Any]], time_s: float, population: LogScores | None = None) -> Smoothed:
        """Add the scores [5] of the frame at ``time_s`` (seconds, increasing).

        ``population``: mean log-scores of many faces with the classifier that gave them; None applies no baseline.
        """
        fresh = np.asarray(scores, dtype=np.float64)
        if self._settings.baseline and population != (self._baseline and self._baseline.population):
            self._baseline = Baseline(population) if population else None
        if self._baseline is not None:
            fresh = self._baseline.update(fresh, time_s)
        first = self._scores is None
        self._scores = fresh if self._scores is None else self._blend(self._scores, fresh, time_s - self._time_s)
        self._time_s = time_s
        best = EMOTIONS[int(self._scores.argmax())]
        wanted = str(best) if self._score(best) >= self._settings.confidence_floor else UNCERTAIN
        if first:
            self._emotion = wanted
        else:
            self._challenge(wanted, time_s)
        confidence = self._score(best if self._emotion == UNCERTAIN else self._emotion)
        applied = self._baseline is not None and self._baseline.is_applied
        return Smoothed(self._emotion, confidence, self._scores, applied)

    def _blend(self, old: NDArray[np.float64], fresh: NDArray[np.float64], dt_s: float) -> NDArray[np.float64]:
        tau = self._settings.time_constant_s
        keep = math.exp(-max(dt_s, 0.0) / tau) if tau > 0 else 0.0
        return keep * old + (1 - keep) * fresh

    def _challenge(self, wanted: str, time_s: float) -> None:
        if wanted == self._emotion or not self._leads(wanted):
            self._challenger = None
            return
        if wanted != self._challenger:
            self._challenger, self._challenged_s = wanted, time_s
        if time_s - self._challenged_s >= self._settings.hold_s:
            self._emotion, self._challenger = wanted, None

    def _leads(self, wanted: str) -> bool:
        if UNCERTAIN in (wanted, self._emotion):
            return True
        return self._score(wanted) - self._score(self._emotion) >= self._settings.margin

    def _score(self, emotion: str) -> float:
        assert self._scores is not None
        return float(self._scores[EMOTIONS.index(emotion)])
