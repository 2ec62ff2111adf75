"""Folders of pictures by class, read file by file and checked.

``FOLDER/angry/*.png``                                     one set, which `prepare` splits
``FOLDER/train/angry/*.png``, ``FOLDER/test/angry/*.png``  split already, `validation` and FER2013's names too

The name of a folder, in any case, is its class; a class that is none of the five emotions is kept apart. A file that
cannot be read becomes a `BadRow` with the reason.
"""

import difflib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.cameras.pictures import PICTURE_SUFFIXES, read_picture
from edge.emotions import EMOTIONS
from edge.errors import DataError, ImageError, printable_path
from train.data.csv_rows import SIDE_PX, SYNONYMS, BadRow, Row

OTHER_CLASS = -1

_LABELS = {name: label for label, (own, others) in enumerate(SYNONYMS.items()) for name in (own, *others)}
"""In the order of ``EMOTIONS``, and then the other two classes of FER2013."""
_USAGES = {
    "train": "Training", "training": "Training",
    "val": "Validation", "valid": "Validation", "validation": "Validation",
    "test": "PublicTest", "testing": "PublicTest", "publictest": "PublicTest", "privatetest": "PrivateTest",
}  # fmt: skip
_NEARLY = 0.7
"""Similarity (`difflib`) from which a folder's name is taken for a slip: suprise, natural, angry1."""


@dataclass(frozen=True, slots=True)
class PictureFile:
    """A picture file, with the label and the part that its folders give it."""

    path: Path
    label: int
    """index into ``EMOTIONS``, 5 for disgust, 6 for fear, or `OTHER_CLASS`"""
    usage: str | None
    """Training, Validation, PublicTest or PrivateTest; None if the folder is not split"""


def list_pictures(folder: Path) -> list[PictureFile]:
    """Return every picture file of a folder, sorted by name.

    Hidden files and folders (``._a.jpg``, ``__MACOSX``) and files without a picture's suffix are skipped.

    Raises `DataError`: the folder is in neither form, a folder's name is nearly that of an emotion, or there is no
    picture of the five emotions.
    """
    inside = _folders(folder)
    usages = {child: _USAGES[child.name.strip().lower()] for child in inside if child.name.strip().lower() in _USAGES}
    if usages and len(usages) < len(inside):
        strange = next(child.name for child in inside if child not in usages)
        raise DataError(f"{folder}: has {strange!r} beside its train and test folders; give it one form")
    if usages and "Training" not in usages.values():
        raise DataError(f"{folder}: has {', '.join(child.name for child in usages)} but no train folder beside it")
    if usages and set(usages.values()) == {"Training", "Validation"}:  # the only held-out part is what figures are for
        usages = {child: "PublicTest" if usage == "Validation" else usage for child, usage in usages.items()}
    parts = list(usages.items()) if usages else [(folder, None)]
    files = [found for part, usage in parts for found in _of_part(part, usage)]
    if not any(0 <= file.label < len(EMOTIONS) for file in files):
        raise DataError(
            f"{folder}: holds no pictures in folders named {', '.join(EMOTIONS)}, in it or in train and test"
        )
    return files


def read_files(files: Iterable[PictureFile]) -> Iterator[Row | BadRow]:
    """Yield every picture, gray and 48x48, cut to the square in its middle; a `BadRow` if it cannot be read."""
    for number, file in enumerate(files):
        try:
            luma = read_picture(file.path, name="the file").luma
        except ImageError as error:
            yield BadRow(printable_path(file.path), str(error).removeprefix("the file: "))
            continue
        yield Row(number, _shrunk(luma), file.label, file.usage)


def _of_part(part: Path, usage: str | None) -> Iterator[PictureFile]:
    for child in _folders(part):
        label = _label(child)
        for path in sorted(child.iterdir()):
            if path.suffix.lower() in PICTURE_SUFFIXES and not path.name.startswith(".") and path.is_file():
                yield PictureFile(path, label, usage)


def _label(folder: Path) -> int:
    """Raises ``DataError`` for a name that is nearly an emotion's: its pictures would silently be another class."""
    name = folder.name.lower()
    near = difflib.get_close_matches(name.strip(), _LABELS, n=1, cutoff=_NEARLY)
    if near and name not in _LABELS:
        raise DataError(f"{folder.parent}: has a folder {folder.name!r}; did you mean {near[0]!r}? Rename it")
    return _LABELS.get(name, OTHER_CLASS)


def _folders(folder: Path) -> list[Path]:
    try:
        return sorted(
            child for child in folder.iterdir() if child.is_dir() and not child.name.startswith((".", "__MACOSX"))
        )
    except OSError as error:
        raise DataError(f"{folder}: cannot be read: {error.strerror}") from error


def _shrunk(luma: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = luma.shape
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = luma[top : top + side, left : left + side]
    if side == SIDE_PX:
        return square.copy()
    how = cv2.INTER_AREA if side > SIDE_PX else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(square, (SIDE_PX, SIDE_PX), interpolation=how), dtype=np.uint8)
