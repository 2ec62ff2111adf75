"""Single pictures, decoded from files and bytes that nobody vouches for."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.cameras.picture_header import picture_size
from edge.cameras.quiet import quiet_opencv
from edge.errors import ImageError

PICTURE_SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
MAX_BYTES = 100_000_000
MAX_PIXELS = 64_000_000
"""As much as the largest camera module for the Pi gives (9152x6944); 192 MB decoded, and no more."""
_NEUTRAL = 128
"""What shows through where a picture is transparent, 0..255: a value that makes no edge brighter or darker than skin"""


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """One decoded picture, turned upright."""

    luma: NDArray[np.uint8]
    """[height, width], 0..255"""
    bgr: NDArray[np.uint8]
    """[height, width, 3], 0..255, blue first"""


def read_picture(source: Path | bytes, *, name: str | None = None) -> Picture:
    """Decode a JPEG, PNG, BMP, TIFF, WebP or (with OpenCV 5) GIF picture, of which the first image counts.

    16 bits become 8 (the upper ones); gray becomes colour; what is transparent is laid on neutral gray; the EXIF
    orientation is applied. The size is read from the header before anything is decoded, so a small file that
    unpacks to gigabytes is refused.

    Parameters
    ----------
    name
        What errors call it; default: the path.

    Raises
    ------
    ImageError
        Missing, empty, larger than `MAX_BYTES` or `MAX_PIXELS`, damaged, or no picture; names it.
    """
    shown = name or (str(source) if isinstance(source, Path) else "the picture")
    data = source if isinstance(source, bytes) else _load(source, shown)
    if not data:
        raise ImageError(f"{shown}: is empty")
    if len(data) > MAX_BYTES:
        raise ImageError(f"{shown}: larger than {MAX_BYTES // 1_000_000} MB, which is refused")
    size = picture_size(data)
    if size is None:
        raise ImageError(f"{shown}: is no picture (JPEG, PNG, BMP, GIF, TIFF or WebP), or its header is damaged")
    width, height = size
    if width * height > MAX_PIXELS:
        raise ImageError(f"{shown}: {width}x{height} pixels; more than {MAX_PIXELS // 1_000_000} million are refused")
    return _decode(data, shown)


def _load(path: Path, shown: str) -> bytes:
    try:
        if not path.exists():
            raise ImageError(f"{shown}: no such file")
        if not path.is_file():
            raise ImageError(f"{shown}: is no file")
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ImageError(f"{shown}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ImageError(f"{shown!r}: cannot be read: {error}") from error


def _decode(data: bytes, shown: str) -> Picture:
    quiet_opencv()
    # All three together keep depth and alpha as they are; IMREAD_UNCHANGED would leave out the EXIF orientation.
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH
    try:
        pixels = cv2.imdecode(np.frombuffer(_without_profile(data), np.uint8), flags)
    except cv2.error:
        pixels = None
    if pixels is None:
        raise ImageError(f"{shown}: the picture is damaged, or of a kind that this OpenCV cannot decode")
    if pixels.dtype == np.uint16:
        pixels = (pixels >> 8).astype(np.uint8)
    if pixels.dtype != np.uint8:
        raise ImageError(f"{shown}: pixels of type {pixels.dtype}; 8 and 16 bits are read")
    bgr = _bgr(pixels)
    return Picture(luma=np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY)), bgr=bgr)


def _bgr(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if pixels.ndim == 2 or pixels.shape[2] == 1:
        return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_GRAY2BGR))
    if pixels.shape[2] == 3:
        return pixels
    alpha = pixels[:, :, 3:].astype(np.uint16)
    mixed = pixels[:, :, :3] * alpha + np.uint16(_NEUTRAL) * (255 - alpha) + 127
    return np.ascontiguousarray((mixed // 255).astype(np.uint8))


def _without_profile(data: bytes) -> bytes:
    """Leave the colour profile out of a PNG: OpenCV does not use it, and libpng complains about many on stderr."""
    start = data.find(b"iCCP", 8, 4096)
    if not data.startswith(b"\x89PNG") or start < 12:
        return data
    length = int.from_bytes(data[start - 4 : start])
    end = start + 4 + length + 4
    return data[: start - 4] + data[end:] if end < len(data) else data
