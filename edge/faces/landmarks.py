"""68 points of a face, from the project's own dlib predictor or any other of dlib's form."""

import hashlib
import json
from pathlib import Path

import dlib
import numpy as np
from numpy.typing import NDArray

from edge.errors import LandmarkModelError
from edge.faces.types import Box

POINTS = 68
_ONLY_NUMBERS = str.maketrans("", "", "points[]() ")
"""For ``points[(12, 34), (56, 78)]``, which is how dlib writes a list of points."""


def shipped_landmarks() -> Path:
    """Return the predictor that ships: in the checkout's ``models`` or in the installed package."""
    package = Path(__file__).resolve().parent.parent
    places = (package / "models/landmarks", package.parent / "models/landmarks")
    return next((place for place in places if place.is_dir()), places[-1]) / "landmarks68.dat"


class LandmarkPredictor:
    """Finds the 68 points of a face whose box is known. dlib releases the GIL while it works.

    Raises
    ------
    LandmarkModelError
        The file is missing, damaged, or predicts another number of points.
    """

    def __init__(self, path: Path | None = None) -> None:
        chosen = path or shipped_landmarks()
        if not chosen.is_file():
            raise LandmarkModelError(
                f"{chosen}: no such landmark predictor; train one with `python -m train landmarks`, "
                "or set `landmarks` to a dlib 68-point .dat"
            )
        if path is None:
            _check_hash(chosen)
        try:
            self._predictor = dlib.shape_predictor(str(chosen))
            count = self._predictor(np.zeros((80, 80), np.uint8), dlib.rectangle(0, 0, 79, 79)).num_parts
        except RuntimeError as error:
            raise LandmarkModelError(f"{chosen}: not a dlib shape predictor, or damaged: {error}") from error
        if count != POINTS:
            raise LandmarkModelError(f"{chosen}: predicts {count} points, {POINTS} are needed")

    def points(self, luma: NDArray[np.uint8], box: Box) -> NDArray[np.float32]:
        """Points float32 [68, 2] in pixels of ``luma`` (uint8 [height, width])."""
        shape = self._predictor(luma, dlib.rectangle(box.x, box.y, box.x + box.width - 1, box.y + box.height - 1))
        parts = shape.parts()
        # One text of all points is four times cheaper than 68 objects; where dlib writes another, the objects do.
        written = np.fromstring(str(parts).translate(_ONLY_NUMBERS), dtype=np.float32, sep=",")
        if written.size != 2 * POINTS:
            written = np.array([(p.x, p.y) for p in parts], dtype=np.float32)
        return written.reshape(POINTS, 2)


def _check_hash(path: Path) -> None:
    """Refuse a file other than the one that was shipped: dlib reads what it is given; it checks nothing."""
    manifest = path.with_name("manifest.json")
    try:
        expected = str(json.loads(manifest.read_text())["sha256"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LandmarkModelError(f"{manifest}: cannot be read: {error}; install again") from error
    if hashlib.sha256(path.read_bytes()).hexdigest() != expected:
        raise LandmarkModelError(f"{path}: damaged: its sha256 is not the one in {manifest.name}; install again")
