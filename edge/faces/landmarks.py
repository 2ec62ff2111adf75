"""The 68 landmarks of a face, by the project's own dlib predictor or any other of that kind, and the box they imply."""

import math
from pathlib import Path

import dlib
import numpy as np
from numpy.typing import NDArray

from edge.errors import LandmarkModelError
from edge.faces.quality import sharpened
from edge.faces.shipped import check_hash, shipped
from edge.faces.types import Box, Detection, Treatment
from edge.faces.views import face_view

POINTS = 68
_NOT_JAW = slice(17, 68)
_ONLY_NUMBERS = str.maketrans("", "", "points[]() ")
"""For ``points[(12, 34), (56, 78)]``, which is how dlib writes a list of points."""

_RIGID = slice(17, 48)
"""Brows, nose and eyes: they give the place and size of a head whatever the mouth does."""
# fmt: off
MEAN_SHAPE = np.array([
    (-0.385, -0.284), (-0.328, -0.340), (-0.246, -0.359), (-0.158, -0.350), (-0.078, -0.319),
    (0.078, -0.319), (0.158, -0.350), (0.246, -0.359), (0.328, -0.340), (0.385, -0.284),
    (0.002, -0.219), (0.002, -0.139), (0.002, -0.061), (0.002, 0.021),
    (-0.098, 0.079), (-0.051, 0.095), (0.002, 0.109), (0.051, 0.095), (0.098, 0.079),
    (-0.289, -0.203), (-0.237, -0.234), (-0.175, -0.232), (-0.120, -0.192), (-0.178, -0.182), (-0.240, -0.184),
    (0.120, -0.192), (0.175, -0.232), (0.237, -0.234), (0.289, -0.203), (0.240, -0.184), (0.178, -0.182),
])
# fmt: on
"""Where brows, nose and eyes (points 17 to 47) lie in a box of dlib's detector, from its centre, in widths of the box.
The mean over 332 faces of the landmark set (Helen, AFW) as the shipped predictor sees them, made symmetric; measured on
2026-11-22. A box from it is 1 % off in width on average, and stays within 1 % over 12 rounds of box and landmarks on
one picture."""

VIEW_MARGIN, VIEW_FACE_PX = 0.3, 120.0
"""Shown around a turned or blurred face, in widths of its box, and the width at which it is looked at."""

STEADY_SHIFT = 0.06
"""In widths of the box: landmarks that move more when the box moves are on no face. Measured: docs/faces.md."""
_PROBES = ((0.08, 0.0, 1.0), (-0.08, 0.0, 1.0), (0.0, 0.08, 1.0), (0.0, -0.08, 1.0), (0.0, 0.0, 1.12), (0.0, 0.0, 0.9))
"""Other boxes for the same face: shift in x and y, in widths, and scale."""

_SHAPE = MEAN_SHAPE[:, 0] + 1j * MEAN_SHAPE[:, 1]
_SHAPE_MIDDLE = complex(_SHAPE.mean())
_FIT = ((_SHAPE - _SHAPE_MIDDLE) / float((np.abs(_SHAPE - _SHAPE_MIDDLE) ** 2).sum())).astype(np.complex64)


def shipped_landmarks() -> Path:
    """Return the predictor that ships."""
    return shipped("landmarks") / "landmarks68.dat"


class LandmarkPredictor:
    """Finds the 68 points of a face whose box is known. dlib releases the GIL while it works.

    Raises `LandmarkModelError`: the file is missing, damaged, or predicts another number of points.
    """

    def __init__(self, path: Path | None = None) -> None:
        chosen = path or shipped_landmarks()
        if not chosen.is_file():
            raise LandmarkModelError(
                f"{chosen}: no such landmark predictor; train one with `python -m train landmarks`, "
                "or set `landmarks` to a dlib 68-point .dat"
            )
        if path is None:
            check_hash(chosen)
        try:
            self._predictor = dlib.shape_predictor(str(chosen))
            count = self._predictor(np.zeros((80, 80), np.uint8), dlib.rectangle(0, 0, 79, 79)).num_parts
        except RuntimeError as error:
            raise LandmarkModelError(f"{chosen}: not a dlib shape predictor, or damaged: {error}") from error
        if count != POINTS:
            raise LandmarkModelError(f"{chosen}: predicts {count} points, {POINTS} are needed")

    def points_of(self, luma: NDArray[np.uint8], detection: Detection) -> NDArray[np.float32]:
        """Return the points, float32 [68, 2], of a face as the detector saw it: turned upright, or sharpened."""
        is_sharpened = detection.treatment is Treatment.SHARPENED
        if not is_sharpened and not detection.lies_deg:
            return self.points(luma, detection.box)
        view = face_view(luma, detection.box, turned_deg=detection.lies_deg, margin=VIEW_MARGIN, face_px=VIEW_FACE_PX)
        patch = sharpened(view.luma) if is_sharpened else view.luma
        return view.points_in_picture(self.points(patch, view.box_in_view(detection.box)))

    def points(self, luma: NDArray[np.uint8], box: Box) -> NDArray[np.float32]:
        """Points float32 [68, 2] in pixels of ``luma`` (uint8 [height, width])."""
        shape = self._predictor(luma, dlib.rectangle(box.x, box.y, box.x + box.width - 1, box.y + box.height - 1))
        parts = shape.parts()
        # One text of all points is four times cheaper than 68 objects; where dlib writes another, the objects do.
        written = np.fromstring(str(parts).translate(_ONLY_NUMBERS), dtype=np.float32, sep=",")
        if written.size != 2 * POINTS:
            written = np.array([(p.x, p.y) for p in parts], dtype=np.float32)
        return written.reshape(POINTS, 2)

    def are_steady(self, luma: NDArray[np.uint8], box: Box, *, within: float = STEADY_SHIFT) -> bool:
        """Return whether slightly different boxes give the same landmarks: on a face they do, elsewhere they do not.

        ``within``: how far they move on average at most, in widths of the box. It takes as long as seven
        calls of `points`.
        """
        points = self.points(luma, box)[_NOT_JAW]
        (x, y), total = box.centre, 0.0
        for right, down, scale in _PROBES:
            side = box.width * scale
            left, top = x + right * box.width - side / 2, y + down * box.width - side / 2
            moved = self.points(luma, Box(round(left), round(top), round(side), round(side)))[_NOT_JAW] - points
            total += float(np.hypot(moved[:, 0], moved[:, 1]).mean())
        return total / len(_PROBES) < within * box.width


def pose(landmarks: NDArray[np.float32]) -> tuple[complex, complex]:
    """Return where the box of a face with these landmarks, float32 [68, 2], has its middle, and its width, turned.

    Both as x + iy in pixels, by least squares: a face that lies turned clockwise has the phase of that angle.
    """
    points = np.ascontiguousarray(landmarks[_RIGID]).view(np.complex64)[:, 0]
    turn = complex(np.vdot(_FIT, points))  # the fit sums to zero, so that the points' middle does not matter
    return complex(points.mean()) - turn * _SHAPE_MIDDLE, turn


def box_from_landmarks(landmarks: NDArray[np.float32]) -> Box:
    """Return the box that the detector would give a face with these landmarks, float32 [68, 2] (least squares)."""
    middle, turn = pose(landmarks)
    width = max(1.0, abs(turn))
    side = round(width)
    return Box(round(middle.real - width / 2), round(middle.imag - width / 2), side, side)


def tilt_deg(landmarks: NDArray[np.float32]) -> float:
    """Return by how much a face with these landmarks, float32 [68, 2], lies turned clockwise, -180..180."""
    left, right = landmarks[36:42].mean(axis=0), landmarks[42:48].mean(axis=0)
    return math.degrees(math.atan2(float(right[1] - left[1]), float(right[0] - left[0])))
