"""What a training picture may look like on another day: moved, turned, darker, partly covered."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Augmentation:
    """Ranges that each picture draws from, evenly."""

    shift: float = 0.08
    """share of the side, either way"""
    rotation_deg: float = 15.0
    """degrees, either way"""
    scale: float = 0.12
    """0.12: 0.88 to 1.12 times"""
    shear: float = 0.08
    """horizontal shear factor, either way"""
    brightness: float = 0.2
    """share of 255 added, either way"""
    contrast: float = 0.35
    """0.35: 0.65 to 1.35 times, around the picture's mean"""
    erase_probability: float = 0.4
    erase_share: tuple[float, float] = (0.02, 0.15)
    """area of the erased rectangle as share of the picture"""


def augment(images: NDArray[np.uint8], rng: np.random.Generator, settings: Augmentation) -> NDArray[np.uint8]:
    """Return a changed copy of each picture: `warp`, then `disturb`.

    Parameters
    ----------
    images
        uint8 [n, side, side].

    Returns
    -------
    uint8 [n, side, side]; the same ``rng`` state gives the same pictures.
    """
    return disturb(warp(images, rng, settings), rng, settings)


def warp(images: NDArray[np.uint8], rng: np.random.Generator, settings: Augmentation) -> NDArray[np.uint8]:
    """Return a moved, turned, scaled, sheared and perhaps mirrored copy of each picture, uint8 [n, side, side]."""
    return np.stack([_warp(image, rng, settings) for image in images])


def disturb(images: NDArray[np.uint8], rng: np.random.Generator, settings: Augmentation) -> NDArray[np.uint8]:
    """Return a copy of each picture in another light and partly covered, uint8 [n, side, side]."""
    out = np.empty_like(images)
    for index, image in enumerate(images):
        out[index] = _tone(image, rng, settings)
        if rng.random() < settings.erase_probability:
            _erase(out[index], rng, settings)
    return out


def _warp(image: NDArray[np.uint8], rng: np.random.Generator, s: Augmentation) -> NDArray[np.uint8]:
    side = image.shape[0]
    centre = (side - 1) / 2
    angle = np.deg2rad(rng.uniform(-s.rotation_deg, s.rotation_deg))
    zoom = 1 + rng.uniform(-s.scale, s.scale)
    flip = -1.0 if rng.random() < 0.5 else 1.0
    rotate = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    shear = np.array([[1.0, rng.uniform(-s.shear, s.shear)], [0.0, 1.0]])
    linear = zoom * rotate @ shear @ np.diag([flip, 1.0])
    shift = rng.uniform(-s.shift, s.shift, size=2) * side
    offset = centre + shift - linear @ np.array([centre, centre])
    warped = cv2.warpAffine(
        image,
        np.column_stack([linear, offset]),
        (side, side),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.asarray(warped, dtype=np.uint8)


def _tone(image: NDArray[np.uint8], rng: np.random.Generator, s: Augmentation) -> NDArray[np.uint8]:
    gain = 1 + rng.uniform(-s.contrast, s.contrast)
    lift = 255 * rng.uniform(-s.brightness, s.brightness)
    mean = float(image.mean())
    table = np.rint(np.clip((np.arange(256) - mean) * gain + mean + lift, 0, 255)).astype(np.uint8)
    return np.asarray(cv2.LUT(image, table), dtype=np.uint8)


def _erase(image: NDArray[np.uint8], rng: np.random.Generator, s: Augmentation) -> None:
    side = image.shape[0]
    area = rng.uniform(*s.erase_share) * side * side
    aspect = np.exp(rng.uniform(np.log(0.4), np.log(2.5)))
    height = min(side, max(1, round(np.sqrt(area * aspect))))
    width = min(side, max(1, round(np.sqrt(area / aspect))))
    top, left = rng.integers(0, side - height + 1), rng.integers(0, side - width + 1)
    image[top : top + height, left : left + width] = rng.integers(0, 256)
