"""A frame in, faces with scores out: the work that the daemon, the benchmark and ``classify`` share."""

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.bundles.choice import load_chosen_or_previous
from edge.faces.blazeface import BlazeFaceSearch, Run
from edge.faces.chip import face_chip
from edge.faces.detector import FaceDetector
from edge.faces.landmarks import LandmarkPredictor
from edge.faces.quality import deblurred
from edge.faces.search import BackgroundSearch, Search
from edge.faces.stills import StillSearch
from edge.faces.tracker import FaceTracker, Track
from edge.faces.types import Box, Detection, TrackedFace
from edge.faces.zones import Zones
from edge.frames import Frame
from edge.inference import Classifier
from edge.inference.blazeface import load as load_blazeface
from edge.settings import FaceSettings, Settings
from edge.stages import Stages

LOOKS_THE_SAME = 0.985
"""A chip whose correlation with the last one classified is at least this keeps its scores. Measured:
docs/performance.md."""
CLEAR_LEAD, CLEAR_TIMES = 0.8, 3
"""Scores of which the best leads by this much are kept for so many times longer. Measured: docs/performance.md."""

log = logging.getLogger(__name__)


class Pipeline:
    """Finds, follows and classifies the faces of one source; for use by one thread.

    ``blazeface``: loads the network that proposes new faces, once for each thread; None leaves that to dlib's detector.
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
        blazeface: Callable[[], Run] | None = None,
    ) -> None:
        self.classifier = classifier
        self.stages = stages or Stages()
        self._landmarks = landmarks
        self._detector = detector or FaceDetector()
        self._blazeface = blazeface
        self._search: Search = self._detector
        proposals = BlazeFaceSearch(blazeface(), self._detector) if blazeface else None
        self._stills = StillSearch(self._detector, landmarks, proposals)
        self._background = None
        if live:
            beside = self._detector.copy()
            self._background = BackgroundSearch(BlazeFaceSearch(blazeface(), beside) if blazeface else beside)
        elif proposals:
            self._search = proposals
        self._settings = faces
        self._zones = Zones(faces.zones)
        self.forget()

    def forget(self) -> None:
        """Start again: the next frame is of another source."""
        self._recent = RecentScores(self._settings.classify_every_s, mirror=self._settings.mirror)
        self._tracker = FaceTracker(
            self._settings, self._detector, self._landmarks, self.stages, self._background, search=self._search
        )

    def another(self, faces: FaceSettings, *, live: bool = False) -> "Pipeline":
        """Return a pipeline for another source with the same models; `close` ends it.

        Its models are shared: the two must not work at the same time.
        """
        return Pipeline(
            faces=faces,
            classifier=self.classifier,
            landmarks=self._landmarks,
            detector=self._detector,
            live=live,
            blazeface=self._blazeface,
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

        Where there is none, the picture is searched turned, too.
        """
        return self.find_turned(luma)[1]

    def find_turned(self, luma: NDArray[np.uint8]) -> tuple[int, list[TrackedFace]]:
        """Return the same, and how the picture had to be turned for it: 0, 90, 180 or 270 degrees clockwise."""
        area = self._zones.area(luma.shape)
        part = luma[area.y : area.y + area.height, area.x : area.x + area.width]
        found = [replace(seen, box=_moved(seen.box, area)) for seen in self._stills.find(part, whole_pixels=luma.size)]
        found = [seen for seen in found if self._zones.hold(seen.box, luma.shape)]
        return (round(-found[0].turned_deg / 90) % 4 * 90 if found else 0), self._score(luma, found)

    def score_boxes(self, luma: NDArray[np.uint8], boxes: list[Box]) -> list[TrackedFace]:
        """Return the faces of a still picture, uint8 [height, width], whose boxes are known."""
        return self._score(luma, [Detection(box, 0.0) for box in boxes])

    def _score(self, luma: NDArray[np.uint8], found: list[Detection]) -> list[TrackedFace]:
        if not found:
            return []
        luma = np.ascontiguousarray(luma)
        landmarks = np.stack([self._landmarks.points_of(luma, seen) for seen in found])
        chips = np.stack([face_chip(luma, points) for points in landmarks])
        with self.stages.measure("classify"):
            scores = score_chips(self.classifier, chips, landmarks)
            if self._settings.mirror:
                scores = (scores + score_chips(self.classifier, _mirrored(chips), landmarks)) / 2
        return [
            TrackedFace(number, seen.box, *parts)
            for number, (seen, *parts) in enumerate(zip(found, landmarks, chips, scores, strict=True), start=1)
        ]


def score_chips(
    classifier: Classifier, chips: Iterable[NDArray[np.uint8]], landmarks: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return scores float32 [n, 5] of one look at face chips, uint8 [n, 48, 48], with landmarks [n, 68, 2]."""
    return classifier.scores(np.stack([deblurred(chip) for chip in chips]), landmarks)


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
        blazeface=_blazeface(settings),
    )


def _blazeface(settings: Settings) -> Callable[[], Run] | None:
    """Return what loads BlazeFace, where it is wanted and installed."""
    if settings.faces.search != "blazeface":
        return None
    if load_blazeface(settings.state_dir) is None:
        log.warning('faces.search = "blazeface" needs `emotion-edge detector install`; dlib searches until then')
        return None

    def load() -> Run:
        run = load_blazeface(settings.state_dir)
        assert run is not None
        return run

    return load


def _moved(box: Box, area: Box) -> Box:
    """Return a box of a part in pixels of the whole picture."""
    return box._replace(x=box.x + area.x, y=box.y + area.y)


def _mirrored(chips: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return mirror images of chips, uint8 [..., 48, 48]."""
    return np.ascontiguousarray(chips[..., ::-1])


@dataclass(frozen=True, slots=True, eq=False)
class _Scored:
    time_s: float
    looks: NDArray[np.float32]
    scores: NDArray[np.float32]
    mirrored: bool


class RecentScores:
    """The last scores of the faces of one source: a face is classified when it looks different, or its scores are old.

    ``every_s``: seconds after which a face is classified again in any case; 0 classifies in every frame.
    ``mirror``: every second look at a face sees its mirror image.
    """

    def __init__(self, every_s: float, *, mirror: bool = False) -> None:
        self._every_s, self._mirror = every_s, mirror
        self._classifier: Classifier | None = None
        self._last: dict[int, _Scored] = {}

    def of(self, tracks: Sequence[Track], now_s: float, classifier: Classifier) -> NDArray[np.float32]:
        """Return scores float32 [n, 5] of faces seen in this frame; only those that need it are classified."""
        if classifier is not self._classifier:
            self._classifier, self._last = classifier, {}
        due = [track for track in tracks if self._is_due(track, now_s)]
        fresh: dict[int, _Scored] = {}
        if due:
            mirrored = [self._mirror and self._saw_unmirrored(track) for track in due]
            chips = [_mirrored(track.chip) if turn else track.chip for track, turn in zip(due, mirrored, strict=True)]
            scores = score_chips(classifier, chips, np.stack([track.landmarks for track in due]))
            fresh = {
                track.number: _Scored(now_s, track.looks, row, turn)
                for track, row, turn in zip(due, scores, mirrored, strict=True)
            }
        self._last = {track.number: fresh.get(track.number) or self._last[track.number] for track in tracks}
        return np.stack([self._last[track.number].scores for track in tracks])

    def _saw_unmirrored(self, track: Track) -> bool:
        """Whether the last look at this face saw it unmirrored."""
        last = self._last.get(track.number)
        return last is not None and not last.mirrored

    def _is_due(self, track: Track, now_s: float) -> bool:
        last = self._last.get(track.number)
        if last is None:
            return True
        second, best = np.partition(last.scores, -2)[-2:]
        kept_s = self._every_s * (CLEAR_TIMES if best - second >= CLEAR_LEAD else 1)
        if not 0 <= now_s - last.time_s < kept_s:
            return True
        return float(track.looks @ last.looks) < LOOKS_THE_SAME
