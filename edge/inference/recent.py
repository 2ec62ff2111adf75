"""Scores that hold for the next frame too: a face is classified when it looks different, and a few times a second."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.faces.chip import correlation
from edge.faces.tracker import Track
from edge.inference.classifier import Classifier

LOOKS_THE_SAME = 0.97
"""Correlation with the chip that was classified from which its scores still hold. Measured: docs/performance.md."""


@dataclass(frozen=True, slots=True, eq=False)
class _Held:
    time_s: float
    chip: NDArray[np.uint8]
    scores: NDArray[np.float32]


class RecentScores:
    """The scores of the faces in view, for one source.

    Parameters
    ----------
    every_s
        Seconds for which scores hold at most; 0 classifies in every frame.
    """

    def __init__(self, every_s: float) -> None:
        self._every_s = every_s
        self._classifier: Classifier | None = None
        self._held: dict[int, _Held] = {}

    def of(self, tracks: Sequence[Track], now_s: float, classifier: Classifier) -> NDArray[np.float32]:
        """Return scores float32 [n, 5] of faces seen now, of which only those that are due are classified."""
        if classifier is not self._classifier:
            self._classifier, self._held = classifier, {}
        due = [seen for seen in tracks if self._is_due(seen, now_s)]
        fresh: dict[int, _Held] = {}
        if due:
            scores = classifier.scores(np.stack([s.chip for s in due]), np.stack([s.landmarks for s in due]))
            fresh = {seen.number: _Held(now_s, seen.chip, row) for seen, row in zip(due, scores, strict=True)}
        self._held = {seen.number: fresh.get(seen.number) or self._held[seen.number] for seen in tracks}
        return np.stack([self._held[seen.number].scores for seen in tracks])

    def _is_due(self, seen: Track, now_s: float) -> bool:
        held = self._held.get(seen.number)
        if held is None or not 0 <= now_s - held.time_s < self._every_s:
            return True
        return correlation(seen.chip, held.chip) < LOOKS_THE_SAME
