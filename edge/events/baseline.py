"""A person's own baseline: faces at rest differ, and what tells a feeling is the change."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.emotions import EMOTIONS, Emotion
from edge.inference import Classifier
from edge.inference.manifest import LogScores
from edge.settings import SmoothingSettings

HALF_S = 60.0
"""Seconds of rest after which a face's own mean counts as much as the population's."""
APPLIED = 0.1
"""Share of its own mean from which a baseline counts as applied: seven seconds of rest."""
LONGEST_S = 1.0
"""Most seconds that one look stands for: after a gap nothing is known about what was between."""
LEAST_SCORE = 1e-3
NEUTRAL = EMOTIONS.index(Emotion.NEUTRAL)


class Baseline:
    """The slow mean of a face's log-scores, and what it takes from them; one object per visit.

    A look counts as its ``neutral`` score says, so that a long laugh is not learned as rest. The mean is drawn towards
    the population's: a minute of rest counts half.
    """

    def __init__(self, population: LogScores) -> None:
        """``population``: mean log-scores of many faces with the classifier whose scores follow."""
        self.population = population
        self._sum = np.zeros(len(EMOTIONS))
        self._rest_s = 0.0
        self._time_s: float | None = None

    @property
    def is_applied(self) -> bool:
        """Whether enough of this face was seen at rest to change its scores."""
        return self._share >= APPLIED

    def update(self, scores: NDArray[np.floating[Any]], time_s: float) -> NDArray[np.float64]:
        """Return scores [5] against this face's baseline, after learning from them. They sum to 1 again."""
        logs = log_scores(scores)
        if self._time_s is not None:
            weight = min(max(time_s - self._time_s, 0.0), LONGEST_S) * float(scores[NEUTRAL])
            self._sum += weight * logs
            self._rest_s += weight
        self._time_s = time_s
        if not self.is_applied:
            return np.asarray(scores, np.float64)
        changed = np.exp(logs - self._share * (self._sum / self._rest_s - np.array(self.population)))
        return np.asarray(changed / changed.sum(), np.float64)

    @property
    def _share(self) -> float:
        return self._rest_s / (self._rest_s + HALF_S)


def missing_population(settings: SmoothingSettings, classifier: Classifier) -> str | None:
    """Say in one line that ``smoothing.baseline`` changes nothing with a classifier, where that is so."""
    if not settings.baseline or classifier.population is not None:
        return None
    return (
        f"smoothing.baseline = true changes nothing with {classifier.name}: its manifest has no population to measure "
        "a face against; export the bundle again, or set smoothing.baseline = false"
    )


def log_scores(scores: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Return the logarithms of scores [..., 5]; a score below `LEAST_SCORE` counts as that."""
    return np.log(np.clip(np.asarray(scores, np.float64), LEAST_SCORE, 1.0))


def mean_log_scores(scores: NDArray[np.floating[Any]], labels: NDArray[np.integer[Any]]) -> LogScores:
    """Return the mean log-scores of many faces: each counts as its ``neutral`` score says, the emotions alike.

    ``scores``: [n, 5] of one classifier. ``labels``: [n], index into ``EMOTIONS``.
    """
    weights = np.maximum(scores[:, NEUTRAL], LEAST_SCORE) / np.bincount(labels, minlength=len(EMOTIONS))[labels]
    means = np.average(log_scores(scores), axis=0, weights=weights)
    return tuple(round(float(mean), 3) for mean in means)  # type: ignore[return-value]  # five of them
