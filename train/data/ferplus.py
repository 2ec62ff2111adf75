"""FER+: what ten people said about each picture of FER2013 (Barsoum et al. 2016, arXiv:1608.01041)."""

import csv
import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.errors import DataError

COLUMNS = ("anger", "happiness", "sadness", "surprise", "neutral", "disgust", "fear")
"""Columns of the votes: the five emotions in our order, and the other two classes of FER2013."""
MOST_ROWS = 1_000_000
"""A larger row number is an error, and would take memory for every row below it."""


def read_votes(path: Path) -> NDArray[np.float32]:
    """Read the number of votes for each class.

    A column ``row`` gives the row of ``fer2013.csv``; without one the order of the lines does, as in
    ``fer2013new.csv``. The image names are not used, since they do not count every row.

    Returns float32 [rows, 7]; zeros for a picture without a vote for any of them.
    Raises `DataError`: the file cannot be read, or a line holds no votes; the message names the line.
    """
    table: dict[int, list[float]] = {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            missing = [name for name in COLUMNS if name not in (reader.fieldnames or [])]
            if missing:
                raise DataError(f"{path}: line 1: no FER+ votes: the header lacks {', '.join(missing)}")
            for index, fields in enumerate(reader):
                try:
                    row = int(fields["row"]) if "row" in fields else index
                    table[row] = _counts(row, fields)
                except (TypeError, ValueError) as error:
                    raise DataError(f"{path}: line {reader.line_num}: not a row of FER+ votes: {error}") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: not CSV in UTF-8: {error}") from error
    if not table:
        raise DataError(f"{path}: no votes in it")
    counts = np.zeros((max(table) + 1, len(COLUMNS)), dtype=np.float32)
    counts[list(table)] = list(table.values())
    return counts


def _counts(row: int, fields: dict[str, str]) -> list[float]:
    if not 0 <= row < MOST_ROWS:
        raise ValueError(f"row must be 0..{MOST_ROWS - 1}, found {row}")
    counts = [float(fields[name]) for name in COLUMNS]
    if not all(math.isfinite(count) and 0 <= count <= 1000 for count in counts):
        raise ValueError("votes must be numbers from 0")
    return counts
