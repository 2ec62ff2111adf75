"""The CSV forms of FER2013, read line by line and checked.

``fer2013.csv`` (Kaggle)  emotion 0-6, pixels, Usage (Training, PublicTest or PrivateTest)
``ferdata.csv`` (article) emotion 0-4, pixels

Columns are found by their names. A row that holds no picture becomes a `BadRow` with its line number and the reason.
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
KAGGLE_TO_EMOTION = np.array([0, 5, 6, 1, 2, 3, 4], dtype=np.int8)
"""Kaggle's label to ours; 5 and 6 are disgust and fear, which are none of the five emotions."""

SYNONYMS = {
    "angry": ("anger",),
    "happy": ("happiness", "joy"),
    "sad": ("sadness",),
    "surprise": ("surprised",),
    "neutral": ("neutrality",),
    "disgust": ("disgusted",),
    "fear": ("afraid", "fearful"),
}
"""Other names of the classes in data sets (FER+, AffectNet, RAF-DB, KDEF, CK+ and others)."""
_KAGGLE_OF_WORD = {
    word: int(np.flatnonzero(emotion == KAGGLE_TO_EMOTION)[0])
    for emotion, (own, others) in enumerate(SYNONYMS.items())
    for word in (own, *others)
}

SHARES: dict[Form, tuple[float, ...]] = {
    "kaggle": (0.138, 0.015, 0.143, 0.25, 0.169, 0.112, 0.173),
    "article": (0.2, 0.2, 0.2, 0.2, 0.2),
}
"""Shares of the labels: of ``fer2013.csv`` and of the article's balanced file."""
MEANINGS: dict[Form, str] = {
    "kaggle": "0 angry, 1 disgust, 2 fear, 3 happy, 4 sad, 5 surprise, 6 neutral",
    "article": "0 angry, 1 happy, 2 sad, 3 surprise, 4 neutral",
}
MOST_DISTANCE = 0.25
"""Largest distance of a file's shares to its form's that passes unasked (`_distance`)."""
LEAST_JUDGED = 100
"""Rows; the shares of fewer say too little."""
MOST_BEYOND = 0.01
"""Share of rows whose label is a number that neither form has; more are no slips, but another way of counting."""
PACKED = {
    b"\x1f\x8b": "tar -xzf or gunzip", b"PK\x03\x04": "unzip", b"BZh": "tar -xjf or bunzip2",
    b"\xfd7zXZ": "tar -xJf or unxz", b"7z\xbc\xaf": "7z x", b"Rar!": "unrar x", b"(\xb5/\xfd": "unzstd",
}  # fmt: skip
"""First bytes of compressed files, and the command that unpacks them."""
LONGEST_LINE = 1 << 16
"""bytes; a row of 2304 pixels has at most 9,300. A longer line is refused, and never read into memory whole."""


@dataclass(frozen=True, slots=True)
class Columns:
    """Where the columns of a CSV file are."""

    count: int
    emotion: int
    pixels: int
    usage: int | None
    """None in a file without a split"""
    separator: str = ","


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """One picture of a CSV file."""

    number: int
    """0 for the first row under the header, counting bad ones; FER+ votes are joined by it"""
    image: NDArray[np.uint8]
    """gray [48, 48]"""
    label: int
    """as in the file: 0-6 (Kaggle) or 0-4 (article)"""
    usage: str | None
    """Training, Validation, PublicTest or PrivateTest; None if the source is not split"""
    is_word: bool = False
    """its label was a word, such as happy; ``label`` is Kaggle's number for it"""


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row of a file, or a file of a folder, that was refused."""

    place: int | str
    """line in the file, 1 is the header; or the path"""
    reason: str
    beyond: int | None = None
    """its label, a number that no form has; None if something else is wrong"""

    @property
    def where(self) -> str:
        """Its place, for messages."""
        return f"line {self.place}" if isinstance(self.place, int) else self.place

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return {"line" if isinstance(self.place, int) else "file": self.place, "reason": self.reason}


def read_columns(path: Path) -> Columns:
    """Find the columns of a CSV file by the names in its header, in any order; further columns are passed over.

    Raises `DataError`: the file is missing, empty or compressed, or its header lacks a column.
    """
    try:
        with path.open("rb") as file:
            content = file.readline(LONGEST_LINE)
        _refuse_packed(path, content)
        line = content.decode("utf-8-sig")
        separator = max(_SEPARATORS, key=line.count)
        header = [name.strip().lower() for name in _split(line, separator)] if line.strip() else []
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: line 1: byte {error.start} is not UTF-8; save the file as CSV in UTF-8") from error
    except ValueError as error:
        raise DataError(f"{path}: line 1: {error}") from error
    if not all(header.count(name) == 1 for name in ("emotion", "pixels")) or header.count("usage") > 1:
        found = repr(",".join(header)[:60]) if header else "an empty line"
        raise DataError(
            f"{path}: line 1: the header must name the columns emotion and pixels once each, and may name Usage; "
            f"found {found}"
        )
    usage = header.index("usage") if "usage" in header else None
    return Columns(len(header), header.index("emotion"), header.index("pixels"), usage, separator)


_SEPARATORS = (",", ";", "\t")


def check_numbers(path: Path, rows: int, beyond: list[int]) -> None:
    """Check that few labels are numbers that no form has. Raises `DataError`.

    ``rows``: rows that hold a picture.
    ``beyond``: the labels of the others, if they are numbers.
    """
    if len(beyond) > max(1, MOST_BEYOND * (rows + len(beyond))):
        found = ", ".join(map(str, sorted(set(beyond))[:5]))
        raise DataError(
            f"{path}: {len(beyond)} rows have the label {found}, and Kaggle's go from 0 to {KAGGLE_CLASSES - 1}: "
            "if the file counts from 1, subtract 1 from each"
        )


def check_labels(path: Path, labels: NDArray[np.int8], form: Form, *, named: bool) -> None:
    """Check that the labels of a whole file are of this form.

    Nothing in a file says what its numbers mean. In Kaggle's form 3 is happy, in the article's surprise; a file that is
    read in the wrong form gives a network that has learned the wrong names.

    ``named``: the user named the form: then only numbers that it does not have are refused.
    Raises `DataError`: a label is none of this form's, or the shares of the labels are far from what the form has.
    """
    most = len(SHARES[form]) - 1
    if labels.max() > most:
        raise DataError(
            f"{path}: has labels up to {labels.max()}, the article's go from 0 to {most}: "
            + (
                "if the file counts from 1, subtract 1 from each"
                if labels.min() == 1
                else "the file is not in that form: --labels kaggle"
                if named
                else f"if they are Kaggle's ({MEANINGS['kaggle']}), name them: --labels kaggle"
            )
        )
    if named or len(labels) < LEAST_JUDGED:
        return
    counts = np.bincount(labels, minlength=most + 1)
    distances = {other: _distance(counts, other) for other in SHARES}
    if counts.all() and distances[form] == min(distances.values()) and distances[form] <= MOST_DISTANCE:
        return
    shares = ", ".join(f"{label}: {count / len(labels):.0%}" for label, count in enumerate(counts) if count)
    raise DataError(
        f"{path}: the shares of its labels ({shares}) are not those that are usual in such a file; name what they "
        f"mean: --labels kaggle ({MEANINGS['kaggle']}) or --labels article ({MEANINGS['article']})"
    )


def _distance(counts: NDArray[np.intp], form: Form) -> float:
    """Total variation between the labels' shares and the form's, among the numbers that occur: 0..1."""
    usual = np.zeros(len(counts))
    usual[: len(SHARES[form])] = SHARES[form][: len(counts)]
    return float(np.abs(counts / counts.sum() - usual / usual.sum()).sum() / 2)


def _refuse_packed(path: Path, content: bytes) -> None:
    for start, command in PACKED.items():
        if content.startswith(start):
            raise DataError(f"{path}: is a compressed file; unpack it first: {command} {path}")
    if content[257:262] == b"ustar":
        raise DataError(f"{path}: is an archive; unpack it first: tar -xf {path}")


def read_rows(file: BinaryIO, columns: Columns) -> Iterator[Row | BadRow]:
    """Yield every row under the header, checked; a `BadRow` for one that does not hold a picture.

    Each line is parsed on its own, so that a stray quote costs one row. Blank lines are skipped. Labels may be 0 to 6;
    `check_labels` judges them all together.
    """
    number = -1
    for line_number, line in enumerate(_lines(file), start=1):
        if line_number == 1 or (line is not None and not line.strip()):
            continue
        number += 1
        try:
            if line is None:
                raise ValueError(f"longer than {LONGEST_LINE} bytes")
            row = _parse(number, line.decode(errors="replace"), columns)
            wrong = f"emotion must be 0..{KAGGLE_CLASSES - 1}, found '{row.label}'"
            yield row if row.label < KAGGLE_CLASSES else BadRow(line_number, wrong, row.label)
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


def _split(line: str, separator: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=separator, strict=True, skipinitialspace=True), [])
    except csv.Error as error:
        raise ValueError(f"not CSV: {error}") from error


def _parse(number: int, line: str, columns: Columns) -> Row:
    fields = _split(line, columns.separator)
    if len(fields) != columns.count:
        raise ValueError(f"expected {columns.count} columns, found {len(fields)}")
    label, is_word = _label(fields[columns.emotion].strip())
    usage = None if columns.usage is None else _USAGE_OF.get(fields[columns.usage].strip().lower(), "")
    if usage == "":
        found = fields[columns.usage or 0].strip()[:20]
        raise ValueError(f"Usage must be one of {', '.join(USAGES)}, found {found!r}")
    return Row(number, _parse_pixels(fields[columns.pixels]), label, usage, is_word)


_USAGE_OF = {usage.lower(): usage for usage in USAGES}


def _label(text: str) -> tuple[int, bool]:
    """Return Kaggle's or the article's number, and whether it was a word."""
    if text.lower() in _KAGGLE_OF_WORD:
        return _KAGGLE_OF_WORD[text.lower()], True
    number = text.removesuffix(".0")  # as pandas writes them
    if number.isascii() and number.isdigit() and len(number) < 4:
        return int(number), False
    raise ValueError(f"emotion must be 0..{KAGGLE_CLASSES - 1}, found {text[:20]!r}")


def _parse_pixels(text: str) -> NDArray[np.uint8]:
    # numpy's parser is nine times as fast as int() but lenient, and lenient in other ways in each version; on
    # digits and spaces alone all agree, and a number too large for int64 comes out as the largest.
    if text.translate(_WITHOUT_DIGITS).strip(" "):
        wrong = next(word for word in text.split(" ") if word and not (word.isascii() and word.isdigit()))
        raise ValueError(f"pixels must be whole numbers 0..255, found {wrong[:20]!r}")
    values = np.fromstring(text, dtype=np.int64, sep=" ") if text.strip(" ") else np.zeros(0, dtype=np.int64)
    if values.size != PIXELS:
        raise ValueError(f"expected {PIXELS} pixels (48 x 48), found {values.size}")
    if values.max() > 255:
        wrong = next(word for word in text.split(" ") if word and (len(word) > 18 or int(word) > 255))
        raise ValueError(f"pixels must be whole numbers 0..255, found {wrong[:20]!r}")
    return values.astype(np.uint8).reshape(SIDE_PX, SIDE_PX)


_WITHOUT_DIGITS = str.maketrans("", "", "0123456789")
