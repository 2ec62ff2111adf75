"""Landmarks of small pictures: how each face came by its points, and what is kept between readings."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edge.faces.chip import TARGET, anchor_points, face_chip
from edge.faces.detector import FaceDetector
from edge.faces.distances import FEATURES
from edge.faces.landmarks import LandmarkPredictor
from edge.faces.types import Box, Detection
from train.data import landmarks as picture_landmarks
from train.data.landmarks import (
    ENLARGE,
    FOUND,
    LOW,
    PAD_PX,
    STANDARD,
    STANDARD_BOX,
    choose_box,
    read_landmarks,
    smooth_landmarks,
)

pytestmark = pytest.mark.slow("finds landmarks with the detector, again and again")


@pytest.fixture(scope="module")
def faces() -> NDArray[np.uint8]:
    """The astronaut's face as FER2013 would have it, its mirror image, and a picture without a face."""
    data = pytest.importorskip("skimage.data", reason="scikit-image is not installed: pip install '.[demo]'")
    photo = np.asarray(cv2.cvtColor(data.astronaut(), cv2.COLOR_RGB2GRAY), dtype=np.uint8)
    chip = face_chip(photo, LandmarkPredictor().points(photo, FaceDetector().find(photo)[0].box))
    return np.stack([chip, chip[:, ::-1], np.full((48, 48), 90, np.uint8)])


def test_every_picture_gets_points_and_says_how(faces: NDArray[np.uint8]) -> None:
    read = read_landmarks(faces)

    assert read.counts() == {"found": 2, "found at low threshold": 0, "standard box": 1}
    in_chip = (anchor_points(read.points[0]) - PAD_PX + 0.5) / ENLARGE - 0.5
    np.testing.assert_allclose(in_chip, TARGET, atol=2.5)
    assert read.features().shape == (3, FEATURES)


def test_surest_box_is_taken_else_a_usual_else_the_standard_one() -> None:
    corner = Box(0, 0, 80, 80)
    near = STANDARD_BOX._replace(x=STANDARD_BOX.x + 20)

    assert choose_box([Detection(corner, 0.1), Detection(near, 1.2)]) == (near, FOUND)
    assert choose_box([Detection(corner, -0.2), Detection(near, -0.8)]) == (near, LOW)
    assert choose_box([Detection(corner, -0.2)]) == (STANDARD_BOX, STANDARD)
    assert choose_box([]) == (STANDARD_BOX, STANDARD)


def test_smoothed_points_are_the_mean_over_boxes_nearby(faces: NDArray[np.uint8], tmp_path: Path) -> None:
    cache = tmp_path / "faces.landmarks.npz"
    first = read_landmarks(faces[:1], cache=cache)
    told: list[tuple[int, int]] = []
    smooth = smooth_landmarks(faces[:1], cache=cache, progress=lambda done, of: told.append((done, of)))
    frame, predictor = picture_landmarks.enlarge(faces[0]), LandmarkPredictor()
    views = [predictor.points(frame, box) for box in picture_landmarks.view_boxes(first.points[0])]

    np.testing.assert_allclose(smooth.points[0], np.mean(views, axis=0), atol=1e-4)
    assert len({view.tobytes() for view in views}) == len(views), "each box is another"
    assert smooth.how[0] == FOUND
    assert told == [(1, 1)], "the first reading was kept"
    again = smooth_landmarks(faces[:1], cache=cache, progress=lambda done, of: told.append((done, of)))
    assert len(told) == 1
    np.testing.assert_array_equal(again.points, smooth.points)


@pytest.mark.slow("reads the landmarks of many pictures")
def test_what_was_read_before_is_not_read_again(faces: NDArray[np.uint8], tmp_path: Path) -> None:
    cache = tmp_path / "faces.landmarks.npz"
    first = read_landmarks(faces[:2], cache=cache)
    told: list[tuple[int, int]] = []
    again = read_landmarks(faces[[2, 1, 1, 0]], cache=cache, progress=lambda done, of: told.append((done, of)))

    assert told == [(1, 1)], "only the third picture is new"
    np.testing.assert_array_equal(again.points[1:], first.points[[1, 1, 0]])
    assert again.how[0] == STANDARD


@pytest.mark.slow("reads the landmarks of many pictures")
def test_an_interrupted_reading_goes_on(faces: NDArray[np.uint8], tmp_path: Path) -> None:
    cache = tmp_path / "faces.landmarks.npz"

    def stop(done: int, of: int) -> None:
        del of
        if done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        read_landmarks(faces, cache=cache, progress=stop)
    told: list[tuple[int, int]] = []
    read_landmarks(faces, cache=cache, progress=lambda done, of: told.append((done, of)))
    assert told == [(1, 2), (2, 2)]


@pytest.mark.parametrize("damage", ["cut short", "another making"])
def test_a_cache_that_does_not_fit_is_replaced(
    faces: NDArray[np.uint8], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    cache = tmp_path / "faces.landmarks.npz"
    first = read_landmarks(faces[:1], cache=cache)
    if damage == "cut short":
        cache.write_bytes(cache.read_bytes()[:100])
    else:
        monkeypatch.setattr(picture_landmarks, "READING_VERSION", 99)
    told: list[tuple[int, int]] = []
    again = read_landmarks(faces[:1], cache=cache, progress=lambda done, of: told.append((done, of)))

    assert told == [(1, 1)]
    np.testing.assert_array_equal(again.points, first.points)
