"""Folders of pictures by class, read file by file and checked.

``FOLDER/angry/*.png``                                   one set, which `prepare` splits itself
``FOLDER/train/angry/*.png``, ``FOLDER/test/angry/*.png``  split already

A class is known by its folder's name, in any case; one that is none of the five emotions is kept aside. A file that
is refused is named with the reason; what happens then is the caller's choice.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.cameras.pictures import PICTURE_SUFFIXES, read_picture
from edge.emotions import EMOTIONS
from edge.errors import DataError, ImageError
from train.data.csv_rows import SIDE_PX, Row

SYNONYMS = {
    "angry": ("anger",),
    "happy": ("happiness", "joy"),
    "sad": ("sadness",),
    "surprise": ("surprised",),
    "neutral": ("neutrality",),
}
"""Other names that data sets give the five (FER+, AffectNet, RAF-DB, KDEF, CK+ among them)."""
OTHER_CLASS = -1

_LABELS = {name: label for label, emotion in enumerate(EMOTIONS) for name in (str(emotion), *SYNONYMS[str(emotion)])}
_USAGES = {"train": "Training", "training": "Training", "test": "PublicTest", "testing": "PublicTest"}


@dataclass(frozen=True, slots=True)
class PictureFile:
    """A picture that is to be read."""

    path: Path
    label: int
    """index into ``EMOTIONS``, or `OTHER_CLASS`"""
    usage: str | None
    """Training or PublicTest; None where the folder is not split"""


@dataclass(frozen=True, slots=True)
class BadFile:
    """A file that was refused."""

    path: Path
    reason: str

    @property
    def where(self) -> str:
        """How a message names it."""
        return str(self.path)

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return {"file": str(self.path), "reason": self.reason}


def list_pictures(folder: Path) -> list[PictureFile]:
    """Every picture file of a folder, in the order of their names, whatever the file system's order is.

    Hidden files, and files whose suffix is no picture's, are passed over.

    Raises
    ------
    DataError
        The folder is neither of the two forms, or holds no picture of the five emotions.
    """
    inside = _folders(folder)
    usages = {child: _USAGES[child.name.lower()] for child in inside if child.name.lower() in _USAGES}
    if usages and len(usages) < len(inside):
        strange = next(child.name for child in inside if child not in usages)
        raise DataError(f"{folder}: has {strange!r} beside its train and test folders; give it one form")
    parts = list(usages.items()) if usages else [(folder, None)]
    files = [found for part, usage in parts for found in _of_part(part, usage)]
    if not any(file.label != OTHER_CLASS for file in files):
        raise DataError(
            f"{folder}: holds no pictures in folders named {', '.join(EMOTIONS)}, in it or in train and test"
        )
    return files


def read_files(files: Iterable[PictureFile]) -> Iterator[Row | BadFile]:
    """Yield every picture, gray and 48x48; a `BadFile` in place of one that cannot be read.

    The square in the middle of a picture counts.
    """
    for number, file in enumerate(files):
        try:
            luma = read_picture(file.path, name="the file").luma
        except ImageError as error:
            yield BadFile(file.path, str(error).removeprefix("the file: "))
            continue
        yield Row(number, _shrunk(luma), file.label, file.usage)


def _of_part(part: Path, usage: str | None) -> Iterator[PictureFile]:
    for child in _folders(part):
        label = _LABELS.get(child.name.lower(), OTHER_CLASS)
        for path in sorted(child.iterdir()):
            if path.suffix.lower() in PICTURE_SUFFIXES and not path.name.startswith(".") and not path.is_dir():
                yield PictureFile(path, label, usage)


def _folders(folder: Path) -> list[Path]:
    try:
        return sorted(child for child in folder.iterdir() if child.is_dir() and not child.name.startswith("."))
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
