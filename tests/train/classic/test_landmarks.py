"""The landmark predictor's training, in small: one real face, turned and moved, and its points."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edge.errors import DataError
from edge.faces.detector import FaceDetector
from edge.faces.landmarks import LandmarkPredictor
from edge.faces.types import Box
from train.classic import compact
from train.classic.compact import compact_predictor
from train.classic.landmarks import (
    LandmarkData,
    LandmarkSettings,
    load_landmark_data,
    measure,
    split,
    train_landmarks,
)
from train.data.augment import MIRROR

TINY = LandmarkSettings(cascades=3, trees=10, depth=3, splits_tried=5, oversampling=4, turned=0, threads=1)


@pytest.fixture(scope="module")
def faces() -> LandmarkData:
    """Twenty turns of the astronaut's face; the truth is what the predictor that ships says of the upright one."""
    data = pytest.importorskip("skimage.data", reason="scikit-image is not installed: pip install '.[demo]'")
    photo = cv2.cvtColor(data.astronaut(), cv2.COLOR_RGB2GRAY)
    points = LandmarkPredictor().points(photo, FaceDetector().find(photo)[0].box)
    images, truths = [], []
    for number in range(20):
        matrix = cv2.getRotationMatrix2D((223, 125), (number - 10) * 1.2, 1.6)
        matrix[:, 2] += (128 - 223 + number % 3, 128 - 125 - number % 5)
        images.append(cv2.warpAffine(photo, matrix, (256, 256)))
        truths.append((points @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32))
    return LandmarkData(np.array(images), np.array(truths))


def test_mirroring_twice_changes_nothing() -> None:
    assert (MIRROR[MIRROR] == np.arange(68)).all()


def test_the_held_out_fifth_is_apart_and_the_same_each_time(faces: LandmarkData) -> None:
    training, held_out = split(faces)
    assert (len(training.images), len(held_out.images)) == (16, 4)
    keys = [{points.tobytes() for points in part.points} for part in (training, held_out)]
    assert not keys[0] & keys[1]
    assert (split(faces)[1].points == held_out.points).all()


@pytest.mark.training
def test_a_tiny_predictor_learns_and_is_written_with_its_figures(faces: LandmarkData, tmp_path: Path) -> None:
    out = tmp_path / "points.dat"
    manifest = train_landmarks(faces, out, TINY)
    assert json.loads((tmp_path / "manifest.json").read_text()) == json.loads(json.dumps(manifest))
    assert manifest["bytes"] == out.stat().st_size
    assert manifest["held_out"]["faces"] == 4
    assert manifest["held_out"]["mean_error"] < 0.06
    assert LandmarkPredictor(out).points(faces.images[0], FaceDetector().find(faces.images[0])[0].box).shape == (68, 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["manifest.json", "points.dat"]


@pytest.fixture(scope="module")
def whole_predictor(faces: LandmarkData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny predictor as dlib writes it, nothing rounded."""
    path = tmp_path_factory.mktemp("whole") / "points.dat"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compact, "SIGNIFICANT_BITS", 24)
        train_landmarks(faces, path, TINY)
    return path


@pytest.mark.training
def test_compacting_shrinks_the_file_and_moves_no_point_visibly(
    faces: LandmarkData, whole_predictor: Path, tmp_path: Path
) -> None:
    small = tmp_path / "small.dat"
    compact_predictor(whole_predictor, small)
    assert small.stat().st_size < 0.75 * whole_predictor.stat().st_size
    box = FaceDetector().find(faces.images[3])[0].box
    before, after = (LandmarkPredictor(path).points(faces.images[3], box) for path in (whole_predictor, small))
    assert np.abs(before - after).max() <= 1


@pytest.mark.training
@pytest.mark.parametrize("damage", ["cut", "longer", "empty", "version"])
def test_what_is_no_predictor_cannot_be_compacted(damage: str, whole_predictor: Path, tmp_path: Path) -> None:
    raw = whole_predictor.read_bytes()
    broken = tmp_path / "broken.dat"
    broken.write_bytes({"cut": raw[:-100], "longer": raw + b"\0", "empty": b"", "version": b"\x01\x07"}[damage])
    with pytest.raises(DataError, match=r"broken\.dat"):
        compact_predictor(broken, tmp_path / "out.dat")
    assert not (tmp_path / "out.dat").exists()


def test_measure_is_zero_for_the_truth_and_counts_missed_faces(faces: LandmarkData) -> None:
    class Truth(LandmarkPredictor):
        def points(self, luma: NDArray[np.uint8], box: Box) -> NDArray[np.float32]:
            (row,) = [i for i, known in enumerate(mixed.images) if (known == luma).all()]
            return np.asarray(np.rint(mixed.points[row]), np.float32)

    nobody = np.zeros((1, 256, 256), np.uint8)
    mixed = LandmarkData(np.concatenate([faces.images[:3], nobody]), faces.points[:4])
    figures = measure(Truth(), mixed)
    assert (figures["faces"], figures["found_by_detector"]) == (4, 3)
    assert figures["mean_error"] < 0.01


@pytest.mark.parametrize(
    "arrays",
    [
        {"images": np.zeros((2, 9, 9), np.uint8)},
        {"images": np.zeros((2, 9, 9), np.uint8), "points": np.zeros((2, 5, 2), np.float32)},
        {"images": np.zeros((2, 9, 9), np.float32), "points": np.zeros((2, 68, 2), np.float32)},
        {"images": np.zeros((1, 9, 9), np.uint8), "points": np.full((1, 68, 2), np.nan, np.float32)},
    ],
)
def test_data_that_does_not_fit_is_one_line(arrays: dict[str, Any], tmp_path: Path) -> None:
    np.savez(tmp_path / "faces.npz", **arrays)
    with pytest.raises(DataError):
        load_landmark_data(tmp_path / "faces.npz")
    with pytest.raises(DataError, match="no such file"):
        load_landmark_data(tmp_path / "absent.npz")
