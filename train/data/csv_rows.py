"""The two CSV forms of FER2013, read line by line and checked.

``fer2013.csv`` (Kaggle)  emotion 0-6, pixels, Usage (Training, PublicTest or PrivateTest)
``ferdata.csv`` (article) emotion 0-4, pixels

A row is refused with its line number and the reason; what happens then is the caller's choice.
"""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

from edge.errors import DataError

Form = Literal["kaggle", "article"]

SIDE_PX = 48
PIXELS = SIDE_PX * SIDE_PX
USAGES = ("Training", "PublicTest", "PrivateTest")
KAGGLE_CLASSES = 7
ARTICLE_CLASSES = 5
KAGGLE_TO_EMOTION = np.array([0, -1, -1, 1, 2, 3, 4], dtype=np.int8)
"""Kaggle's label to ours; -1 for disgust and fear, which are none of the five."""

LONGEST_LINE = 1 << 16
"""bytes; a row of 2304 pixels has at most 9,300. A longer line is no row, and never read into memory whole."""


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """One picture of a CSV file."""

    number: int
    """0 for the first row under the header, bad ones counted too; FER+ votes are joined by it"""
    image: NDArray[np.uint8]
    """gray [48, 48]"""
    label: int
    """as the file has it: 0-6 (Kaggle) or 0-4 (article)"""
    usage: str | None
    """Training, PublicTest or PrivateTest; None in the article's form"""


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that was refused."""

    line: int
    """in the file, 1 is the header"""
    reason: str

    @property
    def where(self) -> str:
        """How a message names it."""
        return f"line {self.line}"

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return {"line": self.line, "reason": self.reason}


def sniff_form(path: Path) -> Form:
    """Tell which of the two forms a file has, from its header.

    Raises
    ------
    DataError
        The file is missing, empty, or its header is neither form's.
    """
    try:
        with path.open("rb") as file:
            line = file.readline(LONGEST_LINE).decode("utf-8-sig")
        header = [name.strip().lower() for name in _split(line)] if line.strip() else []
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise DataError(f"{path}: line 1: not CSV in UTF-8: {error}") from error
    if header[:2] != ["emotion", "pixels"] or header[2:] not in ([], ["usage"]):
        found = repr(",".join(header)[:60]) if header else "an empty line"
        raise DataError(f"{path}: line 1: the header must be emotion,pixels or emotion,pixels,Usage; found {found}")
    return "kaggle" if len(header) == 3 else "article"


def read_rows(file: BinaryIO, form: Form) -> Iterator[Row | BadRow]:
    """Yield every row under the header, checked; a `BadRow` in place of one that does not hold a picture.

    Every line stands for itself, so that one stray quote costs one row. Blank lines are passed over.
    """
    number = -1
    for line_number, line in enumerate(_lines(file), start=1):
        if line_number == 1 or (line is not None and not line.strip()):
            continue
        number += 1
        try:
            if line is None:
                raise ValueError(f"longer than {LONGEST_LINE} bytes")
            yield _parse(number, line.decode(errors="replace"), form)
        except ValueError as error:
            yield BadRow(line_number, str(error))


def _lines(file: BinaryIO) -> Iterator[bytes | None]:
    """Yield the lines of a file, None for one that is too long."""
    while line := file.readline(LONGEST_LINE):
        if line.endswith(b"\n") or len(line) < LONGEST_LINE:
            yield line
            continue
        while line and not line.endswith(b"\n"):
            line = file.readline(LONGEST_LINE)
        yield None


def _split(line: str) -> list[str]:
    try:
        return next(csv.reader([line], strict=True), [])
    except csv.Error as error:
        raise ValueError(f"not CSV: {error}") from error


def _parse(number: int, line: str, form: Form) -> Row:
    fields = _split(line)
    expected = 3 if form == "kaggle" else 2
    if len(fields) != expected:
        raise ValueError(f"{len(fields)} columns where {expected} are due")
    classes = KAGGLE_CLASSES if form == "kaggle" else ARTICLE_CLASSES
    label = fields[0].strip()
    if label not in map(str, range(classes)):
        raise ValueError(f"emotion must be 0..{classes - 1}, found {label[:20]!r}")
    usage = fields[2].strip() if form == "kaggle" else None
    if usage is not None and usage not in USAGES:
        raise ValueError(f"Usage must be one of {', '.join(USAGES)}, found {usage[:20]!r}")
    return Row(number, _parse_pixels(fields[1]), int(label), usage)


def _parse_pixels(text: str) -> NDArray[np.uint8]:
    # numpy's parser is nine times as fast as int() but lenient, and lenient in other ways in each version; on
    # digits and spaces alone all agree, and a number too large for int64 comes out as the largest.
    if text.translate(_WITHOUT_DIGITS).strip(" "):
        wrong = next(word for word in text.split(" ") if word and not (word.isascii() and word.isdigit()))
        raise ValueError(f"pixels must be whole numbers 0..255, found {wrong[:20]!r}")
    values = np.fromstring(text, dtype=np.int64, sep=" ") if text.strip(" ") else np.zeros(0, dtype=np.int64)
    if values.size != PIXELS:
        raise ValueError(f"{values.size} pixels where {PIXELS} (48 x 48) are due")
    if values.max() > 255:
        wrong = next(word for word in text.split(" ") if word and (len(word) > 18 or int(word) > 255))
        raise ValueError(f"pixels must be whole numbers 0..255, found {wrong[:20]!r}")
    return values.astype(np.uint8).reshape(SIDE_PX, SIDE_PX)


_WITHOUT_DIGITS = str.maketrans("", "", "0123456789")
