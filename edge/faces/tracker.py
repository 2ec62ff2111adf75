"""Who is who from frame to frame: faces are carried by their landmarks, and the detector looks again now and then."""

from concurrent.futures import Future
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.faces.carry import box_of, correlation
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
CANDIDATE_LOST_FRAMES = 5
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
"""Correlation with the chip of the last check, below which the detector checks again. Measured: docs/faces.md."""


@dataclass(slots=True, eq=False)
class Track:
    """A face that is followed from frame to frame."""

    box: Box
    landmarks: NDArray[np.float32]
    """[68, 2]"""
    chip: NDArray[np.uint8]
    """[48, 48]"""
    seen_s: float
    """time of the last frame in which it was seen"""
    checked_s: float
    """time of the last frame in which the detector saw it"""
    checked_chip: NDArray[np.uint8]
    """its chip in that frame"""
    number: int = 0
    """from 1, in the order in which faces were confirmed; 0 until this one is"""
    seen_frames: int = 1
    lost_frames: int = 0
    """frames since it was last seen: 0 where the last frame showed it"""
    searched_s: float = 0.0
    """time of the last frame in which the detector looked for it in a region"""
    velocity: tuple[float, float] = (0.0, 0.0)
    """pixels a frame, smoothed: where to look next"""

    def expected(self) -> Box:
        """Return the box where the next frame should show it."""
        dx, dy = self.velocity
        return self.box._replace(x=round(self.box.x + dx), y=round(self.box.y + dy))

    def see(self, landmarks: NDArray[np.float32], chip: NDArray[np.uint8], now_s: float) -> None:
        """Take in what a frame shows of the face."""
        box = box_of(landmarks)
        (x, y), (old_x, old_y), limit = box.centre, self.box.centre, 0.25 * box.width
        moved = (0.0, 0.0) if self.lost_frames else (x - old_x, y - old_y)
        self.velocity = tuple(
            min(max(0.5 * old + 0.5 * new, -limit), limit) for old, new in zip(self.velocity, moved, strict=True)
        )  # type: ignore[assignment]  # two of them
        self.box, self.landmarks, self.chip = box, landmarks, chip
        self.seen_s = now_s
        self.seen_frames += 1


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
        self._tracks: list[Track] = []
        self._shape: tuple[int, ...] = ()
        self._numbers = 0

    def update(self, frame: Frame) -> list[Track]:
        """Return the confirmed faces seen in this frame, the largest first; empty where there is none."""
        self._forget(frame)
        seen = {track for track in self._tracks if self._follow(track, frame)}
        seen |= self._search(frame, seen)
        self._tracks = _without_doubles(self._tracks, seen)
        for track in self._tracks:
            track.lost_frames = 0 if track in seen else track.lost_frames + 1
        in_view = [track for track in self._tracks if not track.lost_frames and self._is_confirmed(track)]
        return sorted(in_view, key=lambda track: track.box.width, reverse=True)

    def lose_sight(self) -> None:
        """Take whoever comes next for somebody new: the camera was away. Track numbers go on."""
        self._tracks = []
        self._forget_searches()

    def _forget_searches(self) -> None:
        self._searches.forget()
        self._search_under_way = None

    def _follow(self, track: Track, frame: Frame) -> bool:
        """Find a face again: by its landmarks alone, or with the detector where that is due or in doubt."""
        expected = track.expected()
        is_due = frame.time_s - track.checked_s >= self._settings.verify_every_s
        if track.lost_frames and not _is_worth_a_search(track, frame.time_s):
            return False
        if track.lost_frames or not track.number or is_due:
            return self._check(track, frame, expected)
        landmarks, chip = self._landmarks(frame, expected)
        if correlation(chip, track.checked_chip) < SAME_CHIP:
            return self._check(track, frame, expected)
        track.see(landmarks, chip, frame.time_s)
        return True

    def _check(self, track: Track, frame: Frame, expected: Box) -> bool:
        """Let the detector look for a face near the box where it is expected."""
        track.searched_s = frame.time_s
        with self._stages.measure("detect"):
            margin = LOST_MARGIN if track.lost_frames else STEADY_MARGIN
            found = self._detector.region(frame.luma, expected, margin=margin)
        if found is None:
            return False
        self._see_detected(track, frame, expected if found.box.iou(expected) >= STEADY_IOU else found.box)
        return True

    def _see_detected(self, track: Track, frame: Frame, box: Box) -> None:
        track.checked_s = frame.time_s
        landmarks, track.checked_chip = self._landmarks(frame, box)
        track.see(landmarks, track.checked_chip, frame.time_s)

    def _landmarks(self, frame: Frame, box: Box) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        with self._stages.measure("landmarks"):
            landmarks = self._predictor.points(frame.luma, box)
        with self._stages.measure("chip"):
            return landmarks, face_chip(frame.luma, landmarks)

    def _search(self, frame: Frame, seen: set[Track]) -> set[Track]:
        """Search for faces other than those seen in this frame already; return the tracks of those found."""
        found: set[Track] = set()
        if self._search_under_way is not None:
            began_s, search = self._search_under_way
            if not search.done() and frame.time_s - began_s < SEARCH_LIMIT_S:
                return found
            self._search_under_way = None
            found = self._join(search.result(), frame, seen)
        area = self._due(frame, seen | found)
        if area is None:
            return found
        if self._searcher is not None:
            self._search_under_way = frame.time_s, self._searcher.start(frame.luma, area)
            return found
        with self._stages.measure("detect"):
            detections = self._detector.area(frame.luma, area)
        return found | self._join(detections, frame, seen)

    def _due(self, frame: Frame, seen: set[Track]) -> Area | None:
        somebody_is_lost = any(track.number and track not in seen for track in self._tracks)
        with self._stages.measure("detect"):
            return self._searches.due(
                frame.luma,
                frame.time_s,
                every_s=LOST_SEARCH_S if somebody_is_lost else self._settings.search_every_s,
                seen=[track.box for track in self._tracks if track in seen],
            )

    def _join(self, detections: list[Detection], frame: Frame, seen: set[Track]) -> set[Track]:
        """Match what a search found with the tracks; what fits none begins one."""
        found: set[Track] = set()
        for detection in detections:
            track = _match(detection, self._tracks, seen | found)
            if track is None:
                track = self._begin(detection, frame)
                self._tracks.append(track)
            elif track not in seen | found:
                self._see_detected(track, frame, detection.box)
            found.add(track)
        self._tracks.sort(key=lambda track: track.box.width, reverse=True)
        del self._tracks[self._settings.max_faces :]
        return found

    def _begin(self, detection: Detection, frame: Frame) -> Track:
        landmarks, chip = self._landmarks(frame, detection.box)
        return Track(box_of(landmarks), landmarks, chip, frame.time_s, frame.time_s, chip)

    def _forget(self, frame: Frame) -> None:
        """Drop the tracks that were lost for too long; all of them where the picture has another size than before."""
        if frame.luma.shape != self._shape:
            self._shape, self._tracks = frame.luma.shape, []
            self._forget_searches()

        def is_kept(track: Track) -> bool:
            if not track.number:
                return track.lost_frames < CANDIDATE_LOST_FRAMES
            return not track.lost_frames or frame.time_s - track.seen_s <= self._settings.forget_after_s

        self._tracks = [track for track in self._tracks if is_kept(track)]

    def _is_confirmed(self, track: Track) -> bool:
        """Whether the face was seen often enough; a track gets its number here."""
        if not track.number and track.seen_frames >= self._settings.confirm_frames:
            self._numbers += 1
            track.number = self._numbers
        return track.number > 0


def _is_worth_a_search(lost: Track, now_s: float) -> bool:
    return now_s - lost.seen_s < LOST_EVERY_FRAME_S or now_s - lost.searched_s >= LOST_SEARCH_S


def _match(detection: Detection, tracks: list[Track], seen: set[Track]) -> Track | None:
    """Return the track that a detection belongs to: by overlap, or by nearness for one not seen in this frame."""
    best, best_iou = None, SAME_FACE_IOU
    for track in tracks:
        overlap = track.box.iou(detection.box)
        if overlap >= best_iou:
            best, best_iou = track, overlap
    if best is not None:
        return best
    lost = [track for track in tracks if track not in seen and _is_near(track.box, detection.box)]
    return min(lost, key=lambda track: _distance(track.box, detection.box), default=None)


def _is_near(a: Box, b: Box) -> bool:
    wider, narrower = max(a.width, b.width), min(a.width, b.width)
    return wider < 1.8 * narrower and _distance(a, b) < SAME_FACE_REACH * wider


def _distance(a: Box, b: Box) -> float:
    return float(np.hypot(a.centre[0] - b.centre[0], a.centre[1] - b.centre[1]))


def _without_doubles(tracks: list[Track], seen: set[Track]) -> list[Track]:
    """Keep the elder of two tracks that ended on one face, where both were seen."""
    kept: list[Track] = []
    for one in sorted(tracks, key=lambda track: (not track.number, track.number, -track.seen_frames)):
        if all(one.box.iou(other.box) < DOUBLE_IOU or not {one, other} <= seen for other in kept):
            kept.append(one)
    return kept
