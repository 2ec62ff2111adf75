"""Who is who from frame to frame: faces are carried by their landmarks, and the detector looks again now and then."""

from collections.abc import Iterable
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edge.faces.carry import box_of, likeness
from edge.faces.chip import face_chip
from edge.faces.detector import LOST_MARGIN, STEADY_MARGIN, Detection, FaceDetector
from edge.faces.landmarks import LandmarkPredictor
from edge.faces.searcher import Searcher
from edge.faces.searches import Area, Searches
from edge.faces.types import Box
from edge.frames import Frame
from edge.settings import FaceSettings
from edge.stages import Stages

SAME_FACE_IOU = 0.25
"""Overlap from which a box is the face that was there before."""
SAME_FACE_REACH = 0.9
"""Of the wider box: a face that was lost may come back this far from where it was last seen."""
DOUBLE_IOU = 0.5
"""Two boxes that overlap more are one face found twice."""
CANDIDATE_MISSES = 5
"""Frames without a sight of it after which a face that was never confirmed is given up: it was likely none."""
LOST_EVERY_FRAME_S = 0.5
"""For so long is a face that was lost looked for in every frame, seconds: most come back at once."""
LOST_SEARCH_S = 0.12
"""After that, and for searches of what has changed, seconds between two looks."""
STEADY_IOU = 0.6
"""A carried box that overlaps the detector's this much stays: the detector's sizes come in steps of a fifth."""
SEARCH_LIMIT_S = 5.0
"""A search beside the loop that takes longer is waited for, so that the loop's own watchdog sees one that hangs."""
SAME_CHIP = 0.6
"""Likeness to the chip that the detector last vouched for, below which it is asked again. Measured: docs/faces.md."""


@dataclass(frozen=True, slots=True, eq=False)
class Sighting:
    """A known face, seen in this frame."""

    visit: int
    """number of this visit, from 1; a face keeps it from frame to frame"""
    box: Box
    landmarks: NDArray[np.float32]
    """[68, 2]"""
    chip: NDArray[np.uint8]
    """[48, 48]"""


@dataclass(slots=True, eq=False)
class _Known:
    box: Box
    seen_s: float
    verified_s: float
    """when the detector last saw it"""
    sightings: int = 0
    tried_s: float = 0.0
    """when it last looked"""
    missed: int = 0
    """frames since it was seen"""
    visit: int | None = None
    """None until it was confirmed"""
    velocity: tuple[float, float] = (0.0, 0.0)
    """pixels a frame, smoothed: where to look next"""
    landmarks: NDArray[np.float32] = field(default_factory=lambda: np.zeros((68, 2), np.float32))
    chip: NDArray[np.uint8] | None = None
    verified_chip: NDArray[np.uint8] | None = None
    """the chip of that moment"""

    def expected(self) -> Box:
        dx, dy = self.velocity
        return self.box._replace(x=round(self.box.x + dx), y=round(self.box.y + dy))


class FaceTracker:
    """Follows faces through the frames of one source; ``update`` is called with each frame in turn.

    A visit begins when a face was found in ``confirm_frames`` frames, and ends ``forget_after_s`` after it was last
    seen. A frame costs the landmarks of each known face; the detector looks in a small region around it every
    ``verify_every_s``, and at once where its chip no longer looks like it did; new faces are searched for as
    `edge.faces.searches` says.

    With a ``searcher`` such a search runs beside the frames that follow, and what it found joins the first frame after
    its end: a search of the whole frame takes as long as several frames. Without one it is over when its frame is.
    """

    def __init__(
        self,
        settings: FaceSettings,
        detector: FaceDetector,
        predictor: LandmarkPredictor,
        stages: Stages,
        searcher: Searcher | None = None,
    ) -> None:
        self._settings = settings
        self._detector = detector
        self._predictor = predictor
        self._stages = stages
        self._searches = Searches(
            every_s=settings.search_every_s,
            small_every_s=settings.small_faces_every_s,
            upsample=settings.upsample,
        )
        self._searcher = searcher
        self._search_under_way: tuple[float, Future[list[Detection]]] | None = None
        self._known: list[_Known] = []
        self._shape: tuple[int, ...] = ()
        self._visits = 0

    def update(self, frame: Frame) -> list[Sighting]:
        """Return the confirmed faces seen in this frame, the largest first; empty where there is none."""
        self._forget(frame)
        for known in self._known:
            self._follow(known, frame)
        self._search(frame)
        self._known = _without_doubles(self._known)
        seen = [known for known in self._known if known.missed == 0]
        sightings = [
            Sighting(visit, known.box, known.landmarks, known.chip)
            for known in seen
            if (visit := self._admit(known)) and known.chip is not None
        ]
        return sorted(sightings, key=lambda sighting: sighting.box.width, reverse=True)

    def lose_sight(self) -> None:
        """Take whoever comes next for somebody new: the camera was away. Visits go on being counted."""
        self._known = []
        self._forget_searches()

    def _forget_searches(self) -> None:
        self._searches.forget()
        self._search_under_way = None

    def _follow(self, known: _Known, frame: Frame) -> None:
        """Find a known face again: by its landmarks alone, or with the detector where that is due or in doubt."""
        expected = known.expected()
        is_due = frame.time_s - known.verified_s >= self._settings.verify_every_s
        if known.missed > 1 and not _is_worth_a_try(known, frame.time_s):
            return
        if known.visit is None or known.missed > 1 or is_due:
            self._verify(known, frame, expected)
            return
        landmarks, chip = self._landmarks(frame, expected)
        if known.verified_chip is not None and likeness(chip, known.verified_chip) < SAME_CHIP:
            self._verify(known, frame, expected)
        else:
            _sighted(known, landmarks, chip, frame.time_s)

    def _verify(self, known: _Known, frame: Frame, expected: Box) -> None:
        known.tried_s = frame.time_s
        with self._stages.measure("detect"):
            margin = LOST_MARGIN if known.missed > 1 else STEADY_MARGIN
            found = self._detector.region(frame.luma, expected, margin=margin)
        if found is not None:
            self._found(known, frame, expected if found.box.iou(expected) >= STEADY_IOU else found.box)

    def _found(self, known: _Known, frame: Frame, box: Box) -> None:
        known.verified_s = frame.time_s
        landmarks, known.verified_chip = self._landmarks(frame, box)
        _sighted(known, landmarks, known.verified_chip, frame.time_s)

    def _landmarks(self, frame: Frame, box: Box) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        with self._stages.measure("landmarks"):
            landmarks = self._predictor.points(frame.luma, box)
        with self._stages.measure("chip"):
            return landmarks, face_chip(frame.luma, landmarks)

    def _search(self, frame: Frame) -> None:
        if self._search_under_way is not None:
            began_s, search = self._search_under_way
            if not search.done() and frame.time_s - began_s < SEARCH_LIMIT_S:
                return
            self._search_under_way = None
            self._join(search.result(), frame)
        area = self._due(frame)
        if area is None:
            return
        if self._searcher is not None:
            self._search_under_way = frame.time_s, self._searcher.start(frame.luma, area)
            return
        with self._stages.measure("detect"):
            detections = self._detector.area(frame.luma, area)
        self._join(detections, frame)

    def _due(self, frame: Frame) -> Area | None:
        lost = any(known.missed and known.visit for known in self._known)
        with self._stages.measure("detect"):
            return self._searches.due(
                frame.luma,
                frame.time_s,
                every_s=LOST_SEARCH_S if lost else self._settings.search_every_s,
                seen=[known.box for known in self._known if not known.missed],
            )

    def _join(self, detections: list[Detection], frame: Frame) -> None:
        """Match what a search found with who is known; who is not is known from now on."""
        for detection in detections:
            known = _match(detection, self._known)
            if known is None:
                known = _Known(detection.box, frame.time_s, frame.time_s)
                self._known.append(known)
                self._found(known, frame, detection.box)
            elif known.missed:
                self._found(known, frame, detection.box)
        largest_first = sorted(self._known, key=lambda known: known.box.width, reverse=True)
        self._known = largest_first[: self._settings.max_faces]

    def _forget(self, frame: Frame) -> None:
        """Give up who was not seen for too long; everybody, where the picture has another size than before."""
        if frame.luma.shape != self._shape:
            self._shape, self._known = frame.luma.shape, []
            self._forget_searches()

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


def _is_worth_a_try(lost: _Known, now_s: float) -> bool:
    return now_s - lost.seen_s < LOST_EVERY_FRAME_S or now_s - lost.tried_s >= LOST_SEARCH_S


def _sighted(known: _Known, landmarks: NDArray[np.float32], chip: NDArray[np.uint8], now_s: float) -> None:
    box = box_of(landmarks)
    if known.sightings:
        (x, y), (old_x, old_y), limit = box.centre, known.box.centre, 0.25 * box.width
        moved = (x - old_x, y - old_y) if known.missed <= 1 else (0.0, 0.0)
        known.velocity = tuple(
            min(max(0.5 * old + 0.5 * new, -limit), limit) for old, new in zip(known.velocity, moved, strict=True)
        )  # type: ignore[assignment]  # two of them
    known.box, known.landmarks, known.chip = box, landmarks, chip
    known.seen_s = now_s
    known.missed = 0
    known.sightings += 1


def _match(detection: Detection, candidates: Iterable[_Known]) -> _Known | None:
    """The known face that a detection belongs to: by overlap, or by nearness for one that was lost."""
    best, best_iou = None, SAME_FACE_IOU
    for known in candidates:
        overlap = known.box.iou(detection.box)
        if overlap >= best_iou:
            best, best_iou = known, overlap
    if best is not None:
        return best
    lost = [known for known in candidates if known.missed and _is_near(known.box, detection.box)]
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
        if all(one.box.iou(other.box) < DOUBLE_IOU or one.missed or other.missed for other in kept):
            kept.append(one)
    return kept
