"""Views of a picture: turned and scaled, so that a face stands upright in them, with the way back to the picture."""

import cmath
import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.faces.types import Box

CORNER_LUMA = 110
"""Gray of the corners that a turned picture gains."""


def angle_deg(a: float, b: float) -> float:
    """Return the angle between two directions, degrees: 0..180."""
    return abs((a - b + 180) % 360 - 180)


# Points are complex numbers here, x + iy: y grows downwards, so that a turn by exp(i angle) is clockwise.


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """A picture, or a part of one, as it looks turned and scaled."""

    luma: NDArray[np.uint8]
    """uint8 [height, width]"""
    turn: complex
    """from a pixel of the picture to one of the view: turn * p + shift"""
    shift: complex

    def points_in_picture(self, points: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return points [n, 2] of the view in pixels of the picture, float32."""
        placed = (np.ascontiguousarray(points, np.float32).view(np.complex64)[:, 0] - self.shift) / self.turn
        return np.asarray(np.stack([placed.real, placed.imag], axis=1), np.float32)

    def box_in_picture(self, box: Box) -> Box:
        """Return the upright box in the picture with the same middle and as large as one of the view."""
        middle = (_middle(box) - self.shift) / self.turn
        return _box(middle, box.width / abs(self.turn), box.height / abs(self.turn))

    def box_in_view(self, box: Box) -> Box:
        """Return the box in the view with the same middle and as large as one of the picture."""
        middle = _middle(box) * self.turn + self.shift
        return _box(middle, box.width * abs(self.turn), box.height * abs(self.turn))


def turned_view(luma: NDArray[np.uint8], degrees: float) -> View:
    """Turn a whole picture, uint8 [height, width], clockwise by any angle; nothing is cut off."""
    height, width = luma.shape
    turn = cmath.rect(1, math.radians(degrees))
    if degrees % 90 == 0:
        turned = np.ascontiguousarray(np.rot90(luma, -round(degrees / 90)))
    else:
        across = abs(width * turn.real) + abs(height * turn.imag)
        down = abs(width * turn.imag) + abs(height * turn.real)
        shape = math.ceil(down), math.ceil(across)
        turned = _warped(luma, turn, _centred(luma.shape, turn, shape), shape, border=CORNER_LUMA)
    return View(turned, turn, _centred(luma.shape, turn, turned.shape))


def face_view(luma: NDArray[np.uint8], box: Box, *, turned_deg: float, margin: float, face_px: float) -> View:
    """Cut out the surroundings of a face, turned upright and scaled.

    ``luma``: uint8 [height, width]; beyond its edge its last pixels are repeated.
    ``turned_deg``: by how much the face lies turned clockwise.
    ``margin``: on each side of the box, in widths of it.
    ``face_px``: width of the box in the view.
    """
    scale = face_px / max(box.width, 1)
    middle = _middle(box)
    reach = math.ceil(box.width * (0.5 + margin) * 1.5)  # turned, its corners reach further
    height, width = luma.shape
    left, top = (min(max(0, round(at) - reach), size - 1) for at, size in ((middle.real, width), (middle.imag, height)))
    part = luma[top : max(top + 1, round(middle.imag) + reach), left : max(left + 1, round(middle.real) + reach)]
    step, half = 1.0, complex(0.5, 0.5)
    if scale < 0.8:  # a linear warp alone would skip pixels
        size = (max(1, round(part.shape[1] * scale)), max(1, round(part.shape[0] * scale)))
        step = size[0] / part.shape[1]
        part = np.asarray(cv2.resize(part, size, interpolation=cv2.INTER_AREA), np.uint8)
    # From the picture to the scaled part: p -> p * step + place. Pixel centres lie at half pixels.
    place = (half - complex(left, top)) * step - half
    side = max(1, round(face_px * (1 + 2 * margin)))
    turn = cmath.rect(scale / step, -math.radians(turned_deg))
    shift = complex(side - 1, side - 1) / 2 - turn * (middle * step + place)
    return View(_warped(part, turn, shift, (side, side)), turn * step, shift + turn * place)


def _centred(shape: tuple[int, ...], turn: complex, view: tuple[int, ...]) -> complex:
    """Return the shift that puts the middle of a picture [height, width] onto the middle of its view."""
    return complex(view[1] - 1, view[0] - 1) / 2 - turn * complex(shape[1] - 1, shape[0] - 1) / 2


def _warped(
    luma: NDArray[np.uint8], turn: complex, shift: complex, shape: tuple[int, ...], border: int | None = None
) -> NDArray[np.uint8]:
    matrix = np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]])
    mode = cv2.BORDER_REPLICATE if border is None else cv2.BORDER_CONSTANT
    warped = cv2.warpAffine(
        luma, matrix, (shape[1], shape[0]), flags=cv2.INTER_LINEAR, borderMode=mode, borderValue=(border or 0,)
    )
    return np.asarray(warped, np.uint8)


def _middle(box: Box) -> complex:
    return complex(box.x + (box.width - 1) / 2, box.y + (box.height - 1) / 2)


def _box(middle: complex, width: float, height: float) -> Box:
    left, top = middle.real - (width - 1) / 2, middle.imag - (height - 1) / 2
    return Box(round(left), round(top), max(1, round(width)), max(1, round(height)))
