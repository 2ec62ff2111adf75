"""The landmark KNN on its way into a bundle: read as the device reads it, measured on held-out pictures."""

import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.errors import BundleError, UsageError
from edge.faces.distances import FEATURES
from edge.inference.knn import LandmarkKnn, rebuild
from edge.inference.manifest import MAX_KNN_BYTES
from train.metrics import Summary, summarise

FILE = "landmark-knn.pkl"
MAX_MS = 3.0
"""CPU time a face, its landmark distances included"""
TIMED_FACES = 200

Scores = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class KnnOutcome:
    """What came of the KNN."""

    content: bytes
    scikit_learn: str
    samples: int
    neighbors: int
    scores: Scores
    """[n, 5] of the validation part, then of the test part"""
    validation_balanced_accuracy: float
    test: Summary
    cpu_ms: float
    """CPU time a face, landmark distances included, one thread: the tenth percentile, since other work on the machine
    only ever adds to it"""
    missed: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "bytes": len(self.content),
            "scikit_learn": self.scikit_learn,
            "samples": self.samples,
            "neighbors": self.neighbors,
            "cpu_ms": round(self.cpu_ms, 3),
            "validation": {"balanced_accuracy": round(self.validation_balanced_accuracy, 4)},
            "test": {"after": self.test.as_dict()},
            "missed": list(self.missed),
        }


def measure_knn(path: Path, points: NDArray[np.float32], labels: NDArray[np.int8], validation: int) -> KnnOutcome:
    """Read a pickled pipeline and score faces with it.

    Parameters
    ----------
    path
        Protocol 4, brute-force search: what `edge.inference.knn` admits.
    points
        [n, 68, 2]: the first ``validation`` of the validation part, the others of the test part.
    labels
        [n], index into ``EMOTIONS``.

    Raises
    ------
    UsageError
        There is no such file.
    BundleError
        A device would refuse it.
    """
    if not path.is_file():
        raise UsageError(f"{path}: no such file; train a landmark KNN with: python -m train knn")
    content = path.read_bytes()
    if len(content) > MAX_KNN_BYTES:
        raise BundleError(f"{path}: has {len(content):,} bytes, allowed are {MAX_KNN_BYTES:,}")
    try:
        knn = rebuild(content, features=FEATURES, name="knn")
    except BundleError as error:
        raise BundleError(f"{path}: {error}") from None
    scores = knn.scores(np.zeros((len(points), 48, 48), np.uint8), points)
    cpu_ms = _cpu_ms(knn, points)
    missed = (f"knn: takes {cpu_ms:.2f} ms of CPU time a face, allowed are {MAX_MS:g}",) if cpu_ms > MAX_MS else ()
    before = summarise(scores[:validation], labels[:validation]).balanced_accuracy
    return KnnOutcome(
        content=content, scikit_learn=version("scikit-learn"), samples=knn.samples, neighbors=knn.neighbors,
        scores=scores, validation_balanced_accuracy=before, test=summarise(scores[validation:], labels[validation:]),
        cpu_ms=cpu_ms, missed=missed,
    )  # fmt: skip


def _cpu_ms(knn: LandmarkKnn, points: NDArray[np.float32]) -> float:
    chip = np.zeros((1, 48, 48), np.uint8)
    times_ms = []
    for index in range(TIMED_FACES):
        face = points[index % len(points)][None]
        began = time.process_time()
        knn.scores(chip, face)
        times_ms.append((time.process_time() - began) * 1000)
    return float(np.percentile(times_ms, 10))
