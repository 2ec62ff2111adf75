"""Find the 68 landmarks of pictures of one face each, with the device's own detector and predictor.

FER2013's crops are too small and too tight for the detector, so each picture is enlarged four times and its edge is
repeated around it. Every picture gets points; how they were found is kept with them:

======================  ==================================================================================
found                   the detector's best box scores 0 or more, its own threshold
found at low threshold  the best box near the usual place of faces in these crops, down to a score of -1
standard box            no such box: the mean of the boxes that were found
======================  ==================================================================================

`smooth_landmarks` predicts again in several boxes around those points and averages: the points depend on the box.

Results are kept beside the data set by the pictures' content, so that an interrupted run goes on.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import local
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.faces.detector import FaceDetector
from edge.faces.distances import landmark_features
from edge.faces.landmarks import LandmarkPredictor, shipped_landmarks
from edge.faces.types import Box, Detection
from train.data.csv_rows import SIDE_PX
from train.data.dataset import DAMAGE
from train.files import replacing

HOW = ("found", "found at low threshold", "standard box")
FOUND, LOW, STANDARD = range(len(HOW))

ENLARGE, PAD_PX = 4, 48
LOWEST_SCORE = -1.0
STANDARD_BOX = Box(60, 72, 167, 167)
"""In the enlarged, padded picture."""
LEAST_IOU = 0.35
READING_VERSION = 1
"""Increase it with any change in how points are found: kept results of other versions are dropped."""
BOX_SIDE, BOX_DOWN = 0.3415, -0.0171
"""The detector's box around given points: its side, and how far below their mean its centre lies, as shares of the root
of their summed squared distances from that mean. Fitted on 500 training pictures in which a face was found."""
VIEWS = ((-0.03, -0.03, 0.96), (0.03, -0.03, 1.04), (-0.03, 0.03, 1.04), (0.03, 0.03, 0.96))
"""Boxes of a smoothed reading: shifts across and down, shares of the side, and the side's factor."""
SAVE_EVERY = 2000
THREADS = 2

Progress = Callable[[int, int], None]
"""Called after each picture with the number done and the total."""


@dataclass(frozen=True, slots=True, eq=False)
class PictureLandmarks:
    """Points of some pictures, in their order."""

    points: NDArray[np.float32]
    """[n, 68, 2], x and y in pixels of the enlarged, padded picture"""
    how: NDArray[np.uint8]
    """[n], index into `HOW`"""

    def features(self) -> NDArray[np.float32]:
        """`edge.faces.distances.landmark_features` of each."""
        return landmark_features(self.points)

    def in_pictures(self) -> NDArray[np.float32]:
        """Points [n, 68, 2] in pixels of the pictures as they were given."""
        return (self.points - PAD_PX - (ENLARGE - 1) / 2) / ENLARGE

    def counts(self) -> dict[str, int]:
        """Number of pictures by how their points were found."""
        return {name: int((self.how == index).sum()) for index, name in enumerate(HOW)}


def read_landmarks(
    images: NDArray[np.uint8], *, cache: Path | None = None, progress: Progress = lambda _done, _of: None
) -> PictureLandmarks:
    """Find the landmarks of pictures of one face each.

    ``images``: uint8 [n, 48, 48].
    ``cache``: file that keeps results between calls; it is written every 2,000 pictures and when the reading is
    interrupted. One that is damaged, or made with another predictor, is replaced.
    """
    reader = _Reader()
    return _read_kept(images, lambda index: reader.read(images[index]), cache, reader.fingerprint, progress)


def smooth_landmarks(
    images: NDArray[np.uint8], *, cache: Path | None = None, progress: Progress = lambda _done, _of: None
) -> PictureLandmarks:
    """Read landmarks as `read_landmarks` does, then the mean of four readings in boxes around those, `VIEWS`.

    ``cache`` is that of `read_landmarks`; the means are kept in a second file beside it.
    """
    first = read_landmarks(images, cache=cache, progress=progress)
    reader = _Reader()
    beside = cache.with_stem(f"{cache.stem}-smooth") if cache is not None else None
    fingerprint = reader.fingerprint | {"views": [list(view) for view in VIEWS], "box": [BOX_SIDE, BOX_DOWN]}

    def read(index: int) -> _Found:
        return reader.sum_of_views(images[index], first.points[index]), int(first.how[index])

    summed = _read_kept(images, read, beside, fingerprint, progress)
    return PictureLandmarks(summed.points / np.float32(len(VIEWS)), summed.how)


def view_boxes(points: NDArray[np.float32]) -> list[Box]:
    """`VIEWS` of the box around points float32 [68, 2]."""
    centre = points.mean(axis=0)
    size = float(np.sqrt(((points - centre) ** 2).sum()))
    side, x, y = BOX_SIDE * size, float(centre[0]), float(centre[1]) + BOX_DOWN * size
    boxes = []
    for across, down, factor in VIEWS:
        width = max(1, round(side * factor))
        boxes.append(Box(round(x + across * side - width / 2), round(y + down * side - width / 2), width, width))
    return boxes


def _read_kept(
    images: NDArray[np.uint8],
    read: "Callable[[int], _Found]",
    cache: Path | None,
    fingerprint: dict[str, Any],
    progress: Progress,
) -> PictureLandmarks:
    """Find what the cache lacks with ``read``, which takes an index, and add it to the cache."""
    keys = [hashlib.sha256(np.ascontiguousarray(image).tobytes()).digest() for image in images]
    known = _load(cache, fingerprint) if cache is not None else {}
    missing = {key: index for index, key in enumerate(keys) if key not in known}
    if missing:
        try:
            for done, (key, found) in enumerate(_read_all(read, missing), start=1):
                known[key] = found
                progress(done, len(missing))
                if cache is not None and done % SAVE_EVERY == 0:
                    _save(cache, known, fingerprint)
        finally:
            if cache is not None:
                _save(cache, known, fingerprint)
    points = np.array([known[key][0] for key in keys], dtype=np.float32).reshape(len(keys), 68, 2)
    return PictureLandmarks(points, np.array([known[key][1] for key in keys], dtype=np.uint8))


_Found = tuple[NDArray[np.int16], int]


class _Reader:
    """Find the landmarks of one picture at a time; each thread has its own detector."""

    def __init__(self) -> None:
        self._predictor = LandmarkPredictor()
        self._own = local()
        content = hashlib.sha256(shipped_landmarks().read_bytes()).hexdigest()
        self.fingerprint = {"predictor": content, "reading": READING_VERSION}

    def read(self, image: NDArray[np.uint8]) -> _Found:
        if not hasattr(self._own, "detector"):
            self._own.detector = FaceDetector()
        frame = enlarge(image)
        box, how = choose_box(self._own.detector.find(frame, least_score=LOWEST_SCORE))
        return self._predictor.points(frame, box).astype(np.int16), how

    def sum_of_views(self, image: NDArray[np.uint8], points: NDArray[np.float32]) -> NDArray[np.int16]:
        frame = enlarge(image)
        views = [self._predictor.points(frame, box) for box in view_boxes(points)]
        return np.asarray(np.sum(views, axis=0), dtype=np.int16)


def enlarge(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Enlarge a 48x48 picture four times and repeat its edges, so that the detector can find the face."""
    side = SIDE_PX * ENLARGE
    large = cv2.resize(image, (side, side), interpolation=cv2.INTER_CUBIC)
    return np.asarray(cv2.copyMakeBorder(large, PAD_PX, PAD_PX, PAD_PX, PAD_PX, cv2.BORDER_REPLICATE), dtype=np.uint8)


def choose_box(seen: list[Detection]) -> tuple[Box, int]:
    """Choose the box for the predictor; return it with its index into `HOW`."""
    best = max(seen, key=lambda detection: detection.score, default=None)
    if best is not None and best.score >= 0:
        return best.box, FOUND
    near = [detection for detection in seen if detection.box.iou(STANDARD_BOX) >= LEAST_IOU]
    if near:
        return max(near, key=lambda detection: detection.score).box, LOW
    return STANDARD_BOX, STANDARD


def _read_all(read: Callable[[int], _Found], missing: dict[bytes, int]) -> Iterator[tuple[bytes, _Found]]:
    # dlib and OpenCV release the interpreter's lock, so threads suffice.
    with ThreadPoolExecutor(THREADS) as pool:
        try:
            yield from zip(missing, pool.map(read, missing.values()), strict=True)
        finally:
            pool.shutdown(cancel_futures=True)


def _load(cache: Path, fingerprint: dict[str, Any]) -> dict[bytes, _Found]:
    """Return the kept results by the picture's sha256; none if the file is damaged or made by another version."""
    try:
        with cache.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            if json.loads(str(stored["meta"])) != fingerprint:
                return {}
            keys, points, how = stored["keys"], stored["points"], stored["how"]
    except DAMAGE:
        return {}
    sound = keys.shape == (len(how), 32) and points.shape == (len(how), 68, 2) and not (how >= len(HOW)).any()
    if not sound or (keys.dtype, points.dtype, how.dtype) != (np.uint8, np.int16, np.uint8):
        return {}
    return {key.tobytes(): (face, int(index)) for key, face, index in zip(keys, points, how, strict=True)}


def _save(cache: Path, known: dict[bytes, _Found], fingerprint: dict[str, Any]) -> None:
    if not known:
        return
    with replacing(cache) as partial, partial.open("wb") as file:
        np.savez_compressed(
            file,
            meta=np.array(json.dumps(fingerprint)),
            keys=np.array([np.frombuffer(key, dtype=np.uint8) for key in known]),
            points=np.array([points for points, _ in known.values()]),
            how=np.array([how for _, how in known.values()], dtype=np.uint8),
        )
