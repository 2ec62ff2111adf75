from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge.faces.chip import CHIP_PX, TARGET, anchor_points, chip_transform, face_chip


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


@given(st.floats(-200, 400), st.floats(-200, 400), st.floats(0.4, 12), st.floats(-80, 80))
def test_any_place_size_and_turn_of_a_face_gives_the_same_chip_points(
    x: float, y: float, scale: float, angle_deg: float
) -> None:
    points = face_at(x, y, scale, angle_deg)
    matrix = chip_transform(points)
    assert anchor_points(points) @ matrix[:, :2].T + matrix[:, 2] == pytest.approx(TARGET, abs=0.05)


@pytest.mark.parametrize("scale", [0.7, 1.0, 2.0, 3.7, 9.0])
def test_the_eyes_of_a_drawn_face_land_on_target(scale: float) -> None:
    luma = np.full((600, 640), 200, np.uint8)
    points = face_at(60, 40, scale)
    dots = np.rint(anchor_points(points))
    for x, y in dots.astype(int).tolist():
        cv2.circle(luma, (x, y), max(1, round(2.2 * scale)), 0, -1)
    chip = face_chip(luma, points).astype(float)
    assert chip.shape == (CHIP_PX, CHIP_PX)
    matrix = chip_transform(points)
    for x, y in dots @ matrix[:, :2].T + matrix[:, 2]:
        top, left = round(y) - 5, round(x) - 5
        dark = 200 - chip[top : top + 11, left : left + 11]
        rows, columns = np.mgrid[top : top + 11, left : left + 11]
        assert (columns * dark).sum() / dark.sum() == pytest.approx(x, abs=0.4)
        assert (rows * dark).sum() / dark.sum() == pytest.approx(y, abs=0.4)
        assert min(np.hypot(*(TARGET - (x, y)).T)) < 1


def test_a_fine_pattern_is_averaged_not_sampled() -> None:
    luma = np.zeros((800, 800), np.uint8)
    luma[::2, ::2] = luma[1::2, 1::2] = 255
    chip = face_chip(luma, face_at(100, 100, 10.0))
    assert chip.std() < 12
    assert chip.mean() == pytest.approx(127.5, abs=4)


@pytest.mark.parametrize("at", [(-60, -60), (600, 440), (-1000, 0), (5000, 5000)])
def test_a_face_over_the_edge_of_the_frame_still_gives_a_chip(at: tuple[int, int]) -> None:
    luma = np.full((480, 640), 90, np.uint8)
    assert (face_chip(luma, face_at(*at, scale=3.0)) == 90).all()


def test_points_that_fell_into_one_give_a_chip_and_no_crash() -> None:
    chip = face_chip(np.full((1, 1), 7, np.uint8), np.zeros((68, 2), np.float32))
    assert chip.shape == (CHIP_PX, CHIP_PX)
