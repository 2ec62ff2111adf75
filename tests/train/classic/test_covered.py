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
    empty = [np.random.default_rng(1).integers(0, 255, (120, 160)).astype(np.uint8)]
    manifest = train_covered(faces, empty, out, CoveredSettings(copies=1, epsilon=0.5, threads=1))
    assert json.loads(out.with_name("manifest.json").read_text()) == manifest
    assert manifest["bytes"] == out.stat().st_size
    assert manifest["held_out"]["found"] >= 0.5


def test_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("nothing")
    cv2.imwrite(str(tmp_path / "tiny.png"), np.zeros((8, 8), np.uint8))
    with pytest.raises(DataError, match="no pictures"):
        load_empty(tmp_path)
