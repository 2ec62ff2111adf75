"""Scores that hold for the next frame too: a face is classified when it looks different, and a few times a second."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.faces.carry import likeness
from edge.faces.tracker import Sighting
from edge.inference.classifier import Classifier

LOOKS_THE_SAME = 0.97
"""Likeness to the chip that was classified from which its scores still hold. Measured: docs/performance.md."""


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

    def of(self, sightings: Sequence[Sighting], now_s: float, classifier: Classifier) -> NDArray[np.float32]:
        """Return scores float32 [n, 5] of faces seen now, of which only those that are due are classified."""
        if classifier is not self._classifier:
            self._classifier, self._held = classifier, {}
        due = [seen for seen in sightings if self._is_due(seen, now_s)]
        fresh: dict[int, _Held] = {}
        if due:
            scores = classifier.scores(np.stack([s.chip for s in due]), np.stack([s.landmarks for s in due]))
            fresh = {seen.visit: _Held(now_s, seen.chip, row) for seen, row in zip(due, scores, strict=True)}
        self._held = {seen.visit: fresh.get(seen.visit) or self._held[seen.visit] for seen in sightings}
        return np.stack([self._held[seen.visit].scores for seen in sightings])

    def _is_due(self, seen: Sighting, now_s: float) -> bool:
        held = self._held.get(seen.visit)
        if held is None or not 0 <= now_s - held.time_s < self._every_s:
            return True
        return likeness(seen.chip, held.chip) < LOOKS_THE_SAME
