"""Chips that are blurred are sharpened before a network sees them."""

from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edge.faces.chip import face_chip
from edge.faces.detector import FaceDetector
from edge.faces.landmarks import LandmarkPredictor
from edge.faces.quality import blur, deblurred
from edge.pipeline import score_chips


@pytest.fixture(scope="module")
def chip() -> NDArray[np.uint8]:
    data = pytest.importorskip("skimage.data", reason="scikit-image is not installed: pip install '.[demo]'")
    luma = np.asarray(cv2.cvtColor(data.astronaut(), cv2.COLOR_RGB2GRAY), np.uint8)
    return face_chip(luma, LandmarkPredictor().points(luma, FaceDetector().find(luma)[0].box))


def blurred(chip: NDArray[np.uint8], share: float) -> NDArray[np.uint8]:
    return np.asarray(cv2.GaussianBlur(chip, (0, 0), 48 * share), np.uint8)


def distance(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    return float(np.abs(one.astype(float) - other).mean())


@pytest.mark.parametrize("share", [0.03, 0.04, 0.05, 0.06])
def test_blurred_chip_comes_nearer_to_the_sharp_one(chip: NDArray[np.uint8], share: float) -> None:
    soft = blurred(chip, share)
    sharp = deblurred(soft)
    assert sharp.shape == (48, 48)
    assert sharp.dtype == np.uint8
    assert distance(sharp, chip) < 0.9 * distance(soft, chip)
    assert blur(sharp) < blur(soft)


@pytest.mark.parametrize("change", [
    lambda chip: chip,
    lambda chip: chip // 2,
    lambda chip: np.full_like(chip, 90),
    lambda chip: np.random.default_rng(0).integers(0, 256, chip.shape).astype(np.uint8),
], ids=["face", "dark", "flat", "noise"])  # fmt: skip
def test_chip_that_is_not_blurred_stays_as_it_is(chip: NDArray[np.uint8], change: Any) -> None:
    made = change(chip)
    assert np.array_equal(deblurred(made), made)


def test_classifier_sees_the_deblurred_chip(chip: NDArray[np.uint8]) -> None:
    seen: list[NDArray[np.uint8]] = []

    class Watching:
        name, population = "watching", None

        def scores(self, chips: NDArray[np.uint8], points: NDArray[np.float32]) -> NDArray[np.float32]:
            seen.extend(chips)
            return np.full((len(points), 5), 0.2, np.float32)

    watching: Any = Watching()
    soft = blurred(chip, 0.03)
    score_chips(watching, [soft, chip], np.zeros((2, 68, 2), np.float32))
    assert np.array_equal(seen[0], deblurred(soft))
    assert not np.array_equal(seen[0], soft)
    assert np.array_equal(seen[1], chip)
