"""Train the project's 68-point shape predictor with dlib, on boxes of the device's detector.

An ensemble of regression trees (Kazemi and Sullivan 2014, doi:10.1109/CVPR.2014.241), kept small enough to ship.
"""

import hashlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import cv2
import dlib
import numpy as np
from numpy.typing import NDArray

from edge.errors import DataError
from edge.faces.detector import FaceDetector
from edge.faces.landmarks import LandmarkPredictor
from edge.faces.types import Box
from train.classic.compact import compact_predictor
from train.data.augment import MIRROR
from train.files import replacing, write_json

HELD_OUT_SHARE = 0.2
SPLIT_SEED = 42
LEFT_OUTER_EYE, RIGHT_OUTER_EYE = 36, 45
DEVICE_FACE_PX = (85.0, 100.0, 118.0)
"""Widths at which the device looks at a face; the detector's box differs a little from one to the next."""


@dataclass(frozen=True, slots=True)
class LandmarkSettings:
    """Settings of the training; the file's size grows with cascades x trees x 2^depth."""

    cascades: int = 15
    trees: int = 73
    depth: int = 4
    nu: float = 0.2
    """shrinkage of each tree"""
    features: int = 500
    """pixel pairs are drawn from this many pixels"""
    splits_tried: int = 60
    oversampling: int = 6
    """random starting shapes a face"""
    turned: int = 1
    """turned copies of each picture, beside itself and its mirror image"""
    turn_deg: float = 12.0
    """largest turn, degrees either way"""
    boxes: int = 2
    """jittered boxes a picture"""
    shift: float = 0.03
    """largest jitter of a box, share of its width"""
    scale: float = 0.04
    seed: int = 42
    threads: int = 2


@dataclass(frozen=True, slots=True, eq=False)
class LandmarkData:
    """Faces with their 68 annotated points."""

    images: NDArray[np.uint8]
    """gray [n, height, width]"""
    points: NDArray[np.float32]
    """[n, 68, 2], x and y in pixels"""

    def __post_init__(self) -> None:
        n = len(self.images)
        if self.images.ndim != 3 or self.images.dtype != np.uint8:
            raise DataError(f"images must be uint8 [n, height, width], found {self.images.dtype} {self.images.shape}")
        if self.points.shape != (n, 68, 2) or not np.isfinite(self.points).all():
            raise DataError(f"points must be finite [{n}, 68, 2], found {self.points.shape}")

    def take(self, rows: NDArray[np.intp]) -> "LandmarkData":
        """Return these rows."""
        return LandmarkData(self.images[rows], self.points[rows])


def load_landmark_data(path: Path) -> LandmarkData:
    """Read ``images`` and ``points`` from an ``.npz``; raises ``DataError`` if it lacks them."""
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    try:
        with np.load(path, allow_pickle=False) as stored:
            return LandmarkData(stored["images"], stored["points"].astype(np.float32))
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise DataError(f"{path}: not landmark data (needs images and points): {error}") from error


def split(data: LandmarkData) -> tuple[LandmarkData, LandmarkData]:
    """Return the training part and the held-out fifth; the same pictures each time."""
    order = np.random.default_rng(SPLIT_SEED).permutation(len(data.images))
    held_out = round(len(order) * HELD_OUT_SHARE)
    return data.take(np.sort(order[held_out:])), data.take(np.sort(order[:held_out]))


def train_landmarks(
    data: LandmarkData, out: Path, settings: LandmarkSettings, *, report: Callable[[str], None] = lambda _line: None
) -> dict[str, Any]:
    """Train on four fifths, measure on the held-out fifth, write the predictor and its manifest.

    Returns the manifest: sha256, bytes, settings, fingerprint of the data, and `measure`'s figures on the held-out
    fifth.
    """
    training, held_out = split(data)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="landmarks-") as folder:
        report(f"finding boxes in {len(training.images)} faces, their mirror images and turned copies")
        listing = _write_training_set(training, settings, Path(folder))
        whole = Path(folder) / "predictor.dat"
        report("training; this takes about ten minutes on two cores, and cannot be resumed")
        dlib.train_shape_predictor(str(listing), str(whole), _options(settings))
        with replacing(out) as partial:
            compact_predictor(whole, partial)
            report(f"measuring on {len(held_out.images)} held-out faces")
            figures = measure(LandmarkPredictor(partial), held_out)
    content = out.read_bytes()
    manifest = {
        "sha256": hashlib.sha256(content).hexdigest(),
        "bytes": len(content),
        "held_out": figures,
        "settings": asdict(settings),
        "data_fingerprint": hashlib.sha256(data.images.tobytes() + data.points.tobytes()).hexdigest(),
    }
    write_json(out.with_name("manifest.json"), manifest)
    return manifest


def measure(predictor: LandmarkPredictor, data: LandmarkData) -> dict[str, Any]:
    """Mean distance from the truth, as share of the outer-eye distance, on boxes as the device's detector finds them.

    A face that the detector misses never gets landmarks on the device. It is counted, and a second figure has it in,
    with the box that the detector would put around its true points on average.
    """
    detector = FaceDetector()
    placement = _box_placement(data, detector)
    found_errors, all_errors = [], []
    for image, points in zip(data.images, data.points, strict=True):
        boxes = list(_found_boxes(detector, image, points))
        box = boxes[len(boxes) // 2] if boxes else placement(points)
        eyes = float(np.linalg.norm(points[LEFT_OUTER_EYE] - points[RIGHT_OUTER_EYE]))
        error = float(np.linalg.norm(predictor.points(image, box) - points, axis=1).mean()) / eyes
        all_errors.append(error)
        if boxes:
            found_errors.append(error)
    return {
        "faces": len(all_errors),
        "found_by_detector": len(found_errors),
        "mean_error": round(float(np.mean(found_errors)), 4),
        "median_error": round(float(np.median(found_errors)), 4),
        "above_10_percent": round(float((np.array(found_errors) > 0.1).mean()), 4),
        "mean_error_with_missed": round(float(np.mean(all_errors)), 4),
    }


def _options(settings: LandmarkSettings) -> dlib.shape_predictor_training_options:
    options = dlib.shape_predictor_training_options()
    options.cascade_depth = settings.cascades
    options.num_trees_per_cascade_level = settings.trees
    options.tree_depth = settings.depth
    options.nu = settings.nu
    options.feature_pool_size = settings.features
    options.num_test_splits = settings.splits_tried
    options.oversampling_amount = settings.oversampling
    options.oversampling_translation_jitter = 0.05
    options.random_seed = str(settings.seed)
    options.num_threads = settings.threads
    options.be_verbose = False
    return options


def _write_training_set(data: LandmarkData, settings: LandmarkSettings, folder: Path) -> Path:
    """Write pictures and dlib's XML listing. Arrays handed over directly cost numpy a reference each (dlib 20.0)."""
    rng = np.random.default_rng(settings.seed)
    detector = FaceDetector()
    placement = _box_placement(data, detector)
    root = ET.Element("dataset")
    images = ET.SubElement(root, "images")
    for index, (picture, points) in enumerate(_variants(data, rng, settings)):
        name = f"{index:06d}.png"
        cv2.imwrite(str(folder / name), picture, [cv2.IMWRITE_PNG_COMPRESSION, 1])
        entry = ET.SubElement(images, "image", file=name)
        boxes = list(_found_boxes(detector, picture, points)) or [placement(points)]
        for number in range(settings.boxes):
            _write_box(entry, _jitter(boxes[number % len(boxes)], rng, settings), points)
    listing = folder / "faces.xml"
    ET.ElementTree(root).write(listing)
    return listing


def _write_box(entry: ET.Element, box: Box, points: NDArray[np.float32]) -> None:
    sides = {"left": box.x, "top": box.y, "width": box.width, "height": box.height}
    element = ET.SubElement(entry, "box", {key: str(value) for key, value in sides.items()})
    for number, (x, y) in enumerate(points):
        place = {"name": f"{number:02d}", "x": str(round(float(x))), "y": str(round(float(y)))}
        ET.SubElement(element, "part", place)


def _variants(
    data: LandmarkData, rng: np.random.Generator, settings: LandmarkSettings
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.float32]]]:
    """Yield each face, its mirror image, and turned copies of both."""
    height, width = data.images.shape[1:]
    mirrored = data.points[:, MIRROR] * [-1, 1] + [width - 1, 0]
    for index, image in enumerate(data.images):
        pairs = ((image, data.points[index]), (image[:, ::-1], mirrored[index]))
        for picture, points in pairs:
            yield np.ascontiguousarray(picture), points
            for _ in range(settings.turned):
                angle = float(rng.uniform(-settings.turn_deg, settings.turn_deg))
                matrix = cv2.getRotationMatrix2D((width / 2, height / 2), angle, 1.0)
                turned = cv2.warpAffine(picture.copy(), matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)
                yield np.asarray(turned, np.uint8), (points @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32)


def _found_boxes(detector: FaceDetector, image: NDArray[np.uint8], points: NDArray[np.float32]) -> Iterator[Box]:
    """Yield the detector's boxes of this face at the sizes that the device uses."""
    low, high = points.min(axis=0), points.max(axis=0)
    centre = (low + high) / 2
    for face_px in DEVICE_FACE_PX:
        scale = face_px / max(1.0, float(high[0] - low[0]))
        size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
        scaled = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
        for seen in detector.find(np.asarray(scaled, dtype=np.uint8)):
            box = Box(*(round(value / scale) for value in seen.box))
            if np.hypot(*(np.array(box.centre) - centre)) < 0.35 * box.width:
                yield box
                break


def _box_placement(data: LandmarkData, detector: FaceDetector) -> Callable[[NDArray[np.float32]], Box]:
    """Return a function from points to the detector's usual box, the median over some of the faces it finds."""
    offsets: list[Sequence[float]] = []
    for image, points in zip(data.images[:200], data.points[:200], strict=True):
        for box in _found_boxes(detector, image, points):
            low, high = points.min(axis=0), points.max(axis=0)
            span = float(high[0] - low[0])
            middle = (low + high) / 2
            offsets.append(((box.centre[0] - middle[0]) / span, (box.centre[1] - middle[1]) / span, box.width / span))
    if not offsets:
        raise DataError("the detector finds no face in these pictures; are they faces?")
    dx, dy, relative = np.median(np.array(offsets), axis=0)

    def place(points: NDArray[np.float32]) -> Box:
        low, high = points.min(axis=0), points.max(axis=0)
        span = float(high[0] - low[0])
        side = relative * span
        x, y = (low + high) / 2 + np.array([dx, dy]) * span - side / 2
        return Box(round(float(x)), round(float(y)), round(side), round(side))

    return place


def _jitter(box: Box, rng: np.random.Generator, settings: LandmarkSettings) -> Box:
    side = box.width * (1 + rng.uniform(-settings.scale, settings.scale))
    x = box.centre[0] + rng.uniform(-settings.shift, settings.shift) * box.width - side / 2
    y = box.centre[1] + rng.uniform(-settings.shift, settings.shift) * box.width - side / 2
    return Box(round(x), round(y), round(side), round(side))
