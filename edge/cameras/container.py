"""Whether a clip is shorter than its own container says, which tells a cut clip from one that was merely trimmed.

A count of frames does not: an MP4 trimmed without being encoded again still counts the frames that its edit list
leaves out. Sources: ISO/IEC 14496-12 (boxes of MP4 and MOV), Microsoft's RIFF and OpenDML (AVI).
"""

import struct
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

_FIRST_BOXES = frozenset({b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide"})
_MOST_BOXES = 100_000
"""A fragmented clip has two a second or so."""


def bytes_missing(path: Path) -> int:
    """Return how many bytes the container says should follow the file's end; 0 where it is whole or cannot tell.

    Raises
    ------
    OSError
        The file cannot be read.
    """
    length = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(12)
        if head[:4] == b"RIFF" and head[8:] == b"AVI ":
            return _walk(file, length, _riff_chunk)
        if head[4:8] in _FIRST_BOXES:
            return _walk(file, length, _box)
    return 0


def _walk(file: BinaryIO, length: int, size_of: Callable[[bytes], int]) -> int:
    at = 0
    for _ in range(_MOST_BOXES):
        file.seek(at)
        header = file.read(16)
        size = size_of(header) if len(header) == 16 else 0
        if size == 0:
            return 0
        at += size
        if at >= length:
            return at - length
    return 0


def _riff_chunk(header: bytes) -> int:
    # A recorder that lost its power has left 0 there.
    size: int = struct.unpack_from("<I", header, 4)[0]
    return 8 + size + size % 2 if size and header[:4] == b"RIFF" else 0


def _box(header: bytes) -> int:
    size: int = struct.unpack_from(">I", header)[0]
    if size == 1:
        size = struct.unpack_from(">Q", header, 8)[0]
    # 0 is "up to the end", and less than a header is damage.
    return size if size >= 8 else 0
