"""Detector and landmarks on a real face: the photo that scikit-image carries."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edge.errors import LandmarkModelError
from edge.faces.chip import anchor_points
from edge.faces.covered import CoveredFaceModel
from edge.faces.detector import FaceDetector, covered_face_detector
from edge.faces.drawing import REGIONS, draw_face
from edge.faces.landmarks import LandmarkPredictor
from edge.faces.shipped import shipped
from edge.faces.types import Box
from edge.faces.vouching import is_face

EYES_AND_MOUTH = np.array([(204, 101), (246, 102), (223, 145)])
"""Read off the photo by eye, pixels of 512."""


@pytest.fixture(scope="module")
def photo() -> NDArray[Any]:
    data = pytest.importorskip("skimage.data", reason="scikit-image is not installed: pip install '.[demo]'")
    luma: NDArray[np.uint8] = cv2.cvtColor(data.astronaut(), cv2.COLOR_RGB2GRAY)
    return luma


def test_whole_and_region_find_the_same_face(photo: NDArray[Any]) -> None:
    detector = FaceDetector()
    whole = detector.find(photo)
    assert len(whole) == 1
    again = detector.find_near(photo, whole[0].box)
    assert again is not None
    assert again.box.iou(whole[0].box) > 0.7


@pytest.mark.parametrize("moved", [(25, 0), (-25, 10), (0, 25), (0, -25)])
def test_region_finds_a_face_that_moved(photo: NDArray[Any], moved: tuple[int, int]) -> None:
    detector = FaceDetector()
    box = detector.find(photo)[0].box
    stale = Box(box.x + moved[0], box.y + moved[1], box.width, box.height)
    found = detector.find_near(photo, stale)
    assert found is not None
    assert found.box.iou(box) > 0.6


@pytest.mark.parametrize("shade", [15, 120, 235])
@pytest.mark.parametrize("from_point", [28, 30])
def test_a_face_is_found_whatever_mask_covers_it(photo: NDArray[Any], shade: int, from_point: int) -> None:
    detector, predictor = FaceDetector(), LandmarkPredictor()
    box = detector.find(photo)[0].box
    points = predictor.points(photo, box)
    masked = photo.copy()
    cv2.fillPoly(masked, [np.round(np.vstack([points[2:15], points[from_point]])).astype(np.int32)], shade)
    seen = [one for one in detector.find_covered(masked) if is_face(masked, one, detector, predictor)]
    assert len(seen) == 1
    assert seen[0].box.iou(box) > 0.4


def test_hidden_eyes_are_no_covered_face(photo: NDArray[Any]) -> None:
    detector, predictor = FaceDetector(), LandmarkPredictor()
    points = predictor.points(photo, detector.find(photo)[0].box)
    (left, top), (right, bottom) = points[17:48].min(axis=0).astype(int) - 8, points[17:48].max(axis=0).astype(int) + 8
    hidden = photo.copy()
    hidden[top:bottom, left:right] = 120
    assert not [one for one in detector.find_covered(hidden) if is_face(hidden, one, detector, predictor)]


def test_weights_of_another_model_are_refused() -> None:
    with pytest.raises(ValueError, match="expected 1297 weights"):
        CoveredFaceModel(np.zeros(12, np.float32))


def test_region_sees_no_face_where_there_is_none(photo: NDArray[Any]) -> None:
    assert FaceDetector().find_near(photo, Box(360, 380, 100, 100)) is None


def test_a_region_outside_the_frame_holds_nobody(photo: NDArray[Any]) -> None:
    for box in (Box(900, 900, 100, 100), Box(-500, -500, 100, 100), Box(512, 0, 80, 80)):
        assert FaceDetector().find_near(photo, box) is None


def test_a_region_over_the_edge_of_the_frame_is_cut(photo: NDArray[Any]) -> None:
    assert FaceDetector().find_near(photo[:90, :90], Box(60, 60, 100, 100)) is None


def test_landmarks_lie_on_eyes_and_mouth(photo: NDArray[Any]) -> None:
    box = FaceDetector().find(photo)[0].box
    points = LandmarkPredictor().points(photo, box)
    assert np.abs(anchor_points(points) - EYES_AND_MOUTH).max() < 6


def test_drawing_marks_the_face_and_leaves_the_rest(photo: NDArray[Any]) -> None:
    box = FaceDetector().find(photo)[0].box
    points = LandmarkPredictor().points(photo, box)
    canvas = cv2.cvtColor(photo, cv2.COLOR_GRAY2BGR)
    scores = {"angry": 0.0, "happy": 1.0, "sad": 0.0, "surprise": 0.0, "neutral": 0.0}
    draw_face(canvas, box, emotion="happy", confidence=1.0, scores=scores, landmarks=points)
    coloured = (np.ptp(canvas.astype(int), axis=2) > 40).nonzero()
    assert len(coloured[0]) > 500
    assert coloured[1].min() >= box.x - 3
    assert coloured[0].max() <= max(box.y + box.height, points[:, 1].max()) + 4
    assert len({colour for _, colour, _ in REGIONS.values()}) >= 5


def test_faces_at_any_edge_can_be_drawn() -> None:
    for box in (Box(-20, -20, 60, 60), Box(90, 90, 60, 60), Box(0, 0, 1, 1), Box(-500, 10, 40, 40)):
        draw_face(np.zeros((100, 100, 3), np.uint8), box, emotion="uncertain", confidence=0.3, scores={})


def test_a_predictor_that_is_none_is_refused_in_one_line(tmp_path: Path) -> None:
    for content in (b"", b"no predictor at all", bytes(1000)):
        path = tmp_path / "points.dat"
        path.write_bytes(content)
        with pytest.raises(LandmarkModelError, match=r"points\.dat: not a dlib shape predictor"):
            LandmarkPredictor(path)
    with pytest.raises(LandmarkModelError, match="no such landmark predictor"):
        LandmarkPredictor(tmp_path / "absent.dat")


def test_a_damaged_predictor_of_ours_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from edge.faces import landmarks

    shipped = landmarks.shipped_landmarks()
    copy = tmp_path / shipped.name
    damaged = bytearray(shipped.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    copy.write_bytes(damaged)
    (tmp_path / "manifest.json").write_text(shipped.with_name("manifest.json").read_text())
    monkeypatch.setattr(landmarks, "shipped_landmarks", lambda: copy)
    with pytest.raises(LandmarkModelError, match="damaged"):
        LandmarkPredictor()


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        ("covered.svm", "cannot be read: No such file"),
        ("gradients.npy", "cannot be read: No such file"),
        ("manifest.json", "cannot be read"),
        ("", "damaged"),
    ],
)
def test_a_missing_or_damaged_detector_of_covered_faces_is_refused(
    missing: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for file in shipped("covered").iterdir():
        if file.name != missing:
            damage = b"." if file.suffix == ".svm" and not missing else b""
            (tmp_path / file.name).write_bytes(file.read_bytes() + damage)
    monkeypatch.setattr("edge.faces.detector.shipped", lambda _folder: tmp_path)
    with pytest.raises(LandmarkModelError, match=said):
        covered_face_detector()
