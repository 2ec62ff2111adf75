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
class Face:
    """One face in one frame. Raises ``ValueError`` where the points are not float32 [68, 2]."""

    visit: int
    """number of this visit, from 1; the same person keeps it from frame to frame"""
    box: Box
    landmarks: NDArray[np.float32]
    """[68, 2], x and y in pixels of the full frame, iBUG order"""

    def __post_init__(self) -> None:
        if self.landmarks.shape != (68, 2) or self.landmarks.dtype != np.float32:
            raise ValueError(f"landmarks must be float32 [68, 2], found {self.landmarks.dtype} {self.landmarks.shape}")
