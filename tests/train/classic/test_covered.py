"""The training of the detector of covered faces, in small."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.errors import DataError
from tests.train.classic.test_landmarks import faces
from train.classic.covered import CoveredSettings, covered, load_empty, train_covered
from train.classic.landmarks import LandmarkData

__all__ = ["faces"]


def test_covering_hides_the_mouth_and_spares_the_eyes(faces: LandmarkData) -> None:
    image, points = faces.images[10], faces.points[10]
    rng = np.random.default_rng(3)
    hidden, spared = [], []
    for _ in range(20):
        change = np.abs(covered(image, points, rng, [image]).astype(int) - image)
        mouth, eyes = (np.round(points[part].mean(axis=0)).astype(int) for part in (slice(48, 68), slice(36, 48)))
        hidden.append(change[mouth[1] - 3 : mouth[1] + 4, mouth[0] - 3 : mouth[0] + 4].mean() > 3)
        spared.append(change[eyes[1] - 3 : eyes[1] + 4, eyes[0] - 30 : eyes[0] + 30].mean() < 1)
    assert np.mean(hidden) > 0.8
    assert np.mean(spared) > 0.8


@pytest.mark.training
def test_tiny_detector_of_covered_faces_is_written_with_its_figures(faces: LandmarkData, tmp_path: Path) -> None:
    out = tmp_path / "covered.svm"
    rng = np.random.default_rng(1)
    empty = [cv2.GaussianBlur(rng.integers(0, 255, (300, 300)).astype(np.uint8), (0, 0), 2) for _ in range(3)]
    settings = CoveredSettings(copies=1, epsilon=0.5, threads=1)
    manifest = train_covered(faces, empty, out, settings)
    assert json.loads(out.with_name("manifest.json").read_text()) == manifest
    assert manifest["bytes"] == sum(path.stat().st_size for path in (out, tmp_path / "gradients.npy"))
    assert manifest["held_out"]["candidates"] >= 0.5
    assert manifest["held_out"]["pictures_without_faces"] == 1
    again = train_covered(faces, empty, tmp_path / "again/covered.svm", settings)
    assert again["sha256"] == manifest["sha256"]


def test_a_picture_in_two_sizes_is_read_once(tmp_path: Path) -> None:
    picture = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 255, (400, 600)).astype(np.uint8), (0, 0), 20)
    picture = cv2.normalize(picture, None, 0, 255, cv2.NORM_MINMAX)
    cv2.imwrite(str(tmp_path / "a.png"), picture)
    cv2.imwrite(str(tmp_path / "b.png"), cv2.resize(picture, (300, 200), interpolation=cv2.INTER_AREA))
    cv2.imwrite(str(tmp_path / "c.png"), picture[::-1])
    assert [one.shape for one in load_empty(tmp_path)] == [(400, 600)] * 2


def test_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("nothing")
    cv2.imwrite(str(tmp_path / "tiny.png"), np.zeros((8, 8), np.uint8))
    with pytest.raises(DataError, match="no pictures"):
        load_empty(tmp_path)
