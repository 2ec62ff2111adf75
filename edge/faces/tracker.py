"""Who is who from frame to frame: a whole-frame search now and then, a look around each known face in between."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edge.faces.detector import Detection, FaceDetector
from edge.faces.types import Box
from edge.frames import Frame
from edge.settings import FaceSettings

SAME_FACE_IOU = 0.25
"""Overlap from which a box is the face that was there before."""
SAME_FACE_REACH = 0.9
"""Of the wider box: a face that was lost may come back this far from where it was last seen."""
DOUBLE_IOU = 0.5
"""Two boxes that overlap more are one face found twice."""
CANDIDATE_MISSES = 5
"""Frames without a sight of it after which a face that was never confirmed is given up: it was likely none."""
RETRY_EVERY = 3
"""Frames between whole-frame searches while a known face is not to be found in its region."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """A known face, found in this frame."""

    visit: int
    """number of this visit, from 1; a face keeps it from frame to frame"""
    box: Box


@dataclass(slots=True)
class _Known:
    box: Box
    seen_s: float
    sightings: int = 1
    missed: int = 0
    """frames since it was seen"""
    visit: int | None = None
    """None until it was confirmed"""
    velocity: NDArray[np.float64] = field(default_factory=lambda: np.zeros(2))
    """pixels a frame, smoothed: where to look next"""

    def expected(self) -> Box:
        dx, dy = self.velocity
        return self.box._replace(x=round(self.box.x + dx), y=round(self.box.y + dy))


class FaceTracker:
    """Follows faces through the frames of one source; ``update`` is called with each frame in turn.

    A visit begins when a face was found in ``confirm_frames`` frames, and ends ``forget_after_s`` after it was last
    seen. The cost is one small region a face and frame, and the whole frame only every ``whole_frame_every`` frames,
    or while nobody, or not everybody, is found.
    """

    def __init__(self, settings: FaceSettings, detector: FaceDetector) -> None:
        self._settings = settings
        self._detector = detector
        self._known: list[_Known] = []
        self._shape: tuple[int, ...] = ()
        self._visits = 0
        self._frames = 0
        self._whole_at = 0

    def update(self, frame: Frame) -> list[Sighting]:
        """Return the confirmed faces seen in this frame, the largest first; empty where there is none."""
        self._forget(frame)
        lost = 0
        for known in self._known:
            found = self._detector.region(frame.luma, known.expected())
            if found is None:
                lost += 1
            else:
                _sighted(known, found.box, frame.time_s)
        if self._is_whole_due(lost):
            self._search_whole(frame)
        self._frames += 1
        self._known = _without_doubles(self._known)
        seen = [known for known in self._known if known.seen_s == frame.time_s]
        sightings = [Sighting(visit, known.box) for known in seen if (visit := self._admit(known))]
        return sorted(sightings, key=lambda sighting: sighting.box.width, reverse=True)

    def lose_sight(self) -> None:
        """Take whoever comes next for somebody new: the camera was away. Visits go on being counted."""
        self._known = []

    def _is_whole_due(self, lost: int) -> bool:
        waited = self._frames - self._whole_at
        if self._frames == 0 or not self._known:
            return True
        if any(known.visit is None for known in self._known) or lost:
            return waited >= RETRY_EVERY
        return waited >= self._settings.whole_frame_every

    def _search_whole(self, frame: Frame) -> None:
        self._whole_at = self._frames
        for detection in self._detector.whole(frame.luma, upsample=self._settings.upsample):
            known = _match(detection, self._known, frame.time_s)
            if known is None:
                self._known.append(_Known(detection.box, frame.time_s))
            elif known.seen_s != frame.time_s:
                _sighted(known, detection.box, frame.time_s)
        largest_first = sorted(self._known, key=lambda known: known.box.width, reverse=True)
        self._known = largest_first[: self._settings.max_faces]

    def _forget(self, frame: Frame) -> None:
        """Give up who was not seen for too long; everybody, where the picture has another size than before."""
        if frame.luma.shape != self._shape:
            self._shape, self._known = frame.luma.shape, []

        def remembered(known: _Known) -> bool:
            if known.visit is None:
                return known.missed < CANDIDATE_MISSES
            return known.missed == 0 or frame.time_s - known.seen_s <= self._settings.forget_after_s

        self._known = [known for known in self._known if remembered(known)]
        for known in self._known:
            known.missed += 1

    def _admit(self, known: _Known) -> int | None:
        """Number of the face's visit; None while it is not confirmed."""
        if known.visit is None and known.sightings >= self._settings.confirm_frames:
            self._visits += 1
            known.visit = self._visits
        return known.visit


def _sighted(known: _Known, box: Box, now_s: float) -> None:
    moved = np.array(box.centre) - np.array(known.box.centre)
    limit = 0.25 * box.width
    known.velocity = np.clip(0.5 * known.velocity + 0.5 * moved, -limit, limit)
    known.box = box
    known.seen_s = now_s
    known.missed = 0
    known.sightings += 1


def _match(detection: Detection, candidates: Iterable[_Known], now_s: float) -> _Known | None:
    """The known face that a detection belongs to: by overlap, or by nearness for one that was lost."""
    best, best_iou = None, SAME_FACE_IOU
    for known in candidates:
        overlap = known.box.iou(detection.box)
        if overlap >= best_iou:
            best, best_iou = known, overlap
    if best is not None:
        return best
    lost = [known for known in candidates if known.seen_s != now_s and _is_near(known.box, detection.box)]
    return min(lost, key=lambda known: _distance(known.box, detection.box), default=None)


def _is_near(a: Box, b: Box) -> bool:
    wider, narrower = max(a.width, b.width), min(a.width, b.width)
    return wider < 1.8 * narrower and _distance(a, b) < SAME_FACE_REACH * wider


def _distance(a: Box, b: Box) -> float:
    return float(np.hypot(a.centre[0] - b.centre[0], a.centre[1] - b.centre[1]))


def _without_doubles(known: list[_Known]) -> list[_Known]:
    """Keep the elder of two that ended on one face, where both were seen."""
    kept: list[_Known] = []
    for one in sorted(known, key=lambda k: (k.visit is None, k.visit or 0, -k.sightings)):
        if all(one.box.iou(other.box) < DOUBLE_IOU or one.seen_s != other.seen_s for other in kept):
            kept.append(one)
    return kept
