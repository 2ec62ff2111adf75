"""What the rooms around pass on: boxes, what the detector saw, a face with its scores."""

from dataclasses import dataclass
from enum import Enum
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


class Treatment(Enum):
    """What was done to a picture before the detector saw a face in it."""

    NONE = "none"
    SHARPENED = "sharpened"
    SMOOTHED = "smoothed"
    COVERED = "covered"
    """nothing: another detector than dlib's saw it, that of faces whose lower half is covered"""


@dataclass(frozen=True, slots=True)
class Detection:
    """A face that the detector saw in one frame."""

    box: Box
    score: float
    """distance from the detector's decision boundary: larger is surer, 0 is dlib's default threshold"""
    turned_deg: float = 0.0
    """by how much the picture was turned back for it: so much the face lies turned clockwise"""
    treatment: Treatment = Treatment.NONE
    """what the picture needed, so that the detector saw it"""
    leaning_deg: float = 0.0
    """by how much the face leans clockwise beyond that, by which of the detector's five filters saw it"""

    @property
    def lies_deg(self) -> float:
        """By how much the face lies turned clockwise, as far as the search knows."""
        return self.turned_deg + self.leaning_deg


@dataclass(frozen=True, slots=True)
class Region:
    """A part of the frame in which to search for faces."""

    box: Box
    """pixels of the frame"""
    scale: float
    """at most 1: the part is scaled by this before it is searched"""
    upsample: int
    """how often it is doubled after that"""
    turned_deg: float = 0.0
    """faces lie turned clockwise by this: the part is turned back before it is searched"""
    sharpened: bool = False
    """blurred faces are searched for: the part is sharpened, and not searched where it is sharp already"""
    covered: bool = False
    """faces whose lower half is covered are searched for"""


@dataclass(frozen=True, slots=True, eq=False)
class TrackedFace:
    """One face in one frame, with its scores."""

    track: int
    """number of its track, from 1: a face keeps it from frame to frame; in a still picture the faces are counted"""
    box: Box
    landmarks: NDArray[np.float32]
    """[68, 2], x and y in pixels of the full frame, iBUG order"""
    chip: NDArray[np.uint8]
    """[48, 48], what the network sees, before its blur is undone"""
    scores: NDArray[np.float32]
    """[5], sum to 1, in the order of `EMOTIONS`: of this frame, not smoothed"""
