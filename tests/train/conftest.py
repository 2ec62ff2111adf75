"""Made faces and CSV rows that the tests of training share."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from train.data.dataset import PARTS, Dataset

SHARED = Path(__file__).resolve().parents[3] / "shared"


def striped_faces(n: int, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.int8]]:
    """Pictures whose class shows as the width of their stripes; uint8 [n, 48, 48] and labels [n]."""
    rng = np.random.default_rng(seed)
    labels = (np.arange(n) % 5).astype(np.int8)
    images = rng.integers(0, 60, size=(n, 48, 48))
    for image, label in zip(images, labels, strict=True):
        image[:] += 150 * ((np.arange(48) + rng.integers(0, 48)) >> label & 1)
    return images.astype(np.uint8), labels


@pytest.fixture(scope="session")
def dataset() -> Dataset:
    images, labels = striped_faces(200, seed=0)
    parts = np.array([PARTS.index("train")] * 120 + [PARTS.index("validation")] * 40 + [PARTS.index("test")] * 40)
    return Dataset(images, labels, parts.astype(np.uint8), None, {"source": "made"})


@pytest.fixture
def write_csv(tmp_path: Path) -> Callable[..., Path]:
    """Write a CSV file from lines."""

    def write(lines: Sequence[str], *, name: str = "faces.csv", header: str = "emotion,pixels,Usage") -> Path:
        path = tmp_path / name
        path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
        return path

    return write


@pytest.fixture
def shared_faces() -> dict[str, NDArray[np.generic]]:
    """The first 300 rows of FER2013, where they are."""
    path = SHARED / "data" / "fer2013-dev.npz"
    if not path.is_file():
        pytest.skip(f"no real faces: {path} is absent")
    with np.load(path, allow_pickle=False) as stored:
        return {name: stored[name] for name in ("images", "labels", "usage")}
