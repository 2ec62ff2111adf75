"""Train the detector of faces whose lower half is covered: a HOG filter of dlib's, on faces with drawn masks."""

import hashlib
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import cv2
import dlib
import numpy as np
from numpy.typing import NDArray

from edge.errors import DataError
from edge.faces.landmarks import box_from_landmarks
from edge.faces.types import Box
from train.classic.landmarks import LandmarkData, split
from train.files import replacing, write_json

Luma = NDArray[np.uint8]
Points = NDArray[np.float32]
FACE_PX, WINDOW_PIXELS = 92.0, 80 * 80
"""Width of the faces in the training pictures; the filter's window is that of dlib's detector."""
EMPTY_PIXELS = 500 * 500
"""A picture without a face is scaled down to this many."""
MOST_TURNED = 0.6
"""A face is left out whose nose is nearer to one eye by more than this share of the eyes' distance."""


@dataclass(frozen=True, slots=True)
class CoveredSettings:
    """Settings of the training."""

    copies: int = 2
    """of each face, each covered in another way"""
    uncovered: float = 0.1
    """share left as they are"""
    coarse: float = 0.4
    """share scaled down to 0.3 to 0.7 and back, as small faces are that are searched for on a doubled picture"""
    c: float = 2.0
    """dlib's trade-off between margin and errors"""
    epsilon: float = 0.02
    seed: int = 1
    threads: int = 2


def train_covered(
    data: LandmarkData,
    empty: list[Luma],
    out: Path,
    settings: CoveredSettings,
    *,
    report: Callable[[str], None] = lambda _line: None,
) -> dict[str, Any]:
    """Train on four fifths of the faces and on pictures without one; write detector and manifest, and return that."""
    training, held_out = split(data)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="covered-") as folder:
        listing = _write_training_set(training, empty, settings, Path(folder))
        options = dlib.simple_object_detector_training_options()
        options.C, options.epsilon, options.num_threads = settings.c, settings.epsilon, settings.threads
        options.add_left_right_image_flips, options.detection_window_size = True, WINDOW_PIXELS
        report("training; this takes some minutes on two cores, and cannot be resumed")
        with replacing(out) as partial:
            dlib.train_simple_object_detector(str(listing), str(partial), options)
            recall = measure(dlib.fhog_object_detector(str(partial)), held_out, settings)
    content = out.read_bytes()
    manifest = {
        "sha256": hashlib.sha256(content).hexdigest(),
        "bytes": len(content),
        "held_out": {"faces": len(held_out.images), "found": recall},
        "settings": asdict(settings),
    }
    write_json(out.with_name("manifest.json"), manifest)
    return manifest


def measure(detector: Any, data: LandmarkData, settings: CoveredSettings) -> float:
    """Return the share of faces, each covered once, on which the detector scores at least 0.1."""
    rng = np.random.default_rng(settings.seed + 1)
    hits = 0
    for picture, box in _faces(data, rng, settings, [data.images[0]]):
        found, _, _ = detector.run(picture, 0, 0.1)
        hits += any(Box(r.left(), r.top(), r.width(), r.height()).iou(box) > 0.3 for r in found)
    return round(hits / max(1, settings.copies * len(data.images)), 3)


def covered(luma: Luma, points: Points, rng: np.random.Generator, textures: list[Luma]) -> Luma:
    """Cover the lower half of a face, uint8 [height, width], by a mask, a scarf, or a thing that a hand holds."""
    height, width = luma.shape
    face_px = box_from_landmarks(points).width
    area: Luma = np.zeros((height, width), np.uint8)
    if rng.random() < 0.8:
        at = rng.uniform(27.3, 30.3)
        bridge = points[int(at)] * (1 - at % 1) + points[int(at) + 1] * (at % 1)
        sides = [
            points[side] * (1 - up) + bridge * up
            for side, up in zip((14, 2), [rng.uniform(0.25, 0.75)] * 2, strict=True)
        ]
        first = int(rng.integers(1, 4))
        jaw = points.mean(axis=0) + (points[first : 17 - first] - points.mean(axis=0)) * rng.uniform(0.97, 1.12)
        if rng.random() < 0.25:  # a scarf goes on below
            below = jaw[[1, -2]] + [(-0.1 * face_px, 2 * face_px), (0.1 * face_px, 2 * face_px)]
            jaw = np.vstack([jaw[:2], below, jaw[-2:]])
        outline = np.vstack([jaw, sides[0], bridge, sides[1]])
        outline += rng.normal(0, 0.02 * face_px, outline.shape)
        cv2.fillPoly(area, [np.round(outline * 8).astype(np.int32)], 255, cv2.LINE_AA, 3)
    else:
        size = face_px * rng.uniform(0.35, 0.9, 2)
        middle = points[[33, 51, 57, 66]].mean(axis=0) + rng.normal(0, 0.08 * face_px, 2)
        middle[1] = max(middle[1], points[30, 1] + 0.3 * size[1])
        if rng.random() < 0.5:
            corners = cv2.boxPoints((middle.tolist(), size.tolist(), float(rng.uniform(-40, 40))))
            cv2.fillPoly(area, [corners.astype(np.int32)], 255, cv2.LINE_AA)
        else:
            cv2.ellipse(area, (middle.tolist(), size.tolist(), float(rng.uniform(-60, 60))), 255, -1, cv2.LINE_AA)
    edge = cv2.GaussianBlur(area, (0, 0), max(0.3, 0.006 * face_px)).astype(np.float32) / 255
    return np.asarray(np.clip(luma * (1 - edge) + _cloth(luma, face_px, rng, textures) * edge, 0, 255), np.uint8)


def _cloth(luma: Luma, face_px: float, rng: np.random.Generator, textures: list[Luma]) -> NDArray[np.float32]:
    height, width = luma.shape
    if rng.random() < 0.45:
        texture = textures[int(rng.integers(len(textures)))]
        tiles = np.tile(texture, (height // texture.shape[0] + 1, width // texture.shape[1] + 1))[:height, :width]
        return np.asarray(tiles * rng.uniform(0.4, 1) + rng.uniform(0, 60), np.float32)
    light = cv2.GaussianBlur(luma.astype(np.float32), (0, 0), face_px * rng.uniform(0.1, 0.3)) + 1
    cloth = rng.uniform(5, 255) * (light / light.mean()) ** rng.uniform(0, 1)
    return np.asarray(cloth + rng.normal(0, rng.uniform(0, 6), luma.shape), np.float32)


def _faces(
    data: LandmarkData, rng: np.random.Generator, settings: CoveredSettings, textures: list[Luma]
) -> Iterator[tuple[Luma, Box]]:
    """Yield each face as often as there are copies, scaled, turned a little and covered, with its box."""
    for image, points in list(zip(data.images, data.points, strict=True)) * settings.copies:
        left, right = points[[36, 39], 0].mean(), points[[42, 45], 0].mean()
        if abs(2 * points[30, 0] - left - right) > MOST_TURNED * (points[45, 0] - points[36, 0]):
            continue
        box = box_from_landmarks(points)
        scale = FACE_PX / box.width
        side = round(max(image.shape) * scale)
        matrix = cv2.getRotationMatrix2D(box.centre, rng.normal(0, 6), scale)
        matrix[:, 2] += side / 2 - np.array(box.centre)
        soft = cv2.GaussianBlur(image, (0, 0), 0.35 / scale) if scale < 1 else image
        picture = np.asarray(cv2.warpAffine(soft, matrix, (side, side), borderMode=cv2.BORDER_REPLICATE), np.uint8)
        placed = (points @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32)
        if rng.random() >= settings.uncovered:
            picture = covered(picture, placed, rng, textures)
        if rng.random() < settings.coarse:
            share = rng.uniform(0.3, 0.7)
            small = cv2.resize(picture, None, fx=share, fy=share, interpolation=cv2.INTER_AREA)
            picture = np.asarray(cv2.resize(small, (side, side), interpolation=cv2.INTER_LINEAR), np.uint8)
        yield picture, box_from_landmarks(placed)


def _write_training_set(data: LandmarkData, empty: list[Luma], settings: CoveredSettings, folder: Path) -> Path:
    """Write pictures and dlib's XML listing."""
    rng = np.random.default_rng(settings.seed)
    textures = [picture[:80, :80] for picture in (*data.images[:60], *empty)]
    root = ET.Element("dataset")
    images = ET.SubElement(root, "images")
    pictures: list[tuple[Luma, Box | None]] = [*_faces(data, rng, settings, textures)]
    for picture in empty:
        scale = min(1.0, (EMPTY_PIXELS / picture.size) ** 0.5)
        small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        pictures.append((np.asarray(small, np.uint8), None))
    for index, (picture, box) in enumerate(pictures):
        name = f"{index:06d}.png"
        cv2.imwrite(str(folder / name), picture, [cv2.IMWRITE_PNG_COMPRESSION, 1])
        entry = ET.SubElement(images, "image", file=name)
        if box is not None:
            sides = {"left": box.x, "top": box.y, "width": box.width, "height": box.height}
            ET.SubElement(entry, "box", {key: str(value) for key, value in sides.items()})
    listing = folder / "faces.xml"
    ET.ElementTree(root).write(listing)
    return listing


def load_empty(folder: Path) -> list[Luma]:
    """Read the pictures without a face; raises `DataError` if there is none."""
    read = (cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) for path in sorted(folder.rglob("*")) if path.is_file())
    pictures = [np.asarray(picture, np.uint8) for picture in read if picture is not None and min(picture.shape) >= 80]
    if not pictures:
        raise DataError(f"{folder}: no pictures of 80 pixels or more")
    return pictures
