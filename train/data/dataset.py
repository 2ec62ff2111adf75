"""A prepared data set: pictures, labels, parts, and a fingerprint.

``python -m train prepare`` writes it; every command that trains or evaluates reads it.
"""

import hashlib
import json
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.emotions import EMOTIONS
from edge.errors import DataError
from train.files import replacing

PARTS = ("train", "validation", "test", "excluded")
SCHEMA = 2
CLASSES = 7
"""Number of classes that networks are trained on: the five emotions, disgust, fear."""


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """Pictures with labels and parts.

    Raises ``DataError`` on arrays whose shapes or values do not fit together.
    """

    images: NDArray[np.uint8]
    """gray [n, 48, 48]"""
    labels: NDArray[np.int8]
    """[n], index into ``EMOTIONS``; 5 for disgust, 6 for fear, -1 for a face of another class"""
    parts: NDArray[np.uint8]
    """[n], index into ``PARTS``; excluded: a copy of a picture of another part"""
    votes: NDArray[np.float32] | None
    """float32 [n, 7] the crowd's votes (FER+) for each class"""
    notes: dict[str, Any]
    """its source: files, split, and counts of what was left out"""

    def __post_init__(self) -> None:
        n = len(self.images)
        if self.images.shape != (n, 48, 48) or self.images.dtype != np.uint8:
            raise DataError(f"images must be uint8 [n, 48, 48], found {self.images.dtype} {self.images.shape}")
        for name, array, dtype in (("labels", self.labels, np.int8), ("parts", self.parts, np.uint8)):
            if array.shape != (n,) or array.dtype != dtype:
                raise DataError(f"{name} must be {np.dtype(dtype)} [{n}], found {array.dtype} {array.shape}")
        if n and (self.parts.max() >= len(PARTS) or self.labels.min() < -1 or self.labels.max() >= CLASSES):
            raise DataError(f"parts must be 0..{len(PARTS) - 1} and labels -1..{CLASSES - 1}")
        if self.votes is not None:
            if self.votes.shape != (n, CLASSES) or self.votes.dtype != np.float32:
                raise DataError(f"votes must be float32 [{n}, {CLASSES}], found {self.votes.dtype} {self.votes.shape}")
            if not np.all(np.isfinite(self.votes) & (self.votes >= 0)):
                raise DataError("votes must be numbers from 0")

    def select(self, part: str) -> NDArray[np.intp]:
        """Row indices of the five-emotion pictures of a part, in stored order."""
        if part not in PARTS:
            raise DataError(f"no part is called {part!r}; there are {', '.join(PARTS)}")
        return np.flatnonzero((self.parts == PARTS.index(part)) & (self.emotion_labels >= 0))

    @property
    def emotion_labels(self) -> NDArray[np.int8]:
        """Labels [n] of the five emotions, -1 for every other face."""
        return np.where(self.labels < len(EMOTIONS), self.labels, np.int8(-1))

    def vote_shares(self, rows: NDArray[np.intp], classes: int = len(EMOTIONS)) -> NDArray[np.float32]:
        """Shares of the votes for the first ``classes`` classes, float32 [n, classes]; rows sum to 1 or are all 0."""
        counts = np.zeros((len(rows), classes), np.float32) if self.votes is None else self.votes[rows, :classes]
        total = counts.sum(axis=1, keepdims=True)
        return np.divide(counts, total, out=np.zeros_like(counts), where=total > 0)

    def fingerprint(self) -> str:
        """sha256 of the five emotions' data: the same data gives the same text on every machine.

        Disgust and fear are left out, so that it is the one that version 0.1 gave.
        """
        digest = hashlib.sha256()
        votes = None if self.votes is None else self.vote_shares(np.arange(len(self.images)))
        for array in (self.images, self.emotion_labels, self.parts, votes):
            if array is not None:
                digest.update(f"{array.dtype.str}{array.shape}".encode())
                digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    def counts(self) -> dict[str, dict[str, int]]:
        """How many pictures of each emotion each part holds: ``{part: {emotion: n}}``."""
        return {
            part: {
                str(emotion): int(((self.parts == index) & (self.labels == label)).sum())
                for label, emotion in enumerate(EMOTIONS)
            }
            for index, part in enumerate(PARTS)
        }

    def save(self, path: Path) -> None:
        """Write one ``.npz``, whole or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        meta = json.dumps({"schema": SCHEMA, "fingerprint": self.fingerprint(), "notes": self.notes})
        arrays: dict[str, NDArray[Any]] = {"images": self.images, "labels": self.labels, "parts": self.parts}
        if self.votes is not None:
            arrays["votes"] = self.votes
        with replacing(path) as partial, partial.open("wb") as file:
            np.savez_compressed(file, meta=np.array(meta), **arrays)


def load_dataset(path: Path) -> Dataset:
    """Read what `Dataset.save` wrote.

    Raises `DataError`: the file is missing, is no prepared data set, or its content does not match its fingerprint.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file; write it with: python -m train prepare YOUR.csv --out {path}")
    try:
        # Opened here: numpy leaves a damaged file open.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            meta = json.loads(str(stored["meta"]))
            if meta.get("schema") != SCHEMA:
                raise DataError(f"written for schema {meta.get('schema')}, this version reads {SCHEMA}")
            votes = stored.get("votes")
            dataset = Dataset(stored["images"], stored["labels"], stored["parts"], votes, dict(meta["notes"]))
        if dataset.fingerprint() != meta["fingerprint"]:
            raise DataError("damaged: its content does not match its fingerprint")
    except DataError as error:
        raise DataError(f"{path}: {error}; write it again with: python -m train prepare") from error
    except DAMAGE as error:
        raise DataError(f"{path}: not a prepared data set ({error}); write it with: python -m train prepare") from error
    return dataset


def landmark_cache(data: Path) -> Path:
    """Return the file beside a data set that keeps its landmarks."""
    return data.with_name(f"{data.stem}.landmarks.npz")


DAMAGE = (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, zipfile.BadZipFile, zlib.error)
"""What numpy and zipfile raise for a file of another kind, or a damaged one; not documented."""
