"""Finds the faces of still pictures, which have time: small, blurred, tilted, sideways and upside-down ones, too."""

import math
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.faces.blazeface import BlazeFaceSearch
from edge.faces.detector import (
    CANDIDATE_SCORE,
    NEVER_SCORE,
    SAME_FACE_IOU,
    FaceDetector,
    without_doubles,
)
from edge.faces.landmarks import LandmarkPredictor, tilt_deg
from edge.faces.quality import is_blurred
from edge.faces.search import SEARCH_PIXELS
from edge.faces.types import Box, Detection, Treatment
from edge.faces.views import angle_deg, turned_view
from edge.faces.vouching import is_face

STILL_PIXELS = 4_000_000
"""A still picture is doubled or shrunk to about this many pixels before it is searched: that finds faces from 20 px in
a small picture, and takes a second or so for a large one."""
SMALLEST_FACE_PX = 38
"""The detector finds faces from this width in a picture that is doubled once; on a strip of one pixel it fails.
Smaller ones must score 0: patterns of 20 pixels are vouched for too easily."""
SMALLEST_COVERED_PX, SMALL_COVERED_SCORE = 36, 0.4
"""Covered faces of fewer pixels must score this, and are not believed where the picture is blurred."""
TURNS_DEG = (270, 90, 180, 315, 45)
"""How a picture in which nobody was found upright is turned clockwise, one after the other."""
LONGEST_SIDES = 4
"""Width over height, or the other way, of a picture that is turned askew."""
TURNED_FACE_SCORE = 0.8
"""Least score of the best face in a turned picture, which is doubled once at most: further searches find further false
faces. Turned, dlib's dogs.jpg has one with 0.59, doubled twice one with 0.97."""
CLEARLY_BETTER = 0.5
"""How much higher it must score than the best face of the upright picture."""
TILT_DEG = 25.0
"""Where a face is tilted by more, the picture is searched turned back by that: its other faces may be, too."""


class StillSearch:
    """Searches whole pictures, or parts of them, for faces that are vouched for."""

    def __init__(
        self, detector: FaceDetector, predictor: LandmarkPredictor, proposals: BlazeFaceSearch | None = None
    ) -> None:
        self._detector, self._predictor, self._proposals = detector, predictor, proposals

    def find(self, luma: NDArray[np.uint8], *, whole_pixels: int) -> list[Detection]:
        """Return the faces of a picture, uint8 [height, width], the largest first.

        ``whole_pixels`` is the size of the picture that this is a part of: it limits how closely is searched.
        """
        found = self._search(luma, 0, whole_pixels, most_doublings=2)
        upright = _best(found)  # the detectors see weak ones upside down, too
        plain = _best([seen for seen in found if seen.treatment is not Treatment.COVERED])
        for degrees in () if plain >= TURNED_FACE_SCORE else _turns(luma.shape):
            turned = self._search(luma, degrees, whole_pixels, most_doublings=1)
            if _best(turned) >= max(TURNED_FACE_SCORE, upright + CLEARLY_BETTER):
                return self._with_tilted(luma, turned, whole_pixels)
        return self._with_tilted(luma, found, whole_pixels)

    def _with_tilted(self, luma: NDArray[np.uint8], found: list[Detection], whole_pixels: int) -> list[Detection]:
        tilts = [(seen.score, tilt_deg(self._predictor.points_of(luma, seen)), seen.turned_deg) for seen in found]
        tilted = [(score, tilt) for score, tilt, turned in tilts if angle_deg(tilt, turned) >= TILT_DEG]
        if not tilted or len(_turns(luma.shape)) < len(TURNS_DEG):
            return found
        upright = self._search(luma, -max(tilted)[1], whole_pixels, most_doublings=1)
        # One that is upright in the turned picture has the better box.
        return _by_size(without_doubles([replace(seen, score=seen.score + 1) for seen in upright] + found))

    def _search(
        self, luma: NDArray[np.uint8], degrees: float, whole_pixels: int, *, most_doublings: int
    ) -> list[Detection]:
        """Search a picture turned clockwise, as closely as the pixels of the whole allow."""
        doublings = 0
        while doublings < most_doublings and whole_pixels * 4 ** (doublings + 1) <= STILL_PIXELS:
            doublings += 1
        scale = min(1.0, (STILL_PIXELS / whole_pixels) ** 0.5)
        view = turned_view(_scaled(luma, scale), degrees)
        found = self._detector.find(view.luma, upsample=doublings, least_score=CANDIDATE_SCORE)
        blurred = is_blurred(_scaled(luma, min(1.0, (SEARCH_PIXELS / whole_pixels) ** 0.5)))
        if blurred:
            found += self._detector.find_blurred(view.luma, upsample=doublings)
        if self._proposals is not None:
            found += self._proposals.find(view.luma)
        faces = without_doubles([seen for seen in found if self._is_face(view.luma, seen)])
        if not degrees or abs(degrees) % 90:
            covered = self._detector.find_covered(view.luma, upsample=doublings)
            least = math.inf if blurred else SMALL_COVERED_SCORE
            covered = [
                seen
                for seen in covered
                if (seen.box.width >= SMALLEST_COVERED_PX or seen.score >= least)
                and all(seen.box.iou(face.box) < SAME_FACE_IOU for face in faces)
            ]
            faces += without_doubles(
                [seen for seen in covered if is_face(view.luma, seen, self._detector, self._predictor)]
            )
        return _by_size(
            [replace(seen, box=_enlarged(view.box_in_picture(seen.box), scale), turned_deg=-degrees) for seen in faces]
        )

    def _is_face(self, luma: NDArray[np.uint8], seen: Detection) -> bool:
        is_clear = seen.score >= 0 or seen.box.width >= SMALLEST_FACE_PX
        return is_clear and is_face(luma, seen, self._detector, self._predictor)


def _best(found: list[Detection]) -> float:
    return max((seen.score for seen in found), default=NEVER_SCORE)


def _turns(shape: tuple[int, ...]) -> tuple[float, ...]:
    """Return how a picture is turned: a narrow one not at all, a long one not askew, as that takes a large canvas."""
    if min(shape) < SMALLEST_FACE_PX:
        return ()
    return TURNS_DEG if max(shape) <= LONGEST_SIDES * min(shape) else TURNS_DEG[:3]


def _scaled(luma: NDArray[np.uint8], scale: float) -> NDArray[np.uint8]:
    height, width = luma.shape
    if scale == 1:
        return np.ascontiguousarray(luma)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(luma, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _enlarged(box: Box, scale: float) -> Box:
    return Box(*(round(value / scale) for value in box))


def _by_size(found: list[Detection]) -> list[Detection]:
    return sorted(found, key=lambda seen: seen.box.width, reverse=True)
