"""The face chip: the 48x48 luma picture that every network sees, in training and on the device.

A similarity transform puts the centres of eyes and mouth where they are on average in FER2013's pictures, as measured
by ``benchmarks/chip_geometry.py`` (docs/faces.md).
"""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

CHIP_PX = 48
CHIP_VERSION = 1
"""Grows with any change of geometry or resampling: a bundle trained for another version is refused."""

TARGET = np.array([(14.85, 18.31), (31.84, 18.07), (23.54, 37.17)])
"""Mean left-eye, right-eye and mouth centres of FER2013, in pixels of 48 (left and right as in the picture)."""

_LEFT_EYE, _RIGHT_EYE, _MOUTH = slice(36, 42), slice(42, 48), slice(48, 60)
_ANCHOR_WEIGHTS = np.zeros((3, 68))
for _row, _part in enumerate((_LEFT_EYE, _RIGHT_EYE, _MOUTH)):
    _ANCHOR_WEIGHTS[_row, _part] = 1 / (_part.stop - _part.start)
_TARGET_MIDDLE = complex(*TARGET.mean(axis=0))
_TARGET_CENTRED = [complex(*point) - _TARGET_MIDDLE for point in TARGET]
_CORNERS = (0j, complex(CHIP_PX, 0), complex(CHIP_PX, CHIP_PX), complex(0, CHIP_PX))


def face_chip(luma: NDArray[np.uint8], landmarks: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Cut one face out of a frame.

    Parameters
    ----------
    luma
        uint8 [height, width].
    landmarks
        [68, 2] in pixels of ``luma``. The face may reach over the edge, whose pixels are then repeated.

    Returns
    -------
    uint8 [48, 48].
    """
    turn, shift = _similarity(landmarks)
    matrix = _matrix(turn, shift)
    if abs(turn) < 1:
        luma, matrix = _shrink(luma, turn, shift)
    chip = cv2.warpAffine(luma, matrix, (CHIP_PX, CHIP_PX), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(chip, dtype=np.uint8)


def correlation(chip: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    """Correlation of two chips, uint8 [48, 48]: -1..1, whatever their light and contrast.

    0 where one of them has but one gray.
    """
    a, b = chip.ravel().astype(np.float32), other.ravel().astype(np.float32)
    a -= a.mean()
    b -= b.mean()
    spread = float(a @ a) * float(b @ b)
    return float(a @ b) / spread**0.5 if spread > 0 else 0.0


def anchor_points(landmarks: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the centres of left eye, right eye and mouth, [3, 2], of 68 landmarks."""
    return _ANCHOR_WEIGHTS @ landmarks


# Points are complex numbers here, and a similarity is p -> turn * p + shift: for three points numpy takes ten times as
# long as plain Python, and its linear algebra wakes threads that wait by spinning.


def _similarity(landmarks: NDArray[np.float32]) -> tuple[complex, complex]:
    source = [complex(x, y) for x, y in anchor_points(landmarks).tolist()]
    middle = sum(source) / 3
    spread = sum(abs(point - middle) ** 2 for point in source)
    turn = 1 + 0j
    if spread > 0:
        turn = sum((s - middle).conjugate() * t for s, t in zip(source, _TARGET_CENTRED, strict=True)) / spread
    if abs(turn) < 1e-6:
        turn = 1 + 0j
    return turn, _TARGET_MIDDLE - turn * middle


def _matrix(turn: complex, shift: complex, step: tuple[float, float] = (1.0, 1.0)) -> NDArray[np.float64]:
    across, down = step
    return np.array(
        [[turn.real * across, -turn.imag * down, shift.real], [turn.imag * across, turn.real * down, shift.imag]]
    )


def _shrink(luma: NDArray[np.uint8], turn: complex, shift: complex) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Scale the face's surroundings down by averaging: a linear warp alone would skip pixels, and noise flicker."""
    reach = [(corner - shift) / turn for corner in _CORNERS]
    across, down = [point.real for point in reach], [point.imag for point in reach]
    height, width = luma.shape
    left, top = _clamp(math.floor(min(across)) - 2, 0, width - 1), _clamp(math.floor(min(down)) - 2, 0, height - 1)
    right = _clamp(math.ceil(max(across)) + 2, left + 1, width)
    bottom = _clamp(math.ceil(max(down)) + 2, top + 1, height)
    scale = abs(turn)
    size = (max(1, round((right - left) * scale)), max(1, round((bottom - top) * scale)))
    small = cv2.resize(luma[top:bottom, left:right], size, interpolation=cv2.INTER_AREA)
    # Pixel centres: x_frame = (x_small + 0.5) * step - 0.5 + left
    step = ((right - left) / size[0], (bottom - top) / size[1])
    offset = complex(0.5 * step[0] - 0.5 + left, 0.5 * step[1] - 0.5 + top)
    return np.asarray(small, np.uint8), _matrix(turn, turn * offset + shift, step)


def _clamp(value: int, least: int, most: int) -> int:
    return min(max(value, least), most)
