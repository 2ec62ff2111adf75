"""The prepared detector in a file: the same as dlib's own, and replaced when damaged."""

import logging
from pathlib import Path

import cv2
import dlib
import numpy as np
import pytest
from numpy.typing import NDArray

from edge.faces.detector import FaceDetector, frontal_face_detector
from edge.faces.landmarks import LandmarkPredictor, tilt_deg
from edge.faces.types import Treatment
from edge.faces.views import turned_view


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("state")
    frontal_face_detector(folder)
    return folder


@pytest.fixture(scope="module")
def detector() -> FaceDetector:
    return FaceDetector()


@pytest.fixture
def face() -> NDArray[np.uint8]:
    data = pytest.importorskip("skimage.data", reason="needs the demo extra")
    return np.ascontiguousarray(data.astronaut()[:256, 96:352].mean(axis=2).astype(np.uint8))


def test_stored_detector_sees_what_dlibs_own_sees(kept: Path, face: NDArray[np.uint8]) -> None:
    assert len([*kept.iterdir()]) == 1
    own = dlib.get_frontal_face_detector().run(face, 1, -1.0)
    found = frontal_face_detector(kept).run(face, 1, -1.0)
    assert len(own[1]) > 1
    assert [str(box) for box in found[0]] == [str(box) for box in own[0]]
    assert [*found[1]] == [*own[1]]
    first = FaceDetector(kept)
    assert first.copy().find(face, upsample=1) == first.find(face, upsample=1)


@pytest.mark.parametrize(("turned", "leaning"), [(0, 0), (30, 30), (45, 30), (-30, -30), (-45, -30)])
def test_detector_tells_how_a_face_leans(
    face: NDArray[np.uint8], detector: FaceDetector, turned: int, leaning: int
) -> None:
    view = turned_view(face, turned)
    best = max(detector.find(view.luma, upsample=1, least_score=-0.6), key=lambda seen: seen.score)
    assert best.leaning_deg == leaning
    upright = tilt_deg(LandmarkPredictor().points_of(face, detector.find(face, upsample=1)[0]))
    assert tilt_deg(LandmarkPredictor().points_of(view.luma, best)) - upright == pytest.approx(turned, abs=8)


@pytest.mark.parametrize(("face_px", "seed"), [(45, 3), (60, 4), (90, 5)])
def test_face_in_noise_is_found_again_where_it_was(
    face: NDArray[np.uint8], detector: FaceDetector, face_px: int, seed: int
) -> None:
    side = round(256 * face_px / detector.find(face, upsample=1)[0].box.width)
    small = cv2.resize(face, (side, side), interpolation=cv2.INTER_AREA)
    noise = np.random.default_rng(seed).normal(0, 8, small.shape)
    dark = np.clip(255 * (small / 255) ** 2.5 + noise, 0, 255).astype(np.uint8)
    first = detector.find(dark, upsample=1, least_score=-0.6)[0]
    assert first.treatment is Treatment.SMOOTHED
    again = detector.find_near(dark, first.box, was=first.treatment)
    assert again is not None
    assert again.treatment is Treatment.SMOOTHED
    assert again.box.iou(first.box) > 0.5


def test_stored_detector_is_replaced_when_damaged(kept: Path, caplog: pytest.LogCaptureFixture) -> None:
    (file,) = kept.iterdir()
    content = bytearray(file.read_bytes())
    content[1000] ^= 1
    file.write_bytes(content)
    with caplog.at_level(logging.INFO):
        frontal_face_detector(kept)
    assert "is replaced" in caplog.text
    (file,) = kept.iterdir()
    assert file.read_bytes() != content


def test_detector_is_not_stored_where_nothing_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frontal_face_detector(tmp_path / "absent")
    assert not (tmp_path / "absent").exists()

    def full(_path: Path, _target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "rename", full)
    assert frontal_face_detector(tmp_path) is not None
    assert [*tmp_path.iterdir()] == []
