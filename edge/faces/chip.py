"""The face chip: the 48x48 luma picture that every network sees, in training and on the device.

A similarity transform puts the eye centres and the mouth centre where FER2013's crops have them. The target is a
measurement, not a taste: ``benchmarks/chip_geometry.py`` makes it, ``docs/faces.md`` keeps it with its date.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

CHIP_PX = 48
CHIP_VERSION = 1
"""Grows with any change of geometry or resampling: a bundle trained for another version is refused."""

TARGET = np.array([(14.85, 18.31), (31.84, 18.07), (23.54, 37.17)])
"""Mean left-eye, right-eye and mouth centres of FER2013, in pixels of 48 (left and right as in the picture)."""

_LEFT_EYE, _RIGHT_EYE, _MOUTH = slice(36, 42), slice(42, 48), slice(48, 60)


def face_chip(luma: NDArray[np.uint8], landmarks: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Cut one face.

    Parameters
    ----------
    luma
        uint8 [height, width].
    landmarks
        [68, 2] in pixels of ``luma``; the face may reach over the edge, the edge's pixels are repeated there.

    Returns
    -------
    uint8 [48, 48].
    """
    matrix = chip_transform(landmarks)
    scale = float(np.hypot(matrix[0, 0], matrix[0, 1]))
    if scale < 1:
        luma, matrix = _shrink(luma, matrix, scale)
    chip = cv2.warpAffine(luma, matrix, (CHIP_PX, CHIP_PX), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(chip, dtype=np.uint8)


def chip_transform(landmarks: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the 2x3 matrix from frame to chip pixels: least squares over three points, scale and turn only."""
    points = anchor_points(landmarks)
    source = points[:, 0] + 1j * points[:, 1]
    target = TARGET[:, 0] + 1j * TARGET[:, 1]
    centred = source - source.mean()
    spread = float((np.abs(centred) ** 2).sum())
    turn = (np.conj(centred) @ (target - target.mean())) / spread if spread > 0 else 1.0 + 0j
    if abs(turn) < 1e-6:
        turn = 1.0 + 0j
    shift = target.mean() - turn * source.mean()
    return np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]])


def anchor_points(landmarks: NDArray[np.float32]) -> NDArray[np.float64]:
    """Left-eye, right-eye and mouth centres [3, 2] of 68 points."""
    means = [landmarks[part].mean(axis=0) for part in (_LEFT_EYE, _RIGHT_EYE, _MOUTH)]
    return np.array(means, dtype=np.float64)


def _shrink(
    luma: NDArray[np.uint8], matrix: NDArray[np.float64], scale: float
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Average the chip's neighbourhood down first: a linear warp alone would skip pixels, and noise would flicker."""
    corners = np.array([(0, 0), (CHIP_PX, 0), (CHIP_PX, CHIP_PX), (0, CHIP_PX)], dtype=np.float64)
    inverse = np.linalg.inv(matrix[:, :2])
    reach = (corners - matrix[:, 2]) @ inverse.T
    height, width = luma.shape
    left, top = (int(v) for v in np.clip(np.floor(reach.min(axis=0)) - 2, 0, (width - 1, height - 1)))
    right, bottom = (int(v) for v in np.clip(np.ceil(reach.max(axis=0)) + 2, (left + 1, top + 1), (width, height)))
    size = (max(1, round((right - left) * scale)), max(1, round((bottom - top) * scale)))
    small = cv2.resize(luma[top:bottom, left:right], size, interpolation=cv2.INTER_AREA)
    # Pixel centres: x_frame = (x_small + 0.5) * step - 0.5 + left
    step = np.array([(right - left) / size[0], (bottom - top) / size[1]])
    offset = 0.5 * step - 0.5 + np.array([left, top])
    linear = matrix[:, :2] * step
    return np.asarray(small, np.uint8), np.column_stack([linear, matrix[:, :2] @ offset + matrix[:, 2]])
