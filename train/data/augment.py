"""Augment training pictures: move, turn, scale, change the light, cover a part, mix."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

STRIP_PICTURES = 256
"""Pictures that OpenCV warps in one call, one below the other: it takes at most 32,767 rows."""
GRAY = 127.5
MIRROR = np.array(
    [*range(16, -1, -1), *range(26, 16, -1), 27, 28, 29, 30, 35, 34, 33, 32, 31,
     45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40,
     54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65]
)  # fmt: skip
"""The index of the landmark that each becomes in a mirrored picture (iBUG order)."""


@dataclass(frozen=True, slots=True)
class Augmentation:
    """Ranges of the uniform draws for each picture."""

    shift: float = 0.075
    """share of the side, either way"""
    rotation_deg: float = 17.0
    """degrees, either way"""
    scale: float = 0.2
    """0.2: 0.8 to 1.2 times"""
    aspect: float = 0.06
    """0.06: 0.94 to 1.06 times as high as wide"""
    shear: float = 0.1
    """horizontal shear factor, either way"""
    brightness: float = 0.15
    """share of 255 added, either way"""
    contrast: float = 0.35
    """0.35: 0.65 to 1.35 times, around medium gray"""
    erase_probability: float = 0.5
    erase_px: tuple[int, int] = (5, 19)
    """shortest and longest side of the erased rectangle"""


@dataclass(frozen=True, slots=True, eq=False)
class Warp:
    """How each of n pictures is moved, turned, scaled and sheared; edge pixels are repeated outside a picture."""

    linear: NDArray[np.float32]
    """[n, 2, 2] from a pixel's (x, y) to its place in the source picture"""
    offset: NDArray[np.float32]
    """[n, 2]"""

    @classmethod
    def draw(cls, n: int, rng: np.random.Generator, s: Augmentation, *, side: int = 48) -> "Warp":
        """Draw ``n`` warps."""
        angle = np.deg2rad(rng.uniform(-s.rotation_deg, s.rotation_deg, n))
        zoom = 1 + rng.uniform(-s.scale, s.scale, n)
        aspect = 1 + rng.uniform(-s.aspect, s.aspect, n)
        shear = rng.uniform(-s.shear, s.shear, n)
        shift = rng.uniform(-s.shift, s.shift, (n, 2)) * side
        turned = np.stack([np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)], axis=1).reshape(n, 2, 2)
        sheared = np.stack([zoom, shear, np.zeros(n), zoom * aspect], axis=1).reshape(n, 2, 2)
        linear = np.linalg.inv(turned @ sheared)
        centre = np.full(2, (side - 1) / 2)
        offset = centre - (linear @ (centre + shift)[:, :, None])[:, :, 0]
        return cls(linear.astype(np.float32), offset.astype(np.float32))

    def of(self, rows: NDArray[np.intp]) -> "Warp":
        """Return the warps of some of the pictures."""
        return Warp(self.linear[rows], self.offset[rows])

    def apply(self, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return a warped copy of each picture, uint8 [n, side, side].

        All are moved in a few calls that release Python's lock, so that several batches can be made at once.
        """
        side = images.shape[1]
        rows, columns = np.indices((side, side), dtype=np.float32).reshape(2, -1)
        out = np.empty_like(images)
        for begin in range(0, len(images), STRIP_PICTURES):
            part = slice(begin, begin + STRIP_PICTURES)
            a, b = self.linear[part], self.offset[part]
            x = a[:, 0, :1] * columns + a[:, 0, 1:] * rows + b[:, :1]
            y = a[:, 1, :1] * columns + a[:, 1, 1:] * rows + b[:, 1:]
            last = np.float32(side - 1)
            np.clip(x, 0, last, out=x)
            np.clip(y, 0, last, out=y)
            y += side * np.arange(len(y), dtype=np.float32)[:, None]
            strip = images[part].reshape(-1, side)
            moved = cv2.remap(strip, x.reshape(-1, side), y.reshape(-1, side), cv2.INTER_LINEAR)
            out[part] = moved.reshape(-1, side, side)
        return out

    def move(self, points: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return where points [n, k, 2] of the source pictures lie in the warped ones."""
        return np.asarray((points - self.offset[:, None]) @ np.linalg.inv(self.linear).transpose(0, 2, 1), np.float32)


def disturb(images: NDArray[np.uint8], rng: np.random.Generator, settings: Augmentation) -> NDArray[np.float32]:
    """Return a copy of each picture with other contrast and brightness, partly covered.

    The result, float32 [n, side, side], is not cut to 0..255: a bright picture keeps its differences.
    """
    n, side = images.shape[:2]
    gain = (1 + rng.uniform(-settings.contrast, settings.contrast, n)).astype(np.float32)[:, None, None]
    lift = (255 * rng.uniform(-settings.brightness, settings.brightness, n)).astype(np.float32)[:, None, None]
    out = np.asarray((images - np.float32(GRAY)) * gain + (GRAY + lift), np.float32)
    chosen = rng.random(n) < settings.erase_probability
    shortest, longest = settings.erase_px
    height, width = rng.integers(shortest, min(longest, side) + 1, (2, n))
    top, left = rng.integers(0, side - height + 1), rng.integers(0, side - width + 1)
    gray = GRAY * (1 + 0.5 * rng.standard_normal(n))
    for k in np.flatnonzero(chosen):
        out[k, top[k] : top[k] + height[k], left[k] : left[k] + width[k]] = gray[k]
    return out


def mix(
    images: NDArray[np.float32],
    targets: NDArray[np.float32],
    weights: NDArray[np.float32],
    rng: np.random.Generator,
    share: float,
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Mix each picture of a batch, its target and its weight, with those of another, in a share of the calls.

    Mixup (Zhang et al. 2018, arXiv:1710.09412), one ratio for the batch; the picture itself has the larger part.
    """
    if rng.random() >= share:
        return images, targets, weights
    drawn = rng.beta(0.4, 0.4)
    own = np.float32(max(drawn, 1 - drawn))
    others = rng.permutation(len(images))

    def mixed(mine: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(own * mine + (1 - own) * mine[others], np.float32)

    return mixed(images), mixed(targets), mixed(weights)
