"""What a file is, by its bytes: picture or clip, and a picture's kind, size and orientation.

Pillow would read these headers too, but it is an extra, and a picture's size must be known before it is decoded:
OpenCV's own limit, OPENCV_IO_MAX_IMAGE_PIXELS, is read once when the library is loaded, which may be long before this
package is, and its error does not say the size. Sources: PNG (W3C Recommendation, 11.2.2; eXIf 11.3.2.10), JPEG (ITU
T.81, B.2.2; EXIF 2.32, 4.6.4), GIF89a (section 18), BMP (BITMAPINFOHEADER), TIFF 6.0 (section 2), WebP (RFC 9649),
JPEG 2000 (ITU T.800, I.5.3.1 and A.5.1), HEIF (ISO/IEC 23008-12, 6.5.3), Truevision TGA 2.0.
"""

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Size = tuple[int, int]
"""width, height, pixels"""

NEEDS_PILLOW = frozenset({"HEIC", "AVIF", "TGA"})
"""kinds that OpenCV does not decode, or not in every version"""
_HEAD_BYTES = 1 << 21
"""Enough for the end of the first picture of a Motion JPEG."""

# Start-of-frame markers: 0xC0..0xCF but for DHT (C4), JPG (C8) and DAC (CC).
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_BARE = frozenset({0x01, *range(0xD0, 0xD9)})
_JPEG_APP1, _JPEG_APP2, _JPEG_SCAN = 0xE1, 0xE2, 0xDA
_JPEG_END = b"\xff\xd9"
_PNG_END = b"IEND\xaeB`\x82"
_TIFF_WIDTH, _TIFF_HEIGHT, _TIFF_ORIENTATION = 256, 257, 274
_HEIC_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})
_AVIF_BRANDS = frozenset({b"avif", b"avis"})
_CLIP_BOXES = frozenset({b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot"})
_CLIP_MAGICS = (
    b"\x1aE\xdf\xa3", b"OggS", b"FLV\x01", b"\0\0\x01\xba", b"\0\0\x01\xb3", b"0&\xb2u\x8ef\xcf\x11", b"\0\0\0\x01",
    b"\0\0\x01",
)  # fmt: skip
"""Matroska and WebM, Ogg, FLV, MPEG program stream, MPEG video, ASF and WMV, raw H.264 and H.265"""

_SYNC = 0x47
_PACKETS = ((0, 188), (4, 192))
"""first sync byte and packet length of MPEG transport streams: .ts, and .mts with its time codes"""
_SUFFIXES = {"JPEG": ".jpg", "JPEG 2000": ".jp2"}


@dataclass(frozen=True, slots=True)
class PictureHeader:
    """What the header of a picture says."""

    kind: str
    """as people call it: ``JPEG``, ``PNG``, ``BMP``, ``GIF``, ``TIFF``, ``WebP``, ``JPEG 2000``, ``HEIC``, ``AVIF``
    or ``TGA``"""
    size: Size
    orientation: int = 1
    """EXIF's, 1 to 8; 1 where there is none, where it is damaged, and where the decoder applies it itself"""
    is_cut: bool = False
    """its end is missing: told of JPEG, PNG, WebP, BMP, and of a GIF without the end of its first picture"""
    is_followed: bool = False
    """a JPEG with another one directly behind it"""


def picture_header(data: bytes) -> PictureHeader | None:
    """Return what the header says; None if this is no picture of a known kind or its header is damaged."""
    for kind, is_kind, read in _PICTURES:
        if is_kind(data):
            try:
                header = read(kind, data)
            except (struct.error, IndexError, ValueError):
                return None
            return header if header is not None and min(header.size) > 0 else None
    return None


def suffix_of(path: Path) -> str:
    """Return a suffix that fits the content of a picture or clip, ``.mp4`` for every clip; empty if it is neither.

    Raises `OSError`: the file cannot be read.
    """
    with path.open("rb") as file:
        header = picture_header(file.read(_HEAD_BYTES))
    match kind_of(path):
        case "clip":
            return ".mp4"
        case "picture" if header is not None:
            return _SUFFIXES.get(header.kind, f".{header.kind.lower()}")
        case _:
            return ""


def kind_of(path: Path) -> Literal["picture", "clip"] | None:
    """Tell a picture from a clip by the content of the file, whatever its name; None if it is neither.

    A GIF is a picture. JPEGs one after another are a clip, Motion JPEG, unless the first names the others as its own
    (MPO).

    Raises `OSError`: the file cannot be read.
    """
    with path.open("rb") as file:
        data = file.read(_HEAD_BYTES)
    header = picture_header(data)
    if header is not None:
        return "clip" if header.is_followed else "picture"
    is_clip = (
        data[4:8] in _CLIP_BOXES
        or data.startswith(_CLIP_MAGICS)
        or (data[:4] == b"RIFF" and data[8:12] == b"AVI ")
        or any(len(data) > at + step and data[at] == data[at + step] == _SYNC for at, step in _PACKETS)
    )
    return "clip" if is_clip else None


def _png(kind: str, data: bytes) -> PictureHeader | None:
    size = struct.unpack_from(">II", data, 16)
    exif = next((body for name, body in _chunks(data, 8, ">") if name == b"eXIf"), b"")
    return PictureHeader(kind, size, _orientation(exif), _PNG_END not in data) if data[12:16] == b"IHDR" else None


def _chunks(data: bytes, at: int, order: str) -> Iterator[tuple[bytes, bytes]]:
    """The chunks of a PNG (order ``>``) or a RIFF file (``<``)."""
    while at + 8 <= len(data):
        if order == ">":
            length, name = struct.unpack_from(">I4s", data, at)
            next_at = at + 12 + length
        else:
            name, length = struct.unpack_from("<4sI", data, at)
            next_at = at + 8 + length + length % 2
        yield name, data[at + 8 : at + 8 + length] if name.upper() == b"EXIF" else b""
        at = next_at


def _jpeg(kind: str, data: bytes) -> PictureHeader | None:
    size: Size | None = None
    orientation, holds_others, at = 1, False, 2
    while (at := data.find(b"\xff", at)) >= 0:
        while data[at] == 0xFF:
            at += 1
        marker = data[at]
        at += 1
        if marker in _JPEG_FRAMES:
            height, width = struct.unpack_from(">HH", data, at + 3)
            size = width, height
        elif marker == _JPEG_APP1 and data[at + 2 : at + 8] == b"Exif\0\0" and orientation == 1:
            orientation = _orientation(data[at + 8 : at + struct.unpack_from(">H", data, at)[0]])
        elif marker == _JPEG_APP2 and data[at + 2 : at + 6] == b"MPF\0":
            holds_others = True
        elif marker == _JPEG_SCAN and size is not None:
            end = data.find(_JPEG_END, at)
            is_followed = end >= 0 and not holds_others and data[end + 2 : end + 5] == b"\xff\xd8\xff"
            return PictureHeader(kind, size, orientation, end < 0, is_followed)
        if marker not in _JPEG_BARE:
            at += struct.unpack_from(">H", data, at)[0]
    return None if size is None else PictureHeader(kind, size, orientation, is_cut=True)


def _gif(kind: str, data: bytes) -> PictureHeader:
    return PictureHeader(kind, struct.unpack_from("<HH", data, 6), is_cut=not _has_gif_picture(data))


def _has_gif_picture(data: bytes) -> bool:
    """Whether the first picture of a GIF is there as a whole."""
    at = 13 + _gif_colours(data, 10) if len(data) > 10 else len(data)
    while at < len(data):
        is_picture = data[at] == 0x2C
        if is_picture:
            at += 11 + _gif_colours(data, at + 9) if at + 9 < len(data) else len(data)
        elif data[at] == 0x21:
            at += 2
        else:
            return False
        while at < len(data) and data[at]:  # blocks of up to 255 bytes, until an empty one
            at += 1 + data[at]
        if is_picture:
            return at < len(data)
        at += 1
    return False


def _gif_colours(data: bytes, flags_at: int) -> int:
    """Bytes of the colour table that flags announce."""
    flags = data[flags_at]
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _bmp(kind: str, data: bytes) -> PictureHeader:
    header_bytes = struct.unpack_from("<I", data, 14)[0]
    width, height = struct.unpack_from("<HH" if header_bytes == 12 else "<ii", data, 18)
    return PictureHeader(kind, (abs(width), abs(height)), is_cut=struct.unpack_from("<I", data, 2)[0] > len(data))


def _tiff(kind: str, data: bytes) -> PictureHeader | None:
    found = _tags(data)
    # OpenCV turns a TIFF upright itself, whatever it is asked for.
    return PictureHeader(kind, (found[_TIFF_WIDTH], found[_TIFF_HEIGHT])) if len(found.keys() - {274}) == 2 else None


def _tags(data: bytes) -> dict[int, int]:
    """Width, height and orientation in the first directory of a TIFF, which EXIF is too."""
    order = "<" if data.startswith(b"II") else ">"
    at = struct.unpack_from(f"{order}I", data, 4)[0]
    found: dict[int, int] = {}
    for entry in range(struct.unpack_from(f"{order}H", data, at)[0]):
        tag, kind = struct.unpack_from(f"{order}HH", data, at + 2 + entry * 12)
        if tag in (_TIFF_WIDTH, _TIFF_HEIGHT, _TIFF_ORIENTATION):
            found[tag] = struct.unpack_from(f"{order}{'H' if kind == 3 else 'I'}", data, at + 10 + entry * 12)[0]
    return found


def _orientation(exif: bytes) -> int:
    exif = exif.removeprefix(b"Exif\0\0")
    try:
        orientation = _tags(exif).get(_TIFF_ORIENTATION, 1) if exif[:2] in (b"II", b"MM") else 1
    except (struct.error, IndexError):
        return 1
    return orientation if 1 <= orientation <= 8 else 1


def _webp(kind: str, data: bytes) -> PictureHeader | None:
    is_cut = struct.unpack_from("<I", data, 4)[0] + 8 > len(data)
    match data[12:16]:
        case b"VP8 ":
            width, height = struct.unpack_from("<HH", data, 26)
            return PictureHeader(kind, (width & 0x3FFF, height & 0x3FFF), is_cut=is_cut)
        case b"VP8L":
            bits = struct.unpack_from("<I", data, 21)[0]
            return PictureHeader(kind, ((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1), is_cut=is_cut)
        case b"VP8X":
            size = int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
            exif = next((body for name, body in _chunks(data, 12, "<") if name == b"EXIF"), b"")
            return PictureHeader(kind, size, _orientation(exif), is_cut)
        case _:
            return None


def _jpeg2000(kind: str, data: bytes) -> PictureHeader:
    if data.startswith(b"\xff\x4f"):
        right, below, left, above = struct.unpack_from(">IIII", data, 8)
        return PictureHeader(kind, (right - left, below - above))
    height, width = struct.unpack_from(">II", data, data.index(b"ihdr", 0, 4096) + 4)
    return PictureHeader(kind, (width, height))


def _heif(kind: str, data: bytes) -> PictureHeader:
    """Return the largest of the sizes named; thumbnails and tiles have theirs too."""
    sizes, at = [(1, 1)], 0
    while (at := data.find(b"ispe", at + 1, 1 << 20)) >= 0:
        sizes.append(struct.unpack_from(">II", data, at + 8))
    return PictureHeader(kind, max(sizes, key=lambda size: size[0] * size[1]))


def _tga(kind: str, data: bytes) -> PictureHeader:
    return PictureHeader(kind, struct.unpack_from("<HH", data, 12))


def _is_tga(data: bytes) -> bool:
    # There is no magic at the start. Colour map or none, the image type that goes with it, and a usual depth.
    kinds = {(0, 2), (0, 3), (0, 10), (0, 11), (1, 1), (1, 9)}
    return len(data) > 18 and (data[1], data[2]) in kinds and data[16] in (8, 15, 16, 24, 32) and data[17] < 64


def _has_brand(data: bytes, brands: frozenset[bytes]) -> bool:
    return data[4:8] == b"ftyp" and data[8:12] in brands


_PICTURES: tuple[tuple[str, Callable[[bytes], bool], Callable[[str, bytes], PictureHeader | None]], ...] = (
    ("PNG", lambda data: data.startswith(b"\x89PNG\r\n\x1a\n"), _png),
    ("JPEG", lambda data: data.startswith(b"\xff\xd8\xff"), _jpeg),
    ("GIF", lambda data: data.startswith(b"GIF8"), _gif),
    ("BMP", lambda data: data.startswith(b"BM"), _bmp),
    ("TIFF", lambda data: data.startswith((b"II*\0", b"MM\0*")), _tiff),
    ("WebP", lambda data: data[:4] == b"RIFF" and data[8:12] == b"WEBP", _webp),
    ("JPEG 2000", lambda data: data.startswith((b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51")), _jpeg2000),
    ("AVIF", lambda data: _has_brand(data, _AVIF_BRANDS), _heif),
    ("HEIC", lambda data: _has_brand(data, _HEIC_BRANDS), _heif),
    ("TGA", _is_tga, _tga),
)
