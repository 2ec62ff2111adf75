"""dlib's frontal HOG detector, on a whole frame or inside a region around a face that was there a moment ago."""

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.faces.detector_cache import frontal_face_detector
from edge.faces.searches import Area
from edge.faces.types import Box

REGION_FACE_PX = 90.0
"""Width at which a face is looked for again: above the detector's 80 px window, and small enough to cost 1-2 ms."""
STEADY_MARGIN = 0.25
"""Of the box's width, added on each side, where the box is as old as the last frame."""
LOST_MARGIN = 0.45
"""The same for a face that was not found there in the last frame: it has moved."""
WHOLE_THRESHOLD = 0.3
"""Detector score for a new face; above dlib's own 0, since a false alarm is an event. Measured: docs/faces.md."""
REGION_THRESHOLD = -0.2
"""Score for a face that is known to be there: a turned or half-covered face scores lower than a new one may."""


@dataclass(frozen=True, slots=True)
class Detection:
    """A face that the detector saw."""

    box: Box
    score: float
    """distance from the decision border; larger is surer, 0 is dlib's default threshold"""


class FaceDetector:
    """Finds faces in luma planes. Not for use by two threads at once. dlib releases the GIL while it works.

    Parameters
    ----------
    kept_in
        See `edge.faces.detector_cache.frontal_face_detector`.
    ready
        A ``dlib.fhog_object_detector`` to use in its place.
    """

    def __init__(self, kept_in: Path | None = None, *, ready: Any = None) -> None:
        self._detector = ready or frontal_face_detector(kept_in)

    def another(self) -> "FaceDetector":
        """Return one for another thread; cheaper than one made from nothing."""
        return FaceDetector(ready=copy.copy(self._detector))

    def whole(
        self, luma: NDArray[np.uint8], *, upsample: int = 0, threshold: float = WHOLE_THRESHOLD
    ) -> list[Detection]:
        """Search all of a luma plane, uint8 [height, width]; the largest face first.

        ``upsample`` doubles the picture that many times: 0 finds faces from about 75 px, 1 from 38, 2 from 19.
        ``threshold`` is the least score of a detection.
        """
        found = self._run(np.ascontiguousarray(luma), upsample, threshold)
        return sorted(found, key=lambda seen: seen.box.width, reverse=True)

    def area(self, luma: NDArray[np.uint8], area: Area) -> list[Detection]:
        """Search a part of a luma plane, uint8 [height, width], scaled as the area says; the largest face first."""
        left, top, width, height = area.box
        part = luma[top : top + height, left : left + width]
        if area.scale < 1:
            size = (max(1, round(width * area.scale)), max(1, round(height * area.scale)))
            part = np.asarray(cv2.resize(part, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
        found = self.whole(part, upsample=area.upsample)
        return [Detection(_back(seen.box, area.scale, left, top), seen.score) for seen in found]

    def region(self, luma: NDArray[np.uint8], around: Box, *, margin: float = LOST_MARGIN) -> Detection | None:
        """Look for one face near a box it had before, in ``luma`` uint8 [height, width]; None where it is not.

        ``margin`` is searched around the box on each side, in widths of it.
        """
        if not Box(0, 0, luma.shape[1], luma.shape[0]).iou(around):
            return None
        patch, scale, (left, top) = cut_region(luma, around, margin)
        seen = self._run(patch, 0, REGION_THRESHOLD)
        if not seen:
            return None
        found = [Detection(_back(d.box, scale, left, top), d.score) for d in seen]
        near = max(found, key=lambda d: (round(d.box.iou(around), 1), d.score))
        return near if near.box.iou(around) > 0.1 else None

    def _run(self, luma: NDArray[np.uint8], upsample: int, threshold: float) -> list[Detection]:
        rectangles, scores, _ = self._detector.run(luma, upsample, threshold)
        return [
            Detection(Box(r.left(), r.top(), r.width(), r.height()), float(score))
            for r, score in zip(rectangles, scores, strict=True)
        ]


def cut_region(
    luma: NDArray[np.uint8], around: Box, margin_share: float
) -> tuple[NDArray[np.uint8], float, tuple[int, int]]:
    """Cut the neighbourhood of a box, scaled so that its face is `REGION_FACE_PX` wide; the box must touch the frame.

    Returns the patch, the factor from frame to patch, and the frame's pixel at the patch's top left corner.
    """
    height, width = luma.shape
    margin = round(around.width * margin_share)
    left, right = max(0, around.x - margin), min(width, around.x + around.width + margin)
    top, bottom = max(0, around.y - margin), min(height, around.y + around.height + margin)
    patch = luma[top:bottom, left:right]
    scale = REGION_FACE_PX / max(around.width, 1)
    size = (max(1, round(patch.shape[1] * scale)), max(1, round(patch.shape[0] * scale)))
    shrinking = scale < 1
    scaled = cv2.resize(patch, size, interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR)
    return np.asarray(scaled, dtype=np.uint8), scale, (left, top)


def _back(box: Box, scale: float, left: int, top: int) -> Box:
    return Box(
        round(box.x / scale) + left,
        round(box.y / scale) + top,
        round(box.width / scale),
        round(box.height / scale),
    )
