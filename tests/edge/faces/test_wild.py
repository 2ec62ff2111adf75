"""Photos as a camera makes them in daily life: what is found, and that nothing else is."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edge.cameras import open_camera
from edge.faces.types import Box, TrackedFace
from edge.pipeline import Pipeline, load_pipeline
from edge.settings import Settings

Change = Callable[[NDArray[np.uint8], list[Box]], NDArray[np.uint8]]

pytestmark = [pytest.mark.media, pytest.mark.slow("searches photos in many changed forms")]


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return load_pipeline(Settings())


def photos(media: Path) -> Iterator[tuple[NDArray[np.uint8], list[Box]]]:
    """dlib's twelve example photos, with the boxes of their 43 faces."""
    folder = media / "dlib-faces"
    if not folder.is_dir():
        pytest.skip(f"no photos here: {folder} is absent")
    for part in ("testing", "training"):
        tree = ET.parse(folder / f"{part}_with_face_landmarks.xml")
        for image in tree.iter("image"):
            luma: Any = cv2.imread(str(folder / str(image.get("file"))), cv2.IMREAD_GRAYSCALE)
            sides = ("left", "top", "width", "height")
            yield luma, [Box(*(int(str(box.get(side))) for side in sides)) for box in image.iter("box")]


def hits(found: list[TrackedFace], faces: list[Box]) -> int:
    return sum(any(face.iou(seen.box) > 0.3 for seen in found) for face in faces)


def cover(luma: NDArray[np.uint8], faces: list[Box]) -> NDArray[np.uint8]:
    """Hide the lower left quarter of each face, as a telephone does."""
    for x, y, width, height in faces:
        cv2.rectangle(luma, (x - 10, y + round(0.45 * height)), (x + width // 2, y + height + 10), 60, -1)
    return luma


def blur(luma: NDArray[np.uint8], faces: list[Box]) -> NDArray[np.uint8]:
    """Blur by 3 % of a face's width."""
    sigma = 0.03 * float(np.median([face.width for face in faces]))
    return np.asarray(cv2.GaussianBlur(luma, (0, 0), sigma), np.uint8)


def darken(luma: NDArray[np.uint8], faces: list[Box]) -> NDArray[np.uint8]:
    return (255 * (luma / 255) ** 2.5).astype(np.uint8)


@pytest.mark.parametrize(("change", "least"), [(cover, 20), (blur, 35), (darken, 41)])
def test_changed_photos_have_their_faces(pipeline: Pipeline, media: Path, change: Change, least: int) -> None:
    found = sum(hits(pipeline.find_still(change(luma, faces)), faces) for luma, faces in photos(media))
    assert found >= least, f"{found} of 43"  # with scores from 0.3 alone: 17, 31, 41


def test_clean_photos_have_their_faces_and_no_others(pipeline: Pipeline, media: Path) -> None:
    looks = [(pipeline.find_still(luma), faces) for luma, faces in photos(media)]
    assert sum(hits(found, faces) for found, faces in looks) >= 41
    assert all(len(found) <= len(faces) for found, faces in looks)


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_turned_photos_have_their_faces(pipeline: Pipeline, media: Path, quarters: int) -> None:
    found = 0
    for luma, faces in photos(media):
        upright = [seen for seen in pipeline.find_still(luma) if hits([seen], faces)]
        turned = pipeline.find_still(np.ascontiguousarray(np.rot90(luma, -quarters)))
        turns = np.exp(0.5j * np.pi * quarters)
        for seen in upright:
            # the same face, where it lies now: its centre turned about the picture's
            height, width = luma.shape
            offset = complex(seen.box.centre[0] - width / 2, seen.box.centre[1] - height / 2) * turns
            across, down = (width, height) if quarters == 2 else (height, width)
            x, y = offset.real + across / 2, offset.imag + down / 2
            near = [f for f in turned if abs(complex(*f.box.centre) - complex(x, y)) < 0.3 * seen.box.width]
            found += any(
                f.landmarks[:, 0].min() > f.box.x - f.box.width and np.abs(f.scores - seen.scores).max() < 0.3
                for f in near
            )
    assert found >= 37, f"{found} of 43"


def test_dogs_are_no_faces(pipeline: Pipeline, media: Path) -> None:
    dogs = media / "dlib-faces/dogs.jpg"
    if not dogs.is_file():
        pytest.skip(f"{dogs} is absent")
    luma: Any = cv2.imread(str(dogs), cv2.IMREAD_GRAYSCALE)
    assert pipeline.find_still(luma) == []


@pytest.mark.parametrize(("clip", "from_frame"), [("no-face.mp4", 0), ("face-then-none.mov", 90)])
def test_clips_without_faces_raise_no_alarm(pipeline: Pipeline, media: Path, clip: str, from_frame: int) -> None:
    source = open_camera(f"file:{media / clip}")
    pipeline.forget()
    seen = []
    while (frame := source.read(5)) is not None:
        if frame.index >= from_frame:
            seen += pipeline.follow(frame)
    source.close()
    assert seen == []
