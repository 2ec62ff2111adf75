"""What is no face, or shows too little of one, is uncertain under the floor that ships."""

from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edge.emotions import EMOTIONS
from edge.pipeline import Pipeline, load_pipeline
from edge.settings import Settings, SmoothingSettings

FLOOR = SmoothingSettings().confidence_floor


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return load_pipeline(Settings())


@pytest.fixture(scope="module")
def pictures() -> Any:
    return pytest.importorskip("skimage.data", reason="scikit-image is not installed: pip install '.[demo]'")


def gray(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return picture if picture.ndim == 2 else np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.uint8)


def scores(pipeline: Pipeline, *chips: Any) -> NDArray[np.float32]:
    """Scores of chips, each averaged with its mirror image, as a device gives them."""
    looks = np.stack([np.clip(chip, 0, 255).astype(np.uint8) for chip in chips])
    points = np.zeros((len(looks), 68, 2), np.float32)
    mirrored = np.ascontiguousarray(looks[..., ::-1])
    classifier = pipeline.classifier
    return (classifier.scores(looks, points) + classifier.scores(mirrored, points)) / 2


@pytest.fixture(scope="module")
def smile(pipeline: Pipeline, pictures: Any) -> NDArray[np.float64]:
    [face] = pipeline.find_still(gray(pictures.astronaut()))
    return face.chip.astype(np.float64)


@pytest.mark.parametrize("part", [0.5, 0.2], ids=["half as bright", "a fifth as bright"])
def test_smile_that_can_still_be_seen_is_told(pipeline: Pipeline, smile: NDArray[np.float64], part: float) -> None:
    [told] = scores(pipeline, smile * part)
    assert EMOTIONS[int(told.argmax())] == "happy"
    assert told.max() >= FLOOR


@pytest.mark.parametrize(("part", "noise_levels"), [
    (0.03, 0), (0.01, 0), (0.0, 0), (0.05, 8), (0.03, 4),
], ids=["3 %", "1 %", "black", "5 % with noise", "3 % with noise"])  # fmt: skip
def test_face_that_is_too_dark_is_uncertain(
    pipeline: Pipeline, smile: NDArray[np.float64], part: float, noise_levels: float
) -> None:
    dark = smile * part + np.random.default_rng(1).normal(0, 1, smile.shape) * noise_levels
    assert scores(pipeline, dark).max() < FLOOR


@pytest.mark.parametrize("sigma_px", [5, 6, 8])
def test_face_that_is_a_blur_is_uncertain(pipeline: Pipeline, smile: NDArray[np.float64], sigma_px: int) -> None:
    assert scores(pipeline, cv2.GaussianBlur(smile, (0, 0), sigma_px)).max() < FLOOR


def test_head_turned_away_is_uncertain(pipeline: Pipeline, pictures: Any) -> None:
    """The cameraman's hair, ear and collar."""
    man = pictures.camera()
    heads = [man[y : y + side, x : x + side] for x, y, side in ((160, 60, 90), (150, 80, 100), (165, 65, 70))]
    assert scores(pipeline, *(cv2.resize(head, (48, 48), interpolation=cv2.INTER_AREA) for head in heads)).max() < FLOOR


def test_chips_without_a_face_are_uncertain(pipeline: Pipeline, pictures: Any) -> None:
    random, chips = np.random.default_rng(1), []
    for name in ("coffee", "brick", "rocket", "clock", "coins", "moon", "page", "chelsea", "text", "grass"):
        picture = gray(getattr(pictures, name)())
        for _ in range(30):
            side = int(random.integers(40, min(picture.shape) // 2))
            x, y = int(random.integers(picture.shape[1] - side)), int(random.integers(picture.shape[0] - side))
            cut = picture[y : y + side, x : x + side]
            chips.append(cv2.resize(cut, (48, 48), interpolation=cv2.INTER_AREA))
    top = scores(pipeline, *chips).max(axis=1)
    assert (top < FLOOR).mean() >= 0.95
    assert top.max() < 0.9
