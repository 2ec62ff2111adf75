"""A person's own baseline: faces at rest differ, and what tells a feeling is the change."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.emotions import EMOTIONS, Emotion

HALF_S = 60.0
"""Seconds of rest after which a face's own mean counts as much as the population's."""
APPLIED = 0.1
"""Share of its own mean from which a baseline counts as applied: seven seconds of rest."""
LONGEST_S = 1.0
"""Most seconds that one look stands for: after a gap nothing is known about what was between."""
LEAST_SCORE = 1e-3
POPULATION = np.array([-3.21, -3.45, -2.48, -4.37, -0.75])
"""Mean log-scores of 2,415 faces, weighted by their neutral scores: FER2013's validation part, the network that ships,
2026-11-27. Networks that are calibrated on such pictures differ little in it."""


class Baseline:
    """The slow mean of a face's log-scores, and what it takes from them; one object per visit.

    A look counts as its ``neutral`` score says, so that a long laugh is not learned as rest. The mean is drawn towards
    the population's: a minute of rest counts half.
    """

    def __init__(self) -> None:
        self._sum = np.zeros(len(EMOTIONS))
        self._rest_s = 0.0
        self._time_s: float | None = None

    @property
    def is_applied(self) -> bool:
        """Whether enough of this face was seen at rest to change its scores."""
        return self._share >= APPLIED

    def update(self, scores: NDArray[np.floating[Any]], time_s: float) -> NDArray[np.float64]:
        """Return scores [5] against this face's baseline, after learning from them. They sum to 1 again."""
        logs = np.log(np.clip(np.asarray(scores, np.float64), LEAST_SCORE, 1.0))
        if self._time_s is not None:
            weight = min(max(time_s - self._time_s, 0.0), LONGEST_S) * float(scores[EMOTIONS.index(Emotion.NEUTRAL)])
            self._sum += weight * logs
            self._rest_s += weight
        self._time_s = time_s
        if not self.is_applied:
            return np.asarray(scores, np.float64)
        changed = np.exp(logs - self._share * (self._sum / self._rest_s - POPULATION))
        return np.asarray(changed / changed.sum(), np.float64)

    @property
    def _share(self) -> float:
        return self._rest_s / (self._rest_s + HALF_S)
