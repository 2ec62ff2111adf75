"""Make a dlib shape predictor a third smaller by rounding its leaf values, which need no 24-bit floats.

dlib writes a float as a whole-number mantissa and an exponent, and leaves out zero bytes at the mantissa's end
(``dlib/float_details.h``, ``dlib/serialize.h``). Rounded to 8 significant bits, which moves each small step by at most
1/512 of itself, a leaf's number takes 4 bytes in place of 6. The file stays an ordinary dlib predictor.
"""

import io
import math
from collections.abc import Callable
from pathlib import Path

from edge.errors import DataError

SIGNIFICANT_BITS = 8
_SIGN, _SIZE_MASK = 0x80, 0x0F


def compact_predictor(source: Path, out: Path) -> None:
    """Copy a shape predictor with its leaf values rounded.

    Raises `DataError`: ``source`` is not a shape predictor of dlib's version 1.
    """
    copier = _Copier(source.read_bytes())
    try:
        if copier.integer() != 1:
            raise DataError(f"{source}: not a shape predictor of version 1")
        copier.matrix(rounded=False)  # the mean shape
        copier.vector(lambda: copier.vector(copier.tree))
        copier.vector(lambda: copier.vector(copier.integer))  # nearest point of each pixel
        copier.vector(lambda: copier.vector(copier.point))  # its distance from that
    except IndexError as error:
        raise DataError(f"{source}: ends too early") from error
    if not copier.at_end():
        raise DataError(f"{source}: holds more than a shape predictor")
    out.write_bytes(copier.written())


class _Copier:
    """Copy dlib's serialisation item by item."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0
        self._out = io.BytesIO()

    def integer(self) -> int:
        value = self._read()
        self._write(value)
        return value

    def number(self, *, rounded: bool = False) -> None:
        mantissa, exponent = self._read(), self._read()
        if rounded and mantissa:
            mantissa, exponent = _round(mantissa, exponent)
        self._write(mantissa)
        self._write(exponent)

    def vector(self, item: Callable[[], object]) -> None:
        for _ in range(self.integer()):
            item()

    def matrix(self, *, rounded: bool) -> None:
        rows, columns = -self.integer(), -self.integer()  # dlib writes them negative, to tell its formats apart
        for _ in range(rows * columns):
            self.number(rounded=rounded)

    def point(self) -> None:
        self.number()
        self.number()

    def tree(self) -> None:
        self.vector(self._split)
        self.vector(lambda: self.matrix(rounded=True))

    def at_end(self) -> bool:
        return self._at == len(self._data)

    def written(self) -> bytes:
        return self._out.getvalue()

    def _split(self) -> None:
        self.integer()
        self.integer()
        self.number()

    def _read(self) -> int:
        head = self._data[self._at]
        size = head & _SIZE_MASK
        if self._at + 1 + size > len(self._data):
            raise IndexError
        value = int.from_bytes(self._data[self._at + 1 : self._at + 1 + size], "little")
        self._at += 1 + size
        return -value if head & _SIGN else value

    def _write(self, value: int) -> None:
        magnitude = abs(value)
        body = magnitude.to_bytes(max(1, (magnitude.bit_length() + 7) // 8), "little")
        self._out.write(bytes([len(body) | (_SIGN if value < 0 else 0)]) + body)


def _round(mantissa: int, exponent: int) -> tuple[int, int]:
    """Round to few significant bits, and drop zero bytes at the mantissa's end."""
    excess = max(0, abs(mantissa).bit_length() - SIGNIFICANT_BITS)
    kept = int(math.copysign(round(abs(mantissa) / 2**excess), mantissa)) << excess
    while kept and kept % 256 == 0:
        kept, exponent = kept // 256, exponent + 8
    return kept, exponent
