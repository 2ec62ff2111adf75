"""The face chip: the 48x48 luma picture that every network sees, in training and on the device.

A similarity transform puts the centres of eyes and mouth where they are on average in FER2013's pictures, as measured
by ``benchmarks/chip_geometry.py`` (docs/faces.md).
"""

import math
from typing import TypeVar

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
_PIXELS = np.arange(CHIP_PX, dtype=np.float64)
_CORNERS = (0j, complex(CHIP_PX, 0), complex(CHIP_PX, CHIP_PX), complex(0, CHIP_PX))


def face_chip(luma: NDArray[np.uint8], landmarks: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Cut one face out of a frame.

    ``luma``: uint8 [height, width].
    ``landmarks``: [68, 2] in pixels of ``luma``. The face may reach over the edge, whose pixels are then repeated.
    Returns uint8 [48, 48].
    """
    turn, shift = _similarity(landmarks)
    return _warp(*_surroundings(luma, turn, shift))


def looks(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return what two pictures of one shape, uint8, are compared by, whatever their light and contrast.

    ``looks(a) @ looks(b)`` is their correlation, -1..1, and 0 where one of them has but one gray. float32, flat.
    """
    levels = picture.ravel().astype(np.float32)
    levels -= levels.mean()
    size = float(levels @ levels) ** 0.5
    if size > 0:
        levels /= size
    return levels


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


_Number = TypeVar("_Number", int, float)
_Matrix = tuple[float, float, float, float, float, float]
"""From a point in the picture to its place in the chip: x' = [0] x + [1] y + [2], y' = [3] x + [4] y + [5]."""


def _surroundings(luma: NDArray[np.uint8], turn: complex, shift: complex) -> tuple[NDArray[np.uint8], _Matrix]:
    """Cut out what the chip shows; scale a large face down by averaging, as a linear warp would skip pixels."""
    reach = [(corner - shift) / turn for corner in _CORNERS]
    across, down = [point.real for point in reach], [point.imag for point in reach]
    height, width = luma.shape
    left, top = _clamp(math.floor(min(across)) - 2, 0, width - 1), _clamp(math.floor(min(down)) - 2, 0, height - 1)
    right = _clamp(math.ceil(max(across)) + 2, left + 1, width)
    bottom = _clamp(math.ceil(max(down)) + 2, top + 1, height)
    part, scale = luma[top:bottom, left:right], min(1.0, abs(turn))
    size = (max(1, round((right - left) * scale)), max(1, round((bottom - top) * scale)))
    if scale < 1:
        part = np.asarray(cv2.resize(part, size, interpolation=cv2.INTER_AREA), np.uint8)
    # Pixel centres: x_frame = (x_small + 0.5) * step - 0.5 + left
    step_x, step_y = (right - left) / size[0], (bottom - top) / size[1]
    place = turn * complex(0.5 * step_x - 0.5 + left, 0.5 * step_y - 0.5 + top) + shift
    return part, (
        turn.real * step_x,
        -turn.imag * step_y,
        place.real,
        turn.imag * step_x,
        turn.real * step_y,
        place.imag,
    )


def _warp(picture: NDArray[np.uint8], matrix: _Matrix) -> NDArray[np.uint8]:
    """Sample a picture linearly at the chip's pixels, in steps of 1/32 pixel.

    The result is that of `cv2.warpAffine` of OpenCV 4.11 (``WarpAffineInvoker`` in imgwarp.cpp), which OpenCV 5 rounds
    otherwise, and that moves scores by up to 0.05. `cv2.remap` with integer maps is the same in both.
    """
    a, b, c, d, e, f = matrix
    size = 1 / (a * e - b * d)
    a, b, d, e = e * size, -b * size, -d * size, a * size
    across, down = _steps(a, b, -a * c - b * f), _steps(d, e, -d * c - e * f)
    whole = np.empty((CHIP_PX, CHIP_PX, 2), np.int16)
    np.right_shift(across, 5, out=whole[:, :, 0], casting="unsafe")
    np.right_shift(down, 5, out=whole[:, :, 1], casting="unsafe")
    parts = ((down & 31) << 5 | across & 31).astype(np.uint16)
    chip = cv2.remap(picture, whole, parts, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(chip, dtype=np.uint8)


def _steps(by_column: float, by_row: float, start: float) -> NDArray[np.int32]:
    """Coordinates of all chip pixels in the picture, in 1/32 pixel, [48, 48]; at most 32,767 pixels."""
    # Each is rounded to 1/1024 pixel by itself; the 16 are half of the step that the shift cuts off.
    columns = np.rint(_PIXELS * (_clamp(by_column, -170.0, 170.0) * 1024))
    rows = np.rint(_PIXELS * (_clamp(by_row, -170.0, 170.0) * 1024) + _clamp(start, -8000.0, 8000.0) * 1024) + 16
    steps: NDArray[np.int32] = (rows.astype(np.int32)[:, None] + columns.astype(np.int32)) >> 5
    return steps


def _clamp(value: _Number, least: _Number, most: _Number) -> _Number:
    return min(max(value, least), most)
