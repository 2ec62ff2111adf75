"""Train the detector of faces whose lower half is covered: a HOG filter of dlib's, on faces with drawn masks."""

import hashlib
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import cv2
import dlib
import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from edge.errors import DataError
from edge.faces.covered import CoveredFaceModel, gradients, upright
from edge.faces.detector import SAME_FACE_IOU, FaceDetector, frontal_face_detector
from edge.faces.landmarks import LandmarkPredictor, box_from_landmarks
from edge.faces.types import Box
from edge.faces.views import face_view
from edge.faces.vouching import MARGIN, STEADY_FACE_PX, is_face
from train.classic.landmarks import LandmarkData, split
from train.data.augment import MIRROR
from train.files import replacing, write_json

Luma = NDArray[np.uint8]
Points = NDArray[np.float32]
FACE_PX, WINDOW_PIXELS = 92.0, 80 * 80
"""Width of the faces in the training pictures; the filter's window is that of dlib's detector."""
EMPTY_PIXELS, FILTER_EMPTY_PIXELS = 1000 * 1000, 500 * 500
"""A picture without a face is scaled down to this many pixels, and to a quarter for the filter."""
LEAST_SIDE = 80
"""Smaller pictures are left out."""
SAME_PICTURE = 6.0
"""Mean difference of two pictures' 81 mean levels below which they are one."""
CANDIDATE_SCORE, FACE_IOU = -0.9, 0.4
"""Least score of the filter's candidates that the model learns from, and the overlap from which one is the face."""
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
    dark: float = 0.25
    """share darkened by a gamma of 1.5 to 3"""
    tilt_deg: float = 8.0
    """standard deviation of the faces' tilt"""
    c: float = 6.0
    """dlib's trade-off between margin and errors"""
    model_c: float = 0.03
    """inverse strength of the model's regularization"""
    epsilon: float = 0.05
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
    """Train on four fifths of the faces and every second picture without one; write detector, model and manifest.

    ``out`` is the detector's file; the model goes beside it as ``gradients.npy``. Returns the manifest.
    """
    training, _ = split(data)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="covered-") as folder:
        listing = _write_training_set(training, empty[::2], settings, Path(folder))
        options = dlib.simple_object_detector_training_options()
        options.C, options.epsilon, options.num_threads = settings.c, settings.epsilon, settings.threads
        options.add_left_right_image_flips, options.detection_window_size = False, WINDOW_PIXELS
        report("training the filter; this takes some minutes on two cores, and cannot be resumed")
        with replacing(out) as partial:
            dlib.train_simple_object_detector(str(listing), str(partial), options)
    report("training the model that vouches for what the filter sees")
    filter_ = dlib.fhog_object_detector(str(out))
    weights = _train_model(filter_, training, empty[::2], settings)
    model = out.with_name("gradients.npy")
    with replacing(model) as partial, partial.open("wb") as file:
        np.save(file, weights)
    manifest = describe(out, data, empty, settings)
    write_json(out.with_name("manifest.json"), manifest)
    return manifest


def describe(out: Path, data: LandmarkData, empty: list[Luma], settings: CoveredSettings) -> dict[str, Any]:
    """Return the manifest of a detector and its model: from what they were trained, and what they find of the rest."""
    training, held_out = split(data)
    files = [out, out.with_name("gradients.npy")]
    origin = hashlib.sha256()
    for content in (training.images.tobytes(), training.points.tobytes(), *(one.tobytes() for one in empty[::2])):
        origin.update(content)
    model = CoveredFaceModel(np.load(files[1], allow_pickle=False))
    return {
        "sha256": {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files},
        "bytes": sum(file.stat().st_size for file in files),
        "command": "python -m train covered FACES.npz --without-faces FOLDER",
        "trained_on": {
            "faces": len(training.images),
            "pictures_without_faces": len(empty[::2]),
            "sha256": origin.hexdigest(),
        },
        "held_out": measure(dlib.fhog_object_detector(str(out)), model, held_out, empty[1::2], settings),
        "settings": asdict(settings),
        "dlib": dlib.__version__,
    }


def measure(
    filter_: Any, model: CoveredFaceModel, data: LandmarkData, empty: list[Luma], settings: CoveredSettings
) -> dict[str, float]:
    """Return the share of covered faces that are candidates and that are vouched for, and how many false ones are."""
    detector, predictor = FaceDetector(ready=(frontal_face_detector(None), filter_, model)), LandmarkPredictor()
    rng = np.random.default_rng(settings.seed + 1)
    candidates = found = faces = 0
    for picture, box in _faces(data, rng, settings, [data.images[0]]):
        seen = [one for one in detector.find_covered(picture) if one.box.iou(box) > SAME_FACE_IOU]
        faces, candidates = faces + 1, candidates + bool(seen)
        found += any(is_face(picture, one, detector, predictor) for one in seen)
    false = sum(is_face(a, one, detector, predictor) for a in empty for one in detector.find_covered(a))
    shares = {"candidates": round(candidates / max(1, faces), 3), "found": round(found / max(1, faces), 3)}
    return {"faces": faces, **shares, "pictures_without_faces": len(empty), "false_alarms": false}


def _train_model(filter_: Any, data: LandmarkData, empty: list[Luma], settings: CoveredSettings) -> NDArray[np.float32]:
    """Tell the filter's candidates on covered faces from those on anything else; return weights and bias."""
    predictor, rng = LandmarkPredictor(), np.random.default_rng(settings.seed + 2)
    rows: list[NDArray[np.float32]] = []
    labels: list[bool] = []

    def add(picture: Luma, box: Box, is_covered_face: bool) -> None:
        view = face_view(picture, box, turned_deg=0, margin=MARGIN, face_px=STEADY_FACE_PX)
        face = upright(view.luma, predictor.points(view.luma, view.box_in_view(box)))
        rows.extend([gradients(face), gradients(np.ascontiguousarray(face[:, ::-1]))])
        labels.extend([is_covered_face] * 2)

    faces = replace(settings, copies=settings.copies + 1)
    for picture, box in _faces(data, rng, faces, [image[:80, :80] for image in (*data.images[:60], *empty)]):
        worn = _worn(picture, rng)
        seen = [one for one in _candidates(filter_, worn) if one.iou(box) > FACE_IOU]
        if seen:
            x, y, width, _ = seen[0]
            side = round(width * rng.normal(1, 0.05))
            add(
                worn,
                Box(round(x + rng.normal(0, 0.03) * width), round(y + rng.normal(0, 0.03) * width), side, side),
                True,
            )
    for picture in (*data.images, *empty):  # turned faces, too, are none
        for turns in range(4) if picture.shape != data.images.shape[1:] else (1, 2, 3):
            worn = _worn(np.ascontiguousarray(np.rot90(picture, turns)), rng)
            for box in _candidates(filter_, worn)[: 2 + picture.size // 40_000]:
                add(worn, box, False)
    fitted = LogisticRegression(C=settings.model_c, class_weight="balanced", max_iter=500).fit(np.stack(rows), labels)
    return np.asarray(np.concatenate([fitted.coef_[0], fitted.intercept_]), np.float32)


def _candidates(filter_: Any, picture: Luma) -> list[Box]:
    boxes, scores, _ = filter_.run(picture, 0, CANDIDATE_SCORE)
    order = np.argsort(-np.array(scores), kind="stable")
    return [Box(boxes[i].left(), boxes[i].top(), boxes[i].width(), boxes[i].height()) for i in order]


def _worn(picture: Luma, rng: np.random.Generator) -> Luma:
    """Add noise to some pictures, and blur some."""
    chance = rng.random()
    if chance < 0.15:
        return np.clip(picture + rng.normal(0, rng.uniform(2, 8), picture.shape), 0, 255).astype(np.uint8)
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), rng.uniform(1, 3.5)), np.uint8) if chance < 0.35 else picture


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
    if rng.random() < 0.5:  # folds
        rows, columns = np.mgrid[:height, :width] / face_px
        waves = np.sin(2 * np.pi * (rng.uniform(1.5, 6) * rows + rng.normal(0, 0.5) * columns + rng.random()))
        cloth = cloth + rng.uniform(5, 40) * np.abs(waves) ** rng.uniform(1, 8)
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
        matrix = cv2.getRotationMatrix2D(box.centre, rng.normal(0, settings.tilt_deg), scale)
        matrix[:, 2] += side / 2 - np.array(box.centre)
        soft = cv2.GaussianBlur(image, (0, 0), 0.35 / scale) if scale < 1 else image
        picture = np.asarray(cv2.warpAffine(soft, matrix, (side, side), borderMode=cv2.BORDER_REPLICATE), np.uint8)
        placed = (points @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32)
        if rng.random() >= settings.uncovered:
            picture = covered(picture, placed, rng, textures)
        if rng.random() < 0.5:
            picture, placed = np.ascontiguousarray(picture[:, ::-1]), placed[MIRROR] * (-1, 1) + (side - 1, 0)
        if rng.random() < settings.dark:
            picture = np.asarray(255 * (picture / 255) ** rng.uniform(1.5, 3), np.uint8)
        if rng.random() < settings.coarse:
            share = rng.uniform(0.3, 0.7)
            small = cv2.resize(picture, None, fx=share, fy=share, interpolation=cv2.INTER_AREA)
            picture = np.asarray(cv2.resize(small, (side, side), interpolation=cv2.INTER_LINEAR), np.uint8)
        yield picture, box_from_landmarks(placed.astype(np.float32))


def _write_training_set(data: LandmarkData, empty: list[Luma], settings: CoveredSettings, folder: Path) -> Path:
    """Write pictures and dlib's XML listing."""
    rng = np.random.default_rng(settings.seed)
    textures = [picture[:80, :80] for picture in (*data.images[:60], *empty)]
    root = ET.Element("dataset")
    images = ET.SubElement(root, "images")
    pictures: list[tuple[Luma, Box | None]] = [*_faces(data, rng, settings, textures)]
    for picture in empty:
        scale = (FILTER_EMPTY_PIXELS / EMPTY_PIXELS) ** 0.5
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
    """Read the pictures without a face, each once, scaled down to `EMPTY_PIXELS`.

    Raises `DataError`: there is none of 80 pixels or more.
    """
    pictures: list[Luma] = []
    seen: list[NDArray[np.int16]] = []
    for path in sorted(folder.rglob("*")):
        picture = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) if path.is_file() and not path.is_symlink() else None
        if picture is None or min(picture.shape) < LEAST_SIDE:
            continue
        look = cv2.resize(picture, (9, 9), interpolation=cv2.INTER_AREA).astype(np.int16)
        if any(np.abs(look - other).mean() < SAME_PICTURE for other in seen):  # the same in another size
            continue
        seen.append(look)
        scale = min(1.0, (EMPTY_PIXELS / picture.size) ** 0.5)
        pictures.append(
            np.asarray(cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
        )
    if not pictures:
        raise DataError(f"{folder}: no pictures of {LEAST_SIDE} pixels or more")
    return pictures
