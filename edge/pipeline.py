"""A frame in, faces with scores out: the work that the daemon, the benchmark and ``classify`` share."""

import logging
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.bundles.choice import load_chosen_or_previous
from edge.faces.chip import face_chip
from edge.faces.detector import FaceDetector
from edge.faces.landmarks import LandmarkPredictor
from edge.faces.search import BackgroundSearch
from edge.faces.tracker import FaceTracker
from edge.faces.types import Box, TrackedFace
from edge.frames import Frame
from edge.inference import Classifier
from edge.inference.recent import RecentScores
from edge.settings import FaceSettings, Settings
from edge.stages import Stages

STILL_PIXELS = 4_000_000
"""A still picture is doubled, or shrunk, until it has about this many pixels when it is searched: faces from 20 px in a
small one, and a second or so for a large one."""

log = logging.getLogger(__name__)


class Pipeline:
    """Finds, follows and classifies faces; one for each source, used by one thread.

    Raises
    ------
    BundleError, LandmarkModelError
        A model is missing, damaged or does not fit.
    """

    def __init__(
        self,
        *,
        faces: FaceSettings,
        classifier: Classifier,
        landmarks: LandmarkPredictor,
        detector: FaceDetector | None = None,
        background: BackgroundSearch | None = None,
        stages: Stages | None = None,
    ) -> None:
        self.classifier = classifier
        self.stages = stages or Stages()
        self._landmarks = landmarks
        self._detector = detector or FaceDetector()
        self._background = background
        self._settings = faces
        self.forget()

    def forget(self) -> None:
        """Know nobody any more: the next frame is of another source."""
        self._recent = RecentScores(self._settings.classify_every_s)
        self._tracker = FaceTracker(self._settings, self._detector, self._landmarks, self.stages, self._background)

    def lose_sight(self) -> None:
        """Take whoever comes next for somebody new: the camera was away. Visits go on being counted."""
        self._tracker.lose_sight()

    def follow(self, frame: Frame) -> list[TrackedFace]:
        """Faces of the next frame of a source, with track numbers that last from frame to frame, the largest first."""
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

    def look(self, luma: NDArray[np.uint8]) -> list[TrackedFace]:
        """Faces of one still picture, uint8 [height, width], the largest first."""
        return self.score(luma, _search_still(self._detector, luma))

    def score(self, luma: NDArray[np.uint8], boxes: list[Box]) -> list[TrackedFace]:
        """Faces of one still picture, uint8 [height, width], whose boxes are known."""
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


def load_pipeline(settings: Settings, stages: Stages | None = None, *, live: bool = False) -> Pipeline:
    """Load the models that the settings name.

    Parameters
    ----------
    live
        For a source that does not wait: large searches run in a thread beside the frames. For any other the same
        frames give the same faces every time.

    Raises
    ------
    ConfigError
        ``bundle_key`` names no file of public keys, or they cannot be used.
    BundleError, LandmarkModelError
        A model is missing, damaged or does not fit.
    """
    import cv2

    # OpenCV's pool costs more than it gives on pictures of a few hundred pixels: its threads wait by spinning.
    cv2.setNumThreads(1)
    detector = FaceDetector(Path(settings.state_dir))
    return Pipeline(
        faces=settings.faces,
        classifier=load_chosen_or_previous(settings),
        landmarks=LandmarkPredictor(Path(settings.landmarks) if settings.landmarks else None),
        detector=detector,
        background=BackgroundSearch(detector.copy()) if live else None,
        stages=stages,
    )


def _search_still(detector: FaceDetector, luma: NDArray[np.uint8]) -> list[Box]:
    import cv2

    height, width = luma.shape
    doublings = 0
    while doublings < 2 and width * height * 4 ** (doublings + 1) <= STILL_PIXELS:
        doublings += 1
    shrink = min(1.0, (STILL_PIXELS / (width * height)) ** 0.5)
    if shrink < 1:
        size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
        luma = np.asarray(cv2.resize(luma, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    seen = detector.find(luma, upsample=doublings)
    return [Box(*(round(value / shrink) for value in one.box)) for one in seen]
