"""Completes pictures whose end is missing, so that a decoder gives the rows that came.

Sources: JPEG (ITU T.81, B.1.1.3), PNG (W3C Recommendation, 5.3, 7.2 and 9.2), BMP (BITMAPFILEHEADER).
"""

import struct
import zlib
from collections.abc import Iterator

_PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_PNG_FIRST_CHUNK = 33
"""Bytes up to the end of the first chunk."""
_PNG_DEPTHS = (1, 2, 4, 8, 16)
_MOST_BYTES = 300_000_000
"""A picture of the largest allowed size with four bytes a pixel."""
_JPEG_END = b"\xff\xd9"


def completed(kind: str, data: bytes) -> bytes | None:
    """Return a picture with its missing rows in one colour; None if this cannot be done for its kind.

    ``kind``: as `edge.content.PictureHeader` calls it.
    ``data``: the bytes that came. The size of the picture has been checked.
    """
    match kind:
        case "JPEG":
            return data + _JPEG_END
        case "PNG":
            return _completed_png(data)
        case "BMP":
            stated_bytes = struct.unpack_from("<I", data, 2)[0]
            return data.ljust(stated_bytes, b"\0") if stated_bytes <= _MOST_BYTES else None
        case _:
            return None


def _completed_png(data: bytes) -> bytes | None:
    if len(data) < _PNG_FIRST_CHUNK:
        return None
    width, height, depth, colour, _, _, interlace = struct.unpack_from(">IIBBBBB", data, 16)
    if (
        interlace or colour not in _PNG_CHANNELS or depth not in _PNG_DEPTHS
    ):  # interlaced, rows come in seven rounds: there are none that came
        return None
    row = 1 + (width * depth * _PNG_CHANNELS[colour] + 7) // 8
    all_rows = height * row
    unpack, rows, head = zlib.decompressobj(), b"", data[:8]
    for name, body in _chunks(data):
        if name == b"IDAT":
            try:
                rows += unpack.decompress(body, max(1, all_rows - len(rows)))
            except zlib.error:
                return None
        elif not rows:
            head += _chunk(name, body)
    if len(rows) < row:
        return None
    return head + _chunk(b"IDAT", zlib.compress(rows[:all_rows].ljust(all_rows, b"\0"), 1)) + _chunk(b"IEND", b"")


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the chunks, the last one as far as it came."""
    at = 8
    while at + 8 < len(data):
        length, name = struct.unpack_from(">I4s", data, at)
        yield name, data[at + 8 : at + 8 + length]
        at += 12 + length


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
