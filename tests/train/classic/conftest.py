import numpy as np
import pytest

from train.data.dataset import PARTS, Dataset
from train.data.features import Features
from train.data.landmarks import PictureLandmarks


@pytest.fixture(scope="module")
def faces() -> tuple[Dataset, Features]:
    """The mouth of an emotion is opened by so much; the noise is a pixel."""
    rng = np.random.default_rng(0)
    n = 250
    labels = (np.arange(n) % 5).astype(np.int8)
    points = np.tile(rng.uniform(40, 200, size=(68, 2)), (n, 1, 1)) + rng.normal(0, 1, size=(n, 68, 2))
    points[:, 54:60, 1] += 12 * labels[:, None]
    parts = np.array([PARTS.index("train")] * 150 + [PARTS.index("validation")] * 50 + [PARTS.index("test")] * 50)
    images = rng.integers(0, 256, size=(n, 48, 48)).astype(np.uint8)
    votes = np.eye(7, dtype=np.float32)[labels]
    dataset = Dataset(images, labels, parts.astype(np.uint8), votes, {"source": "made"})
    return dataset, Features(images, PictureLandmarks(points.astype(np.float32), np.zeros(n, np.uint8)), np.arange(n))
