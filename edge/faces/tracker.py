"""Follows faces from frame to frame: by their landmarks, with the detector as a check now and then."""

import math
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge.faces.chip import face_chip, looks
from edge.faces.detector import LOST_MARGIN, NEW_FACE_SCORE, STEADY_MARGIN, FaceDetector
from edge.faces.landmarks import LandmarkPredictor, box_from_landmarks, tilt_deg
from edge.faces.search import BackgroundSearch, Search, SearchPlan
from edge.faces.types import Box, Detection, Region, Treatment
from edge.faces.views import angle_deg
from edge.faces.vouching import is_face, is_steady
from edge.faces.zones import Zones
from edge.frames import Frame
from edge.settings import FaceSettings
from edge.stages import Stages

SAME_FACE_IOU = 0.25
"""A detection that overlaps a track's box by this much (intersection over union) is the same face."""
SAME_FACE_REACH = 0.9
"""A lost face may come back this far from its last place, in widths of the wider box."""
MOST_DRIFT = 2.0
"""A lost face that was moving may have gone on this far, in widths of its box."""
CLEARLY = 0.1
"""Where two tracks come together, a face belongs to the one whose chip correlates better with it by more than this."""
DOUBLE_IOU = 0.5
"""Two tracks whose boxes overlap more than this follow the same face."""
CANDIDATE_LOST_FRAMES = 5
"""A track that is not confirmed is dropped after this many frames without its face."""
LOST_EVERY_FRAME_S = 0.5
"""Seconds during which a lost face is searched for in every frame: most come back at once."""
LOST_SEARCH_S = 0.12
"""Seconds between two searches after that, near the lost face and in what has changed."""
STEADY_IOU = 0.6
"""A tracked box that overlaps the detector's by this much is kept: the detector's sizes come in steps of a fifth."""
TURNED_DEG = 33.0
"""A face that lies turned by more is looked at upright: the detector's views end there."""
OTHERWISE_DEG, RECOGNISED_SCORE = 60.0, 0.8
"""A face that the detector was never sure of lies as a search finds that scores it so, if that differs by more."""
SURE_SHIFT = 0.03
"""One that scores less, but enough for a new face, lies as it seems if its landmarks move by less, in widths of its
box: dlib's detector sees faces upside down, too. Measured: docs/faces.md."""
SAME_CHIP = 0.6
"""Correlation with the chip of the last check, below which the detector checks again. Measured: docs/faces.md."""
STEADY_CHIP, TRUSTED_TIMES = 0.9, 3
"""A face that looks at a check as at the one before, by this correlation, is trusted for twice, then three times as
long."""


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
    looks: NDArray[np.float32] = field(init=False)
    """of its chip, see `edge.faces.chip.looks`"""
    checked_looks: NDArray[np.float32] = field(init=False)
    """the same in the frame in which the detector saw it"""
    trust: int = 1
    """how many times as long as usual it is followed before the detector checks it again"""
    treatment: Treatment = Treatment.NONE
    """what the picture needed in that frame"""
    is_sure: bool = False
    """whether the detector was sure of it as it lies"""
    is_plain: bool = False
    """whether dlib's detector scored it as it must score a new face, in the picture as it is"""
    number: int = 0
    """from 1, in the order in which faces were confirmed; 0 until this one is"""
    seen_frames: int = 1
    lost_frames: int = 0
    """frames since it was last seen: 0 where the last frame showed it"""
    searched_s: float = 0.0
    """time of the last frame in which the detector looked for it in a region"""
    velocity: tuple[float, float] = (0.0, 0.0)
    """pixels a frame, smoothed: where to look next"""

    def __post_init__(self) -> None:
        self.looks = self.checked_looks = looks(self.chip)

    def expected(self) -> Box:
        """Return the box where the next frame should show it."""
        dx, dy = self.velocity
        return self.box._replace(x=round(self.box.x + dx), y=round(self.box.y + dy))

    def distance(self, box: Box) -> float:
        """Return how far a box is from where the face is, in pixels: lost, it may have gone on as it moved, or not."""
        x, y = self.velocity
        far = self.lost_frames / max(1.0, self.lost_frames * math.hypot(x, y) / (MOST_DRIFT * self.box.width))
        drifted = self.box._replace(x=round(self.box.x + far * x), y=round(self.box.y + far * y))
        return min(_distance(self.box, box), _distance(drifted, box))

    def turned_deg(self) -> float:
        """Return by how much the face lies turned clockwise; 0 where the detector sees it as it is."""
        tilt = tilt_deg(self.landmarks)
        return tilt if abs(tilt) > TURNED_DEG else 0.0

    def see(self, sight: "Sight", now_s: float) -> None:
        """Take in what a frame shows of the face."""
        box = sight.box
        (x, y), (old_x, old_y), limit = box.centre, self.box.centre, 0.25 * box.width
        moved = (0.0, 0.0) if self.lost_frames else (x - old_x, y - old_y)
        self.velocity = tuple(
            min(max(0.5 * old + 0.5 * new, -limit), limit) for old, new in zip(self.velocity, moved, strict=True)
        )  # type: ignore[assignment]  # two of them
        self.box, self.landmarks, self.chip, self.looks = box, sight.landmarks, sight.chip, sight.looks
        self.seen_s = now_s
        self.seen_frames += 1

    def is_due(self, now_s: float, every_s: float) -> bool:
        """Return whether the detector must check it again: later while it looks the same as at several checks."""
        return now_s - self.checked_s >= every_s * (self.trust if self._is_steady() else 1)

    def confirm(self, treatment: Treatment, now_s: float) -> None:
        """Take in that the detector has seen what was seen of it last."""
        has_lasted = self.number and not self.lost_frames and self._is_steady()
        self.trust = min(self.trust + 1, TRUSTED_TIMES) if has_lasted else 1
        self.checked_s, self.checked_looks, self.treatment = now_s, self.looks, treatment

    def _is_steady(self) -> bool:
        return float(self.looks @ self.checked_looks) >= STEADY_CHIP


class Sight(NamedTuple):
    """What a frame shows of a face."""

    box: Box
    landmarks: NDArray[np.float32]
    """[68, 2]"""
    chip: NDArray[np.uint8]
    """[48, 48]"""
    looks: NDArray[np.float32]
    """of the chip"""


class FaceTracker:
    """Follows faces through the frames of one source; call ``update`` with each frame in turn.

    A track gets its number once its face was seen in ``confirm_frames`` frames, and is dropped ``forget_after_s`` after
    its face was last seen. Each frame, a face's landmarks are found in the box that its last landmarks give. The
    detector checks the surroundings of that box every ``verify_every_s``, and at once where the chip has changed too
    much. `SearchPlan` says where to search for new faces.

    With a ``background`` such a search runs beside the next frames, since it takes as long as several of them, and its
    detections join the first frame after its end. Without one they join the frame that was searched.
    """

    def __init__(
        self,
        settings: FaceSettings,
        detector: FaceDetector,
        predictor: LandmarkPredictor,
        stages: Stages,
        background: BackgroundSearch | None = None,
        *,
        search: Search | None = None,
    ) -> None:
        self._settings = settings
        self._detector = detector
        self._predictor = predictor
        self._stages = stages
        self._zones = Zones(settings.zones)
        self._plan = SearchPlan(
            zones=self._zones,
            every_s=settings.search_every_s,
            small_every_s=settings.small_faces_every_s,
            upsample=settings.upsample,
        )
        self._background = background
        self._searcher: Search = search or detector
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
        in_view = [
            track
            for track in self._tracks
            if not track.lost_frames and self._zones.hold(track.box, frame.luma.shape) and self._is_confirmed(track)
        ]
        return sorted(in_view, key=lambda track: track.box.width, reverse=True)

    def lose_sight(self) -> None:
        """Take whoever comes next for somebody new: the camera was away. Track numbers go on."""
        self._tracks = []
        self._forget_scene()

    def _forget_scene(self) -> None:
        self._plan.forget()
        if self._background is not None:
            self._background.drop()

    def _follow(self, track: Track, frame: Frame) -> bool:
        """Find a face again: by its landmarks alone, or with the detector where that is due or in doubt."""
        expected = track.expected()
        is_due = track.is_due(frame.time_s, self._settings.verify_every_s)
        if track.lost_frames and not _is_worth_a_search(track, frame.time_s):
            return False
        if track.lost_frames or not track.number or is_due:
            return self._check(track, frame, expected)
        sight = self._look(frame, Detection(expected, 0.0, track.turned_deg(), track.treatment))
        if float(sight.looks @ track.checked_looks) < SAME_CHIP:
            return self._check(track, frame, expected)
        return self._see(track, frame, sight)

    def _check(self, track: Track, frame: Frame, expected: Box) -> bool:
        """Let the detector look for a face near the box where it is expected."""
        track.searched_s = frame.time_s
        with self._stages.measure("detect"):
            margin = LOST_MARGIN if track.lost_frames else STEADY_MARGIN
            found = self._detector.find_near(
                frame.luma,
                expected,
                margin=margin,
                turned_deg=track.turned_deg(),
                covered=not track.is_plain,
                was=track.treatment,
            )
        if found is None:
            return False
        is_steady = found.box.iou(expected) >= STEADY_IOU
        return self._see_detected(track, frame, replace(found, box=expected) if is_steady else found)

    def _see_detected(self, track: Track, frame: Frame, detection: Detection) -> bool:
        if not self._see(track, frame, self._look(frame, detection)):
            return False
        track.confirm(detection.treatment, frame.time_s)
        track.is_sure = track.is_sure or self._is_sure(detection, frame)
        track.is_plain |= _is_plain(detection)
        return True

    def _see(self, track: Track, frame: Frame, sight: Sight) -> bool:
        """Take in what a frame shows of a face; it is lost where it was last if it left the zones or is another's."""
        if not self._zones.hold(sight.box, frame.luma.shape) or self._is_anothers(track, sight):
            return False
        track.see(sight, frame.time_s)
        return True

    def _is_anothers(self, track: Track, sight: Sight) -> bool:
        """Whether a sight is that of another track, which passes before this one: by its looks, else its place."""
        own_looks, own_place = float(sight.looks @ track.checked_looks), track.expected().iou(sight.box)
        for other in self._tracks:
            if other is track or not other.number or (place := other.expected().iou(sight.box)) < SAME_FACE_IOU:
                continue
            alike = float(sight.looks @ other.checked_looks)
            is_there = place > own_place or (track.lost_frames > 0 and not other.lost_frames)
            if alike > own_looks + CLEARLY or (abs(alike - own_looks) <= CLEARLY and is_there):
                return True
        return False

    def _look(self, frame: Frame, detection: Detection) -> Sight:
        with self._stages.measure("landmarks"):
            landmarks = self._predictor.points_of(frame.luma, detection)
        with self._stages.measure("chip"):
            chip = face_chip(frame.luma, landmarks)
            return Sight(box_from_landmarks(landmarks), landmarks, chip, looks(chip))

    def _search(self, frame: Frame, seen: set[Track]) -> set[Track]:
        """Search for faces other than those seen in this frame already; return the tracks of those found."""
        found: set[Track] = set()
        if self._background is not None:
            if self._background.is_running(frame.time_s):
                return found
            found = self._join(self._background.take(), frame, seen)
        region = self._next_region(frame, seen | found)
        if region is None:
            return found
        if self._background is not None:
            self._background.start(frame.luma, region, frame.time_s)
            return found
        with self._stages.measure("detect"):
            detections = self._searcher.find_in(frame.luma, region)
        return self._join(detections, frame, seen)

    def _next_region(self, frame: Frame, seen: set[Track]) -> Region | None:
        somebody_is_lost = any(track.number and track not in seen for track in self._tracks)
        with self._stages.measure("detect"):
            return self._plan.next_region(
                frame.luma,
                frame.time_s,
                every_s=LOST_SEARCH_S if somebody_is_lost else self._settings.search_every_s,
                known=[track.box for track in self._tracks if track in seen],
                lying_deg=[tilt_deg(track.landmarks) for track in self._tracks if track.is_sure and track.number],
                unsettled=not all(track.number for track in self._tracks),
            )

    def _join(self, detections: list[Detection], frame: Frame, seen: set[Track]) -> set[Track]:
        """Match what a search found with the tracks; what fits none begins one."""
        found: set[Track] = set()
        for detection in detections:
            track = _match(detection, self._tracks, seen | found)
            if track is None or track not in seen | found or _lies_otherwise(track, detection):
                if not self._zones.hold(detection.box, frame.luma.shape) or not self._is_face(detection, frame):
                    continue
                if track is None:
                    track = self._begin(detection, frame)
                    self._tracks.append(track)
                elif not self._see_detected(track, frame, detection):
                    continue
            found.add(track)
        self._tracks.sort(key=lambda track: track.box.width, reverse=True)
        del self._tracks[self._settings.max_faces :]
        return found

    def _is_face(self, detection: Detection, frame: Frame) -> bool:
        with self._stages.measure("detect"):
            return is_face(frame.luma, detection, self._detector, self._predictor)

    def _begin(self, detection: Detection, frame: Frame) -> Track:
        sight = self._look(frame, detection)
        now_s, treatment = frame.time_s, detection.treatment
        track = Track(sight.box, sight.landmarks, sight.chip, now_s, now_s, treatment=treatment)
        track.is_sure, track.is_plain = self._is_sure(detection, frame), _is_plain(detection)
        return track

    def _is_sure(self, detection: Detection, frame: Frame) -> bool:
        if detection.score < NEW_FACE_SCORE or detection.treatment is Treatment.COVERED:
            return False  # the detector of covered faces sees many of them upside down
        if detection.score >= RECOGNISED_SCORE and detection.treatment is Treatment.NONE:
            return True
        return is_steady(frame.luma, detection, self._predictor, within=SURE_SHIFT)

    def _forget(self, frame: Frame) -> None:
        """Drop the tracks that were lost for too long; all of them where the picture has another size than before."""
        if frame.luma.shape != self._shape:
            self._shape, self._tracks = frame.luma.shape, []
            self._forget_scene()

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


def _is_plain(detection: Detection) -> bool:
    return detection.score >= NEW_FACE_SCORE and detection.treatment is Treatment.NONE


def _lies_otherwise(track: Track, detection: Detection) -> bool:
    """Whether a face that is followed lies otherwise than was thought: it is recognised clearly, for the first time."""
    if track.is_sure or detection.score < RECOGNISED_SCORE:
        return False
    return angle_deg(tilt_deg(track.landmarks), detection.lies_deg) > OTHERWISE_DEG


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
    lost = [track for track in tracks if track not in seen and _may_be(track, detection.box)]
    return min(lost, key=lambda track: track.distance(detection.box), default=None)


def _may_be(lost: Track, box: Box) -> bool:
    wider, narrower = max(lost.box.width, box.width), min(lost.box.width, box.width)
    return wider < 1.8 * narrower and lost.distance(box) < SAME_FACE_REACH * wider


def _distance(a: Box, b: Box) -> float:
    return float(np.hypot(a.centre[0] - b.centre[0], a.centre[1] - b.centre[1]))


def _without_doubles(tracks: list[Track], seen: set[Track]) -> list[Track]:
    """Keep the elder of two tracks that ended on one face, where both were seen."""
    kept: list[Track] = []
    for one in sorted(tracks, key=lambda track: (not track.number, track.number, -track.seen_frames)):
        if all(one.box.iou(other.box) < DOUBLE_IOU or not {one, other} <= seen for other in kept):
            kept.append(one)
    return kept
