"""Single pictures, decoded from files and bytes of unknown origin."""

import importlib
import logging
import threading
import warnings
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.cameras.cut import completed
from edge.cameras.quiet import quiet_opencv
from edge.content import NEEDS_PILLOW, PictureHeader, picture_header
from edge.errors import ImageError, printable_path

PICTURE_SUFFIXES = frozenset({
    ".avif", ".bmp", ".gif", ".heic", ".heif", ".j2k", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".png", ".tga", ".tif",
    ".tiff", ".webp",
})  # fmt: skip
MAX_BYTES = 100_000_000
MAX_PIXELS = 64_000_000
"""The size of the largest camera module for the Pi (9152x6944); 192 MB decoded."""
_NEUTRAL = 128
"""Laid under transparent pixels, 0..255: a gray that makes no edge brighter or darker than skin"""
_UNUSED_ALPHA = ("BMP", "TGA")
"""Kinds whose fourth byte is zero throughout where it has no meaning."""
_DAMAGED = "the picture is damaged or cut off"
_CUT_ALLOWED = threading.Lock()
"""Held while Pillow is told, for the whole process, to accept a picture without its end."""
_PILLOW_FORMATS = ("AVIF", "GIF", "HEIF", "JPEG2000", "TGA")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """One decoded picture, turned upright."""

    luma: NDArray[np.uint8]
    """[height, width], 0..255"""
    bgr: NDArray[np.uint8]
    """[height, width, 3], 0..255, blue first"""


def read_picture(source: Path | bytes, *, name: str | None = None) -> Picture:
    """Decode a picture; what it is, its content decides. Of several images in one file, the first is taken.

    OpenCV decodes JPEG, PNG, BMP, TIFF, WebP, JPEG 2000 and, from version 5, GIF. Pillow, if the extra ``photos`` is
    installed, decodes HEIC, AVIF, TGA and whatever OpenCV cannot. 16 bits become 8 (the upper ones), gray becomes
    colour, transparent pixels are laid on neutral gray, and the EXIF orientation is applied. A JPEG, PNG, BMP or GIF
    that was cut off keeps the rows that came, with a warning in the log. The size is read from the header before
    anything is decoded, so a small file that unpacks to gigabytes is refused.

    ``name``: what errors call it; default: the path.
    Raises `ImageError`: it is missing, empty, larger than `MAX_BYTES` or `MAX_PIXELS`, damaged, no picture, or one that
    needs the extra.
    """
    shown = name or (printable_path(source) if isinstance(source, Path) else "the picture")
    data = source if isinstance(source, bytes) else _load(source, shown)
    if not data:
        raise ImageError(f"{shown}: is empty")
    if len(data) > MAX_BYTES:
        raise ImageError(f"{shown}: larger than {MAX_BYTES // 1_000_000} MB, which is refused")
    header = picture_header(data)
    if header is None:
        raise ImageError(
            f"{shown}: is no picture (JPEG, PNG, BMP, GIF, TIFF, WebP, JPEG 2000, HEIC, AVIF or TGA), or its header is "
            "damaged"
        )
    _check_size(header.size, shown)
    if header.is_cut and (whole := completed(header.kind, data)) is not None:
        log.warning("%s: the end is missing; the rows that came are shown", shown)
        data = whole
    pixels = None if header.kind in NEEDS_PILLOW else _decode(data)
    if pixels is None and header.kind in NEEDS_PILLOW | {"GIF", "JPEG 2000"}:
        pixels = _decode_with_pillow(data, header, shown)
    if pixels is None:
        cut = "its end is missing, and what came cannot be shown"
        unknown = f"{_DAMAGED}, or of a kind that this OpenCV cannot decode"
        raise ImageError(f"{shown}: {cut if header.is_cut else unknown}")
    if pixels.dtype == np.uint16:
        pixels = (pixels >> 8).astype(np.uint8)
    if pixels.dtype != np.uint8:
        raise ImageError(f"{shown}: pixels of type {pixels.dtype}; 8 and 16 bits are read")
    if header.kind in _UNUSED_ALPHA and pixels.ndim == 3 and pixels.shape[2] == 4 and not pixels[:, :, 3].any():
        pixels = np.ascontiguousarray(pixels[:, :, :3])
    bgr = _upright(_bgr(pixels), header.orientation)
    return Picture(luma=np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY)), bgr=bgr)


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
        raise ImageError(f"{shown}: cannot be read: {error}") from error


def _check_size(size: tuple[int, int], shown: str) -> None:
    width, height = size
    if width * height > MAX_PIXELS:
        raise ImageError(f"{shown}: {width}x{height} pixels; more than {MAX_PIXELS // 1_000_000} million are refused")


def _decode(data: bytes) -> NDArray[Any] | None:
    quiet_opencv()
    try:
        # Unchanged: depth and alpha as they are. The orientation is applied here, because OpenCV 4 and 5 apply it to
        # different kinds of pictures.
        pixels: NDArray[Any] | None = cv2.imdecode(
            np.frombuffer(_without_profile(data), np.uint8), cv2.IMREAD_UNCHANGED
        )
    except cv2.error:
        return None
    return pixels


def _decode_with_pillow(data: bytes, header: PictureHeader, shown: str) -> NDArray[Any]:
    """Return uint8 [height, width, 4], blue first, upright."""
    kind = header.kind
    needed = ImageError(f"{shown}: {kind} needs the photos extra: pip install '.[photos]'")
    try:
        pillow = importlib.import_module("PIL.Image")
        operations = importlib.import_module("PIL.ImageOps")
        files: Any = importlib.import_module("PIL.ImageFile")
        if kind == "HEIC":
            importlib.import_module("pillow_heif").register_heif_opener()
    except ImportError as error:
        raise needed from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about sizes, which are checked here
            image = pillow.open(BytesIO(data), formats=[name for name in _PILLOW_FORMATS if _can_open(pillow, name)])
            _check_size(image.size, shown)
            if header.is_cut:
                with _CUT_ALLOWED:
                    before, files.LOAD_TRUNCATED_IMAGES = files.LOAD_TRUNCATED_IMAGES, True
                    try:
                        image.load()
                    finally:
                        files.LOAD_TRUNCATED_IMAGES = before
                log.warning("%s: the end is missing; the rows that came are shown", shown)
            rgba = np.asarray(operations.exif_transpose(image).convert("RGBA"))
            if kind == "HEIC" and not any(box in data for box in (b"irot", b"imir")):
                # Phones write their turn as a box of HEIF, which the decoder applies. Other programs carry EXIF's over.
                rgba = _upright(rgba, image.info.get("original_orientation") or 1)
    except ImageError:
        raise
    except Exception as error:
        if kind == "AVIF" and not _can_open(pillow, "AVIF"):
            raise needed from error
        raise ImageError(f"{shown}: {_DAMAGED}") from error
    return np.ascontiguousarray(rgba[:, :, [2, 1, 0, 3]])


def _can_open(pillow: Any, name: str) -> bool:
    pillow.init()
    return name in pillow.OPEN


def _bgr(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if pixels.ndim == 2 or pixels.shape[2] == 1:
        return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_GRAY2BGR), np.uint8)
    if pixels.shape[2] == 3:
        return pixels
    alpha = pixels[:, :, 3:].astype(np.uint16)
    mixed = pixels[:, :, :3] * alpha + np.uint16(_NEUTRAL) * (255 - alpha) + 127
    return np.ascontiguousarray((mixed // 255).astype(np.uint8))


def _upright(image: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Apply EXIF's orientation: 2 to 4 and 7 mirror or turn, 5 to 8 exchange rows and columns as well."""
    if orientation >= 5:
        image = image.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    return np.ascontiguousarray(image)


def _without_profile(data: bytes) -> bytes:
    """Remove the colour profile of a PNG: OpenCV does not use it, and libpng complains about many on stderr."""
    start = data.find(b"iCCP", 8, 4096)
    if not data.startswith(b"\x89PNG") or start < 12:
        return data
    length = int.from_bytes(data[start - 4 : start])
    end = start + 4 + length + 4
    return data[: start - 4] + data[end:] if end < len(data) else data
