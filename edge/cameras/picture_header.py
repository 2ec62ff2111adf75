"""Width and height from a picture's header, before a byte of it is decoded.

OpenCV's own limit (OPENCV_IO_MAX_IMAGE_PIXELS) is read once a process and allows a gigapixel. Sources: PNG (W3C
Recommendation, 11.2.2), JPEG (ITU T.81, B.2.2), GIF89a (section 18), BMP (BITMAPINFOHEADER), TIFF 6.0 (section 2),
WebP (RFC 9649).
"""

import struct
from collections.abc import Callable

Size = tuple[int, int]
"""width, height, pixels"""

# Start-of-frame markers: 0xC0..0xCF but for DHT (C4), JPG (C8) and DAC (CC).
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_BARE = frozenset({0x01, *range(0xD0, 0xD9)})
_TIFF_WIDTH, _TIFF_HEIGHT = 256, 257


def picture_size(data: bytes) -> Size | None:
    """Return width and height, None where this is no picture of a known kind or its header is damaged."""
    for magic, reader in _READERS.items():
        if data.startswith(magic):
            try:
                size = reader(data)
            except (struct.error, IndexError):
                return None
            return size if size and min(size) > 0 else None
    return None


def _png(data: bytes) -> Size | None:
    width, height = struct.unpack_from(">II", data, 16)
    return (width, height) if data[12:16] == b"IHDR" else None


def _jpeg(data: bytes) -> Size | None:
    at = 2
    while True:
        at = data.find(b"\xff", at)
        if at < 0:
            return None
        while data[at] == 0xFF:
            at += 1
        marker = data[at]
        at += 1
        if marker in _JPEG_FRAMES:
            height, width = struct.unpack_from(">HH", data, at + 3)
            return width, height
        if marker not in _JPEG_BARE:
            at += struct.unpack_from(">H", data, at)[0]


def _gif(data: bytes) -> Size:
    width, height = struct.unpack_from("<HH", data, 6)
    return width, height


def _bmp(data: bytes) -> Size:
    header_bytes = struct.unpack_from("<I", data, 14)[0]
    width, height = struct.unpack_from("<HH" if header_bytes == 12 else "<ii", data, 18)
    return abs(width), abs(height)


def _tiff(data: bytes) -> Size | None:
    order = "<" if data.startswith(b"II") else ">"
    at = struct.unpack_from(f"{order}I", data, 4)[0]
    found: dict[int, int] = {}
    for entry in range(struct.unpack_from(f"{order}H", data, at)[0]):
        tag, kind = struct.unpack_from(f"{order}HH", data, at + 2 + entry * 12)
        if tag in (_TIFF_WIDTH, _TIFF_HEIGHT):
            found[tag] = struct.unpack_from(f"{order}{'H' if kind == 3 else 'I'}", data, at + 10 + entry * 12)[0]
    return (found[_TIFF_WIDTH], found[_TIFF_HEIGHT]) if len(found) == 2 else None


def _webp(data: bytes) -> Size | None:
    if data[8:12] != b"WEBP":
        return None
    match data[12:16]:
        case b"VP8 ":
            width, height = struct.unpack_from("<HH", data, 26)
            return width & 0x3FFF, height & 0x3FFF
        case b"VP8L":
            bits = struct.unpack_from("<I", data, 21)[0]
            return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        case b"VP8X":
            return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
        case _:
            return None


_READERS: dict[bytes, Callable[[bytes], Size | None]] = {
    b"\x89PNG\r\n\x1a\n": _png,
    b"\xff\xd8\xff": _jpeg,
    b"GIF8": _gif,
    b"BM": _bmp,
    b"II*\0": _tiff,
    b"MM\0*": _tiff,
    b"RIFF": _webp,
}
