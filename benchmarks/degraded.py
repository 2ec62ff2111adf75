"""Pictures as a camera makes them in daily life: clean ones blurred, darkened, masked, turned or made small.

Needs nothing but numpy and OpenCV, so that other projects' environments can import it, too.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Luma = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """A picture whose faces are known."""

    luma: Luma
    """uint8 [height, width]"""
    boxes: NDArray[np.float32]
    """[n, 4]: left, top, width, height in pixels"""
    points: NDArray[np.float32]
    """[n, 68, 2], landmarks in the iBUG order"""
    emotion: str = ""
    """what its only face shows; empty where nobody said so"""

    @property
    def face_px(self) -> float:
        """Median width of the faces; of FER2013's pictures, which are one face, the width of the picture."""
        return float(np.median(self.boxes[:, 2]))


def blur(share: float) -> Callable[[Scene], Scene]:
    """Return a change that blurs with a sigma of this share of a face's width."""
    return lambda scene: replace(scene, luma=_u8(cv2.GaussianBlur(scene.luma, (0, 0), share * scene.face_px)))


def darken(scene: Scene) -> Scene:
    """Darken with a gamma of 2.5."""
    return replace(scene, luma=(255 * (scene.luma / 255) ** 2.5).astype(np.uint8))


def darken_and_noise(scene: Scene) -> Scene:
    """Darken, then add noise with a standard deviation of 8 levels."""
    noise = np.random.default_rng(3).normal(0, 8, scene.luma.shape)
    return replace(scene, luma=np.clip(darken(scene).luma + noise, 0, 255).astype(np.uint8))


def mask(scene: Scene) -> Scene:
    """Cover each face from the middle of the nose down to the chin, as a surgical mask does."""
    luma = scene.luma.copy()
    for points in scene.points:
        bridge = points[28:30].mean(axis=0)
        outline = np.vstack([points[2:15], (points[14] + bridge) / 2, bridge, (points[2] + bridge) / 2])
        cv2.fillPoly(luma, [np.round(outline * 8).astype(np.int32)], 215, cv2.LINE_AA, 3)
        for row in (0.35, 0.6):  # its folds
            left, right = (points[side] * (1 - row) + points[8] * row for side in (3, 13))
            ends = [tuple(int(value) for value in np.round(8 * end)) for end in (left, right)]
            cv2.line(luma, ends[0], ends[1], 180, max(1, round(scene.face_px / 60)), cv2.LINE_AA, 3)
    return replace(scene, luma=luma)


def turn(degrees: int) -> Callable[[Scene], Scene]:
    """Return a change that turns the picture clockwise, with grey corners; nothing is cut off."""

    def turned(scene: Scene) -> Scene:
        height, width = scene.luma.shape
        matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), -degrees, 1)
        across, down = np.abs(matrix[:, :2]) @ (width, height)
        size = round(float(across)), round(float(down))
        matrix[:, 2] += (np.array(size) - (width, height)) / 2
        luma = _u8(cv2.warpAffine(scene.luma, matrix, size, flags=cv2.INTER_LINEAR, borderValue=(110,)))
        middles = scene.boxes[:, :2] + scene.boxes[:, 2:] / 2
        middles = middles @ matrix[:, :2].T + matrix[:, 2]
        boxes = np.hstack([middles - scene.boxes[:, 2:] / 2, scene.boxes[:, 2:]]).astype(np.float32)
        points = (scene.points @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32)
        return replace(scene, luma=luma, boxes=boxes, points=points)

    return turned


def shrink(face_px: float) -> Callable[[Scene], Scene]:
    """Return a change that scales the picture so that its faces have this width."""

    def shrunk(scene: Scene) -> Scene:
        scale = min(1.0, face_px / scene.face_px)
        size = (max(1, round(scene.luma.shape[1] * scale)), max(1, round(scene.luma.shape[0] * scale)))
        luma = _u8(cv2.resize(scene.luma, size, interpolation=cv2.INTER_AREA))
        return replace(scene, luma=luma, boxes=scene.boxes * scale, points=scene.points * scale)

    return shrunk


def chip_shrunk(scene: Scene) -> Scene:
    """Scale a chip to 20 pixels and back."""
    small = cv2.resize(scene.luma, (20, 20), interpolation=cv2.INTER_AREA)
    return replace(scene, luma=_u8(cv2.resize(small, scene.luma.shape[::-1], interpolation=cv2.INTER_LINEAR)))


CHANGES: dict[str, Callable[[Scene], Scene]] = {
    "clean": lambda scene: scene,
    "blurred by 3 %": blur(0.03),
    "blurred by 6 %": blur(0.06),
    "dark, gamma 2.5": darken,
    "dark, with noise": darken_and_noise,
    "masked": mask,
    "turned 45 degrees": turn(45),
    "turned 90 degrees": turn(90),
    "turned 180 degrees": turn(180),
    "small, 32 px": shrink(32),
}
"""All changes of a whole picture, by the name that the table gives them."""

CHIP_CHANGES = {name: change for name, change in CHANGES.items() if not name.startswith(("turned", "small"))} | {
    "small, 20 px": chip_shrunk
}
"""Changes of FER2013's pictures, 48x48: where a face is cut out upright, no turn is left."""


def _u8(picture: Any) -> Luma:
    return np.asarray(picture, dtype=np.uint8)
