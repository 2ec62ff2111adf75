"""Augment training pictures: move, turn, scale, change the light, cover a part, mix."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

STRIP_PICTURES = 256
"""Pictures that OpenCV warps in one call, one below the other: it takes at most 32,767 rows."""


@dataclass(frozen=True, slots=True)
class Augmentation:
    """Ranges of the uniform draws for each picture."""

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
    """Return an augmented copy of each picture: `warp`, then `disturb`.

    All pictures are changed in a few calls that release Python's lock most of the time, so that several batches can be
    made at once.

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
    """Return a moved, turned, scaled, sheared and perhaps mirrored copy of each picture, uint8 [n, side, side].

    The edge pixels are repeated outside the picture.
    """
    side = images.shape[1]
    linear, offset = _draw_affine(len(images), side, rng, settings)
    rows, columns = np.indices((side, side), dtype=np.float32).reshape(2, -1)
    out = np.empty_like(images)
    for begin in range(0, len(images), STRIP_PICTURES):
        part = slice(begin, begin + STRIP_PICTURES)
        a, b = linear[part].astype(np.float32), offset[part].astype(np.float32)
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


def disturb(images: NDArray[np.uint8], rng: np.random.Generator, settings: Augmentation) -> NDArray[np.uint8]:
    """Return a copy of each picture with other contrast and brightness, partly covered; uint8 [n, side, side]."""
    n = len(images)
    gain = (1 + rng.uniform(-settings.contrast, settings.contrast, n)).astype(np.float32)[:, None, None]
    lift = (255 * rng.uniform(-settings.brightness, settings.brightness, n)).astype(np.float32)[:, None, None]
    mean = images.mean(axis=(1, 2), dtype=np.float32, keepdims=True)
    lit = images * gain
    lit += mean + lift - mean * gain
    np.rint(np.clip(lit, 0, 255, out=lit), out=lit)
    out = lit.astype(np.uint8)
    _erase(out, rng, settings)
    return out


def mix(
    images: NDArray[np.uint8], rng: np.random.Generator, share: float
) -> tuple[NDArray[np.uint8], NDArray[np.intp], NDArray[np.float32]]:
    """Mix some of the pictures with another one, by a random share (mixup, Zhang et al. 2018, arXiv:1710.09412).

    Parameters
    ----------
    images
        uint8 [n, side, side].
    share
        0..1, share of the pictures that are mixed.

    Returns
    -------
    The pictures, uint8 [n, side, side]; the index [n] of the picture that is mixed into each; and each picture's own
    share, float32 [n], 1 if it is not mixed.
    """
    n = len(images)
    partners = rng.permutation(n)
    own = np.where(rng.random(n) < share, rng.random(n), 1.0).astype(np.float32)
    mixed = images.copy()
    chosen = np.flatnonzero(own < 1)
    for begin in range(0, len(chosen), STRIP_PICTURES):
        part = chosen[begin : begin + STRIP_PICTURES]
        weight = own[part, None, None]
        mixed[part] = np.rint(weight * images[part] + (1 - weight) * images[partners[part]]).astype(np.uint8)
    return mixed, partners, own


def _draw_affine(
    n: int, side: int, rng: np.random.Generator, s: Augmentation
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Matrices [n, 2, 2] and offsets [n, 2] from a pixel's (x, y) to its place in the source picture."""
    angle = np.deg2rad(rng.uniform(-s.rotation_deg, s.rotation_deg, n))
    zoom = 1 + rng.uniform(-s.scale, s.scale, n)
    flip = np.where(rng.random(n) < 0.5, -1.0, 1.0)
    shear = rng.uniform(-s.shear, s.shear, n)
    shift = rng.uniform(-s.shift, s.shift, (n, 2)) * side
    turned = np.stack([np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)], axis=1).reshape(n, 2, 2)
    sheared = np.stack([flip, shear, np.zeros(n), np.ones(n)], axis=1).reshape(n, 2, 2)
    linear = np.linalg.inv(zoom[:, None, None] * turned @ sheared)
    centre = np.full(2, (side - 1) / 2)
    return linear, centre - (linear @ (centre + shift)[:, :, None])[:, :, 0]


def _erase(images: NDArray[np.uint8], rng: np.random.Generator, s: Augmentation) -> None:
    """Cover a random rectangle of some of the pictures with one gray value each, in place."""
    n, side = images.shape[:2]
    chosen = rng.random(n) < s.erase_probability
    area = rng.uniform(*s.erase_share, n) * side * side
    aspect = np.exp(rng.uniform(np.log(0.4), np.log(2.5), n))
    height = np.clip(np.rint(np.sqrt(area * aspect)), 1, side).astype(int)
    width = np.clip(np.rint(np.sqrt(area / aspect)), 1, side).astype(int)
    top, left = rng.integers(0, side - height + 1), rng.integers(0, side - width + 1)
    gray = rng.integers(0, 256, n)
    for k in np.flatnonzero(chosen):
        images[k, top[k] : top[k] + height[k], left[k] : left[k] + width[k]] = gray[k]
