"""A frame in, faces with scores out: the work that the daemon, the benchmark and ``classify`` share."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.bundles.choice import load_chosen_or_previous
from edge.faces.chip import correlation, face_chip
from edge.faces.detector import NEW_FACE_SCORE, WEAK_FACE_SCORE, FaceDetector
from edge.faces.landmarks import LandmarkPredictor
from edge.faces.search import BackgroundSearch
from edge.faces.tracker import FaceTracker, Track
from edge.faces.types import Box, TrackedFace
from edge.faces.zones import Zones
from edge.frames import Frame
from edge.inference import Classifier
from edge.settings import FaceSettings, Settings
from edge.stages import Stages

STILL_PIXELS = 4_000_000
"""A still picture is doubled or shrunk to about this many pixels before it is searched: that finds faces from 20 px in
a small picture, and takes a second or so for a large one."""

SMALLEST_FACE_PX = 38
"""The detector finds faces from this width in a picture that is doubled once; on a strip of one pixel it fails."""
TURNED_FACE_SCORE = 0.8
"""Least score of a face in a turned picture, which is doubled once at most: three more searches find more false faces.
Turned, dlib's dogs.jpg has one with 0.59, doubled twice one with 0.97."""
LOOKS_THE_SAME = 0.97
"""A chip whose correlation with the last one classified is at least this keeps its scores. Measured:
docs/performance.md."""


class Pipeline:
    """Finds, follows and classifies the faces of one source; for use by one thread.

    ``live``: True for a camera, which does not wait: large searches run in a thread beside the frames. For any other
    source, the same frames give the same faces every time.
    """

    def __init__(
        self,
        *,
        faces: FaceSettings,
        classifier: Classifier,
        landmarks: LandmarkPredictor,
        detector: FaceDetector | None = None,
        stages: Stages | None = None,
        live: bool = False,
    ) -> None:
        self.classifier = classifier
        self.stages = stages or Stages()
        self._landmarks = landmarks
        self._detector = detector or FaceDetector()
        self._background = BackgroundSearch(self._detector.copy()) if live else None
        self._settings = faces
        self._zones = Zones(faces.zones)
        self.forget()

    def forget(self) -> None:
        """Start again: the next frame is of another source."""
        self._recent = RecentScores(self._settings.classify_every_s)
        self._tracker = FaceTracker(self._settings, self._detector, self._landmarks, self.stages, self._background)

    def another(self, faces: FaceSettings, *, live: bool = False) -> "Pipeline":
        """Return a pipeline for another source with the same models; `close` ends it.

        Its models are shared: the two must not work at the same time.
        """
        return Pipeline(
            faces=faces, classifier=self.classifier, landmarks=self._landmarks, detector=self._detector, live=live
        )

    def close(self) -> None:
        """End the thread that searches beside the frames, where there is one."""
        if self._background is not None:
            self._background.close()

    def lose_sight(self) -> None:
        """Begin a new track for whoever is seen next, as the camera was away. Track numbers go on."""
        self._tracker.lose_sight()

    def follow(self, frame: Frame) -> list[TrackedFace]:
        """Return the faces of the next frame, the largest first; a face keeps its track number from frame to frame."""
        with self.stages.measure("total"):
            tracks = self._tracker.update(frame)
            scores: Iterable[NDArray[np.float32]] = ()
            if tracks:
                with self.stages.measure("classify"):
                    scores = self._recent.of(tracks, frame.time_s, self.classifier)
        self.stages.end_frame()
        return [
            TrackedFace(track.number, track.box, track.landmarks, track.chip, row)
            for track, row in zip(tracks, scores, strict=True)
        ]

    def find_still(self, luma: NDArray[np.uint8]) -> list[TrackedFace]:
        """Return the faces of a still picture, uint8 [height, width], the largest first.

        Where there is none, the picture is searched turned by 90, 270 and 180 degrees, too.
        """
        return self.find_turned(luma)[1]

    def find_turned(self, luma: NDArray[np.uint8]) -> tuple[int, list[TrackedFace]]:
        """Return the same, and how the picture had to be turned for it: 0, 90, 180 or 270 degrees clockwise."""
        area = self._zones.area(luma.shape)
        part = luma[area.y : area.y + area.height, area.x : area.x + area.width]
        boxes = [_moved(box, area) for box in self._search_still(part, WEAK_FACE_SCORE, whole_pixels=luma.size)]
        boxes = [box for box in boxes if self._zones.hold(box, luma.shape)]
        if boxes:
            return 0, self.score_boxes(luma, boxes)
        for quarters in (1, 3, 2) if min(part.shape) >= SMALLEST_FACE_PX else ():
            turned = np.ascontiguousarray(np.rot90(part, quarters))
            boxes = self._search_still(turned, TURNED_FACE_SCORE, whole_pixels=luma.size, most_doublings=1)
            faces = [_turned_back(face, quarters, part.shape, area) for face in self.score_boxes(turned, boxes)]
            faces = [face for face in faces if self._zones.hold(face.box, luma.shape)]
            if faces:
                return 360 - 90 * quarters, [replace(face, track=number) for number, face in enumerate(faces, start=1)]
        return 0, []

    def score_boxes(self, luma: NDArray[np.uint8], boxes: list[Box]) -> list[TrackedFace]:
        """Return the faces of a still picture, uint8 [height, width], whose boxes are known."""
        if not boxes:
            return []
        luma = np.ascontiguousarray(luma)
        landmarks = np.stack([self._landmarks.points(luma, box) for box in boxes])
        chips = np.stack([face_chip(luma, points) for points in landmarks])
        with self.stages.measure("classify"):
            scores = self.classifier.scores(chips, landmarks)
        return [
            TrackedFace(number, *parts)
            for number, parts in enumerate(zip(boxes, landmarks, chips, scores, strict=True), start=1)
        ]

    def _search_still(
        self, luma: NDArray[np.uint8], least_score: float, *, whole_pixels: int, most_doublings: int = 2
    ) -> list[Box]:
        """Search a picture or a part of one, as closely as the pixels of the whole allow."""
        height, width = luma.shape
        doublings = 0
        while doublings < most_doublings and whole_pixels * 4 ** (doublings + 1) <= STILL_PIXELS:
            doublings += 1
        shrink = min(1.0, (STILL_PIXELS / whole_pixels) ** 0.5)
        if shrink < 1:
            size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
            luma = np.asarray(cv2.resize(luma, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
        luma = np.ascontiguousarray(luma)
        found = [
            seen.box
            for seen in self._detector.find(luma, upsample=doublings, least_score=least_score)
            if seen.score >= NEW_FACE_SCORE or self._landmarks.are_steady(luma, seen.box)
        ]
        return [Box(*(round(value / shrink) for value in box)) for box in found]


def load_pipeline(settings: Settings, stages: Stages | None = None, *, live: bool = False) -> Pipeline:
    """Load the models that the settings name.

    ``live`` is as for `Pipeline`.

    Raises `ConfigError`: ``bundle_key`` names no file of public keys, or they cannot be used.
    Raises `BundleError` or `LandmarkModelError`: a model is missing, damaged or does not fit.
    """
    # OpenCV's thread pool costs more than it saves on pictures of a few hundred pixels: its threads wait by spinning.
    cv2.setNumThreads(1)
    return Pipeline(
        faces=settings.faces,
        classifier=load_chosen_or_previous(settings),
        landmarks=LandmarkPredictor(Path(settings.landmarks) if settings.landmarks else None),
        detector=FaceDetector(Path(settings.state_dir) if settings.state_dir else None),
        stages=stages,
        live=live,
    )


def _moved(box: Box, area: Box) -> Box:
    """Return a box of a part in pixels of the whole picture."""
    return box._replace(x=box.x + area.x, y=box.y + area.y)


def _turned_back(face: TrackedFace, quarters: int, shape: tuple[int, ...], area: Box) -> TrackedFace:
    """Return a face of ``np.rot90(part, quarters)`` in pixels of the picture; the part has this shape and place."""
    height, width = shape

    def back(points: NDArray[np.float32]) -> NDArray[np.float32]:
        x, y = points.T
        places = {1: (width - 1 - y, x), 2: (width - 1 - x, height - 1 - y), 3: (y, height - 1 - x)}
        return np.asarray(np.stack(places[quarters], axis=1), np.float32)

    left, top, across, down = face.box
    corners = np.array([(left, top), (left + across - 1, top + down - 1)], np.float32)
    (x, y), (far_x, far_y) = np.sort(back(corners), axis=0).tolist()
    box = Box(round(x), round(y), round(far_x - x) + 1, round(far_y - y) + 1)
    corner = np.array((area.x, area.y), np.float32)
    return replace(face, box=_moved(box, area), landmarks=back(face.landmarks) + corner)


@dataclass(frozen=True, slots=True, eq=False)
class _Scored:
    time_s: float
    chip: NDArray[np.uint8]
    scores: NDArray[np.float32]


class RecentScores:
    """The last scores of the faces of one source: a face is classified when it looks different, or its scores are old.

    ``every_s``: seconds after which a face is classified again in any case; 0 classifies in every frame.
    """

    def __init__(self, every_s: float) -> None:
        self._every_s = every_s
        self._classifier: Classifier | None = None
        self._last: dict[int, _Scored] = {}

    def of(self, tracks: Sequence[Track], now_s: float, classifier: Classifier) -> NDArray[np.float32]:
        """Return scores float32 [n, 5] of faces seen in this frame; only those that need it are classified."""
        if classifier is not self._classifier:
            self._classifier, self._last = classifier, {}
        due = [track for track in tracks if self._is_due(track, now_s)]
        fresh: dict[int, _Scored] = {}
        if due:
            scores = classifier.scores(
                np.stack([track.chip for track in due]), np.stack([track.landmarks for track in due])
            )
            fresh = {track.number: _Scored(now_s, track.chip, row) for track, row in zip(due, scores, strict=True)}
        self._last = {track.number: fresh.get(track.number) or self._last[track.number] for track in tracks}
        return np.stack([self._last[track.number].scores for track in tracks])

    def _is_due(self, track: Track, now_s: float) -> bool:
        last = self._last.get(track.number)
        if last is None or not 0 <= now_s - last.time_s < self._every_s:
            return True
        return correlation(track.chip, last.chip) < LOOKS_THE_SAME
