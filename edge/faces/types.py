"""Boxes, and a face as the rest of the device sees it."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Box(NamedTuple):
    """Whole pixels of the full frame."""

    x: int
    y: int
    width: int
    height: int

    @property
    def centre(self) -> tuple[float, float]:
        """Middle, x and y."""
        return self.x + self.width / 2, self.y + self.height / 2

    def iou(self, other: "Box") -> float:
        """Intersection over union, 0..1."""
        across = min(self.x + self.width, other.x + other.width) - max(self.x, other.x)
        down = min(self.y + self.height, other.y + other.height) - max(self.y, other.y)
        if across <= 0 or down <= 0:
            return 0.0
        shared = across * down
        return shared / (self.width * self.height + other.width * other.height - shared)


@dataclass(frozen=True, slots=True, eq=False)
class TrackedFace:
    """One face in one frame, with its scores."""

    track: int
    """number of its track, from 1: a face keeps it from frame to frame; in a still picture the faces are counted"""
    box: Box
    landmarks: NDArray[np.float32]
    """[68, 2], x and y in pixels of the full frame, iBUG order"""
    chip: NDArray[np.uint8]
    """[48, 48], what the network sees"""
    scores: NDArray[np.float32]
    """[5], sum to 1, in the order of `EMOTIONS`: of this frame, not smoothed"""
