"""The look that a camera gives pictures (contrast, brightness, blur, noise), measured and put on other pictures."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

BLURS = np.arange(0, 3.05, 0.1)
"""Sigmas that are tried, pixels."""
NOISES = (0.0, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 11.0, 15.0, 20.0)
"""Standard deviations that are tried, gray levels."""
BANDS = 24
COARSE = 6
"""Bands of low frequency, whose power is the contrast: blur hardly reaches them."""


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """What a camera does to a picture that other cameras take too."""

    blur_px: float
    """sigma of a Gaussian"""
    noise: float
    """standard deviation, gray levels"""
    mean: NDArray[np.float32]
    """[n] mean of each picture that was measured"""
    spread: NDArray[np.float32]
    """[n] standard deviation of each, less the noise's"""

    @classmethod
    def measure(cls, images: NDArray[np.uint8], plain: NDArray[np.uint8]) -> "Look":
        """Find the look of pictures, against plain ones of the same kind; both uint8 [n, 48, 48].

        Blur and noise are those that bring the plain pictures' mean power in 24 bands of frequency closest to the
        others', by the squared difference of logarithms.
        """
        found, power, white = _power(images), _power(plain), _power(None)
        middles = (np.arange(BANDS) + 1) / (2 * BANDS)  # cycles a pixel
        best = (np.inf, 0.0, 0.0)
        for blur in BLURS:
            soft = power * np.exp(-((2 * np.pi * middles * blur) ** 2))
            for noise in NOISES:
                added = noise**2 * white
                gain = np.maximum(found - added, 1e-3)[:COARSE].sum() / soft[:COARSE].sum()
                miss = float(((np.log(gain * soft + added + 1) - np.log(found + 1)) ** 2).sum())
                best = min(best, (miss, float(blur), noise))
        _, blur_px, noise = best
        spread = np.sqrt(np.maximum(images.var(axis=(1, 2)) - noise**2, 1))
        return cls(blur_px, noise, images.mean(axis=(1, 2)).astype(np.float32), spread.astype(np.float32))

    def put_on(self, images: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
        """Return pictures [n, 48, 48] as the camera shows them, each with brightness and contrast of a measured one."""
        wide = images.astype(np.float32)
        if self.blur_px:
            wide = np.stack([cv2.GaussianBlur(image, (0, 0), self.blur_px) for image in wide])
        chosen = rng.integers(len(self.mean), size=len(wide))
        spread, mean = self.spread[chosen][:, None, None], self.mean[chosen][:, None, None]
        wide = (wide - wide.mean(axis=(1, 2), keepdims=True)) / (wide.std(axis=(1, 2), keepdims=True) + 1)
        wide = wide * spread + mean + np.float32(self.noise) * rng.standard_normal(wide.shape, dtype=np.float32)
        return np.asarray(np.rint(np.clip(wide, 0, 255)), np.uint8)


def _power(images: NDArray[np.uint8] | None) -> NDArray[np.float64]:
    """Mean power in each band of frequency [24]; None: of white noise of one gray level."""
    window = np.outer(np.hanning(48), np.hanning(48))
    across = np.hypot(np.fft.fftfreq(48)[:, None], np.fft.rfftfreq(48))
    band = np.ceil(across * 2 * BANDS).astype(int).clip(0, BANDS + 1)
    if images is None:
        return np.full(BANDS, float((window**2).sum()))
    wide = images - images.mean(axis=(1, 2), keepdims=True)
    power = (np.abs(np.fft.rfft2(wide * window)) ** 2).mean(axis=0)
    return np.array([power[band == index].mean() for index in range(1, BANDS + 1)])
