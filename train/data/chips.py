"""Chips of the faces in a folder of pictures by class, cut as the device cuts them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.cameras.pictures import read_picture
from edge.emotions import EMOTIONS
from edge.errors import DataError, ImageError, printable_path
from train.data.csv_rows import SIDE_PX
from train.data.folder import list_pictures


@dataclass(frozen=True, slots=True, eq=False)
class Chips:
    """Faces with their labels."""

    images: NDArray[np.uint8]
    """[n, 48, 48]"""
    labels: NDArray[np.int8]
    """[n], index into ``EMOTIONS``"""

    def select(self, chosen: NDArray[np.bool_]) -> "Chips":
        """Return those for which ``chosen`` [n] is True."""
        return Chips(self.images[chosen], self.labels[chosen])


def read_chips(folder: Path, *, report: Callable[[str], None] = lambda _line: None) -> Chips:
    """Read the largest face of each picture; a picture of 48x48 is taken for a chip.

    Folders of other classes than the five emotions are passed over. A picture that cannot be read, or shows no face,
    is reported and left out.

    Raises `DataError`: the folder is no folder of pictures by class, or no picture shows a face.
    """
    from edge.analyzer import EmotionAnalyzer
    from edge.faces.chip import face_chip

    analyzer = EmotionAnalyzer()
    chips, labels = [], []
    for file in list_pictures(folder):
        if not 0 <= file.label < len(EMOTIONS):
            continue
        try:
            luma = read_picture(file.path).luma
        except ImageError as error:
            report(f"{error}; left out")
            continue
        if luma.shape != (SIDE_PX, SIDE_PX):
            faces = analyzer.analyze(luma)
            if not faces:
                report(f"{printable_path(file.path)}: no face found; left out")
                continue
            luma = face_chip(luma, faces[0].landmarks)
        chips.append(luma)
        labels.append(file.label)
    if not chips:
        raise DataError(f"{folder}: no picture shows a face")
    return Chips(np.stack(chips), np.array(labels, np.int8))
