"""Search for new faces with BlazeFace: it proposes, dlib's detector vouches."""

import math
from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.faces.detector import CANDIDATE_SCORE, FaceDetector, without_doubles
from edge.faces.quality import is_blurred, is_noisy
from edge.faces.types import Box, Detection, Region, Treatment

SIDE_PX = 192
_CELLS = 48
"""One place to look at for each 4 pixels of the input, in rows."""
LEAST_SCORE = 0.5
"""Least score of a proposal, 0..1: many are false, which dlib's detector refuses. Measured: docs/faces.md."""
LEAST_PX = 25
"""Least width of a proposal: smaller patterns are vouched for too easily. Measured: docs/faces.md."""
EYES_SHARE = 0.414
"""Distance of the eyes in widths of the box that dlib's detector gives a face."""
BOX_SHARE = 0.95
"""Width of that box in widths of BlazeFace's."""
UPRIGHT_DEG = 33.0
"""A face that is tilted by less is looked at as it is."""

_PLACES = (np.arange(_CELLS) + 0.5) / _CELLS
_ANCHORS = np.stack([np.tile(_PLACES, _CELLS), np.repeat(_PLACES, _CELLS)], axis=1).astype(np.float32)

Run = Callable[[NDArray[np.float32]], tuple[NDArray[np.float32], NDArray[np.float32]]]


class BlazeFaceSearch:
    """Searches regions in place of dlib's detector. Not for use by two threads at once.

    ``run``: the network, from pixels float32 [1, 192, 192, 3], -1..1, to boxes and points [2304, 16], logits [2304].
    ``detector``: searches for blurred and turned faces as without it.
    """

    def __init__(self, run: Run, detector: FaceDetector) -> None:
        self._run, self._detector = run, detector

    def find_in(self, luma: NDArray[np.uint8], region: Region) -> list[Detection]:
        """Find candidates for faces in a region of a luma plane, uint8 [height, width]; the largest first."""
        if region.sharpened or region.covered or region.turned_deg:
            return self._detector.find_in(luma, region)
        left, top, width, height = region.box
        # What is searched closely is searched in parts that overlap, so that a face lies whole in one of them.
        parts = 2**region.upsample
        found: list[Detection] = []
        for row in range(2 * parts - 1):
            for column in range(2 * parts - 1):
                x, y = left + column * width // (2 * parts), top + row * height // (2 * parts)
                part = luma[y : y + max(1, height // parts), x : x + max(1, width // parts)]
                found += [_moved(seen, x, y) for seen in self.find(part)]
        return sorted(without_doubles(found), key=lambda seen: seen.box.width, reverse=True)

    def find(self, luma: NDArray[np.uint8]) -> list[Detection]:
        """Return candidates in a picture, uint8 [height, width], whose faces are at least a fifteenth of it wide."""
        height, width = luma.shape
        scale = SIDE_PX / max(height, width)
        size = max(1, round(width * scale)), max(1, round(height * scale))
        method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        canvas = np.zeros((SIDE_PX, SIDE_PX), np.float32)
        canvas[: size[1], : size[0]] = cv2.resize(luma, size, interpolation=method)
        shapes, logits = self._run(np.repeat((canvas / 127.5 - 1)[np.newaxis, :, :, np.newaxis], 3, axis=3))
        sure = np.flatnonzero(logits > math.log(LEAST_SCORE / (1 - LEAST_SCORE)))
        found = [_candidate(shapes[place] / scale, _ANCHORS[place] * SIDE_PX / scale, logits[place]) for place in sure]
        treatment = _treatment(luma) if found else Treatment.NONE
        return [replace(seen, treatment=treatment) for seen in without_doubles(found) if seen.box.width >= LEAST_PX]


def _candidate(shape: NDArray[np.float32], anchor: NDArray[np.float32], logit: np.float32) -> Detection:
    """Return what the network says of one place: middle, size and six points, from the anchor, in pixels."""
    pairs = shape.reshape(8, 2)
    left_eye, right_eye = (pairs[2:4] + anchor).tolist()
    across, down = right_eye[0] - left_eye[0], right_eye[1] - left_eye[1]
    tilt = math.degrees(math.atan2(down, across))
    # From the side the eyes are close together: then the box tells the size.
    width = max(math.hypot(across, down) / EYES_SHARE, BOX_SHARE * float(pairs[1, 0]) * 0.9)
    x, y = (pairs[0] + anchor).tolist()
    box = Box(round(x - width / 2), round(y - width / 2), round(width), round(width))
    # Below every score of dlib's that counts by itself; of two, the surer one is kept.
    score = CANDIDATE_SCORE - math.exp(-max(0.0, float(logit)))
    return Detection(box, score, tilt if abs(tilt) > UPRIGHT_DEG else 0.0)


def _treatment(luma: NDArray[np.uint8]) -> Treatment:
    """Return what dlib's detector will need to vouch for a face in this picture."""
    if is_blurred(luma):
        return Treatment.SHARPENED
    return Treatment.SMOOTHED if is_noisy(luma) else Treatment.NONE


def _moved(seen: Detection, x: int, y: int) -> Detection:
    return replace(seen, box=seen.box._replace(x=seen.box.x + x, y=seen.box.y + y))
