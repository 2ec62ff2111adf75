"""Tells faces whose lower half is covered from other candidates for one: a linear model of gradients."""

import cmath

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.faces.landmarks import pose

FACE_PX, MARGIN = 64.0, 0.25
"""Width of a face's box in the view that the model sees, and what is shown on each side of it, in widths."""
CELLS, ORIENTATIONS = 12, 9
"""The view is divided into 12x12 cells of 8 pixels."""
FEATURES = CELLS * CELLS * ORIENTATIONS
_SIDE_PX = round(FACE_PX * (1 + 2 * MARGIN))
_STEP = np.array([[-1, 0, 1]], np.float32)
_FLAT, _MOST = 0.02, 0.4
"""Added to a cell's energy, so that noise on a wall stays small; the most that one orientation counts."""


class CoveredFaceModel:
    """A linear model of `gradients`, trained by ``python -m train covered``.

    ``weights``: float32 [FEATURES + 1], the last is the bias.

    Raises `ValueError`: they are not so many.
    """

    def __init__(self, weights: NDArray[np.float32]) -> None:
        if weights.shape != (FEATURES + 1,):
            raise ValueError(f"expected {FEATURES + 1} weights, found {weights.shape}")
        self._weights, self._bias = weights[:-1].astype(np.float32), float(weights[-1])

    def score(self, luma: NDArray[np.uint8], landmarks: NDArray[np.float32]) -> float:
        """Return how much a face with these landmarks, float32 [68, 2], looks like one: log-odds, 0 is in doubt."""
        view = upright(luma, landmarks)
        both = gradients(view) + gradients(np.ascontiguousarray(view[:, ::-1]))
        return float(both @ self._weights) / 2 + self._bias


def upright(luma: NDArray[np.uint8], landmarks: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Cut a face out of ``luma``, uint8 [height, width], as its brows, nose and eyes lie: uint8 [96, 96]."""
    middle, turn = pose(landmarks)
    scale = FACE_PX / max(1.0, abs(turn)) * cmath.exp(-1j * cmath.phase(turn))
    shift = complex(_SIDE_PX - 1, _SIDE_PX - 1) / 2 - scale * middle
    matrix = np.array([[scale.real, -scale.imag, shift.real], [scale.imag, scale.real, shift.imag]])
    size = (_SIDE_PX, _SIDE_PX)
    return np.asarray(cv2.warpAffine(luma, matrix, size, borderMode=cv2.BORDER_REPLICATE), np.uint8)


def gradients(view: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return a histogram of the gradients' orientations for each cell, float32 [FEATURES], whatever the light.

    Dalal and Triggs: Histograms of oriented gradients for human detection (2005), each cell by the energy around it.
    """
    root = np.sqrt(view.astype(np.float32) + 1)
    across, down = (cv2.filter2D(root, cv2.CV_32F, kernel) for kernel in (_STEP, _STEP.T))
    strength, angle = cv2.cartToPolar(across, down)
    place = angle * (ORIENTATIONS / np.pi) % ORIENTATIONS
    cells = np.empty((ORIENTATIONS, CELLS, CELLS), np.float32)
    for orientation in range(ORIENTATIONS):
        off = np.abs(place - orientation)
        share = np.maximum(0, 1 - np.minimum(off, ORIENTATIONS - off))
        cells[orientation] = cv2.resize(strength * share, (CELLS, CELLS), interpolation=cv2.INTER_AREA)
    energy = cv2.blur((cells**2).sum(axis=0), (3, 3), borderType=cv2.BORDER_REPLICATE)
    return np.asarray(np.minimum(cells / np.sqrt(ORIENTATIONS * (energy + _FLAT)), _MOST), np.float32).ravel()
