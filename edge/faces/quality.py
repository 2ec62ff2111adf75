"""Blur and noise of a picture, and what helps detector and network against them."""

import math
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

BLURRED = 0.55
"""Least `blur` of a blurred picture. Measured: docs/faces.md."""
NOISY_LEVELS = 3.5
"""Least `noise` of a noisy picture. Measured: docs/faces.md."""
SHARPENED_FACE_PX = 80
"""`sharpened` is for faces from this width to twice as much."""

_SIGMA_PX, _AMOUNT = 5.0, 8.0
"""Unsharp masking for faces of 80 to 160 px, blurred by 3 to 7 % of that. Measured: docs/faces.md."""
_SMOOTH_SIGMA_PX = 0.75
_CHIP_STEPS = ((0.66, 2.0, 0.02), (0.53, 1.2, 0.03))
"""For `deblurred`: least blur of a chip, sigma of the blur that is undone, and noise power. Measured: docs/faces.md."""
_KERNEL_PX, _PERIOD_PX = 31, 80
_NOISE_KERNEL = np.array([(1, -2, 1), (-2, 4, -2), (1, -2, 1)], np.float32)
_WINDOW, _BLOCK_PX = 9, 16


def blur(luma: NDArray[np.uint8]) -> float:
    """Return how blurred a picture is, uint8 [height, width]: 0 (sharp) to 1, whatever its contrast.

    Blurring a picture again takes little from the differences between its neighbouring pixels if it was blurred
    before. Crété, Dolmiere, Ladret, Nicolas: The blur effect (2007).
    """
    if min(luma.shape) < 2:
        return 0.0
    shares = []
    for picture, size in ((luma, (_WINDOW, 1)), (luma, (1, _WINDOW))):
        again = np.asarray(cv2.blur(picture, size), np.uint8)
        before, after = _steps(picture, size), _steps(again, size)
        total = cv2.sumElems(before)[0]
        shares.append(1 - cv2.sumElems(cv2.subtract(before, after))[0] / total if total else 0.0)
    return max(shares)


def is_blurred(luma: NDArray[np.uint8]) -> bool:
    """Return whether a picture, uint8 [height, width], is blurred."""
    return blur(luma) >= BLURRED


def noise(luma: NDArray[np.uint8]) -> float:
    """Return the standard deviation of a picture's noise in levels, uint8 [height, width].

    Immerkær: Fast noise variance estimation (1996), in the smooth quarter of the picture: noise is everywhere, while
    fine patterns are not.
    """
    rest = np.abs(cv2.filter2D(luma, cv2.CV_16S, _NOISE_KERNEL)).astype(np.uint16)
    size = max(1, luma.shape[1] // _BLOCK_PX), max(1, luma.shape[0] // _BLOCK_PX)
    blocks = cv2.resize(rest, size, interpolation=cv2.INTER_AREA)
    return float(np.percentile(blocks, 25)) * math.sqrt(math.pi / 2) / 6


def is_noisy(luma: NDArray[np.uint8]) -> bool:
    """Return whether the noise of a picture, uint8 [height, width], hides faces from the detector."""
    return noise(luma) >= NOISY_LEVELS


def sharpened(luma: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a blurred picture, uint8 [height, width], as the detector finds faces of 80 to 160 px in it."""
    soft = cv2.GaussianBlur(luma, (0, 0), _SIGMA_PX)
    return np.asarray(cv2.addWeighted(luma, 1 + _AMOUNT, soft, -_AMOUNT, 0), np.uint8)


def deblurred(chip: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a face chip, uint8 [48, 48], with as much blur undone as helps the network; a sharp one as it is."""
    found = blur(chip)
    for least, sigma_px, noise_power in _CHIP_STEPS:
        if found >= least:
            kernel = _wiener(sigma_px, noise_power)
            return np.asarray(cv2.filter2D(chip, -1, kernel, borderType=cv2.BORDER_REFLECT), np.uint8)
    return chip


@cache
def _wiener(sigma_px: float, noise_power: float) -> NDArray[np.float32]:
    """Wiener's filter against a Gaussian blur, as a kernel float32 [31, 31] that sums to 1."""
    frequencies = np.fft.fftfreq(_PERIOD_PX)
    passed = np.exp(-2 * (np.pi * sigma_px) ** 2 * (frequencies[:, None] ** 2 + frequencies**2))
    whole = np.fft.fftshift(np.fft.ifft2(passed / (passed**2 + noise_power)).real)
    first = (_PERIOD_PX - _KERNEL_PX + 1) // 2
    kernel = whole[first : first + _KERNEL_PX, first : first + _KERNEL_PX]
    return np.asarray(kernel / kernel.sum(), np.float32)


def smoothed(luma: NDArray[np.uint8], scale: float = 1.0) -> NDArray[np.uint8]:
    """Return a noisy picture, uint8 [height, width], with less noise; ``scale``: how many times it was enlarged."""
    return np.asarray(cv2.GaussianBlur(luma, (0, 0), _SMOOTH_SIGMA_PX * scale), np.uint8)


def _steps(luma: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Differences between neighbours, in the direction in which the window is long."""
    if size[0] > 1:
        return np.asarray(cv2.absdiff(luma[:, 1:], luma[:, :-1]), np.uint8)
    return np.asarray(cv2.absdiff(luma[1:], luma[:-1]), np.uint8)
