import hashlib
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge.faces.chip import CHIP_PX, TARGET, anchor_points, face_chip


def landmarks_at(left: tuple[float, float], right: tuple[float, float], mouth: tuple[float, float]) -> NDArray[Any]:
    points = np.zeros((68, 2), np.float32)
    points[36:42], points[42:48], points[48:60] = left, right, mouth
    return points


def face_at(x: float, y: float, scale: float, angle_deg: float = 0.0) -> NDArray[Any]:
    """68 points whose anchors are the chip's, scaled, turned and moved."""
    turn = np.deg2rad(angle_deg)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    moved = TARGET @ rotation.T * scale + (x, y)
    return landmarks_at(*(tuple(p) for p in moved))


@given(st.floats(-20, 20), st.floats(-20, 20), st.floats(1, 12), st.floats(-80, 80))
def test_chip_is_the_same_for_any_place_size_and_turn(x: float, y: float, scale: float, angle_deg: float) -> None:
    noise = np.random.default_rng(3).integers(0, 256, (80, 80)).astype(np.uint8)
    drawn = cv2.GaussianBlur(noise, (0, 0), 4)
    drawn = cv2.normalize(drawn, None, 0, 255, cv2.NORM_MINMAX)  # what the chip shows is its middle
    turn = np.deg2rad(angle_deg)
    rotation = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    place = (700 + x, 700 + y) - rotation @ (24, 24)
    matrix = np.hstack([rotation, (place - rotation @ (16, 16))[:, None]])
    frame = np.asarray(cv2.warpAffine(drawn, matrix, (1400, 1400)), np.uint8)
    chip = face_chip(frame, face_at(float(place[0]), float(place[1]), scale, angle_deg))
    assert np.abs(chip.astype(int) - drawn[16:64, 16:64]).mean() < 3


@pytest.mark.parametrize("scale", [0.7, 1.0, 2.0, 3.7, 9.0])
def test_chip_has_eyes_and_mouth_on_target(scale: float) -> None:
    luma = np.full((600, 640), 200, np.uint8)
    points = face_at(60, 40, scale)
    dots = np.rint(anchor_points(points))
    for x, y in dots.astype(int).tolist():
        cv2.circle(luma, (x, y), max(1, round(2.2 * scale)), 0, -1)
    chip = face_chip(luma, points).astype(float)
    assert chip.shape == (CHIP_PX, CHIP_PX)
    for x, y in (dots - (60, 40)) / scale:
        top, left = round(y) - 5, round(x) - 5
        dark = 200 - chip[top : top + 11, left : left + 11]
        rows, columns = np.mgrid[top : top + 11, left : left + 11]
        assert (columns * dark).sum() / dark.sum() == pytest.approx(x, abs=0.4)
        assert (rows * dark).sum() / dark.sum() == pytest.approx(y, abs=0.4)
        assert min(np.hypot(*(TARGET - (x, y)).T)) < 1


def test_chip_averages_a_fine_pattern() -> None:
    luma = np.zeros((800, 800), np.uint8)
    luma[::2, ::2] = luma[1::2, 1::2] = 255
    chip = face_chip(luma, face_at(100, 100, 10.0))
    assert chip.std() < 12
    assert chip.mean() == pytest.approx(127.5, abs=4)


@pytest.mark.parametrize("at", [(-60, -60), (600, 440), (-1000, 0), (5000, 5000)])
def test_chip_of_a_face_over_the_edge_of_the_frame(at: tuple[int, int]) -> None:
    luma = np.full((480, 640), 90, np.uint8)
    assert (face_chip(luma, face_at(*at, scale=3.0)) == 90).all()


PATTERN = (np.add.outer(np.arange(700) ** 2 // 7, np.arange(900) * 13) + np.outer(np.arange(700), np.arange(900))) % 251
CHIPS = {
    "small": (face_at(300.3, 200.7, 0.6, 7), "5413792d31c44a75"),
    "as it is": (face_at(300.3, 200.7, 1.0, -4), "216927a6451d7f8c"),
    "large": (face_at(250.1, 180.9, 5.3, 11), "c227d5fce6fef0ec"),
    "over the edge": (face_at(-40.5, 600.2, 2.2, -31), "e65c1ed9a5052c78"),
}


@pytest.mark.parametrize("name", CHIPS)
def test_chip_is_the_same_with_any_opencv(name: str) -> None:
    """Recorded with OpenCV 4.11 on x86_64. On aarch64 averaging may round one gray level otherwise."""
    landmarks, due = CHIPS[name]

    chip = face_chip(PATTERN.astype(np.uint8), landmarks)

    assert hashlib.sha256(chip.tobytes()).hexdigest()[:16] == due


@pytest.mark.parametrize("width", [40_000, 70_000])
def test_chip_of_a_very_wide_picture(width: int) -> None:
    luma = np.zeros((300, width), np.uint8)
    luma[:, width - 300 :] = 90
    assert (face_chip(luma, face_at(width - 200.0, 100, 0.8)) == 90).all()


def test_chip_of_landmarks_that_are_one_point() -> None:
    chip = face_chip(np.full((1, 1), 7, np.uint8), np.zeros((68, 2), np.float32))
    assert chip.shape == (CHIP_PX, CHIP_PX)
