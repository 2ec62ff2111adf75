"""Check a converted network, a KNN and their ensemble against what they were made from, on held-out pictures."""

import itertools
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.emotions import EMOTIONS
from edge.errors import BundleError, UsageError
from edge.faces.distances import FEATURES
from edge.inference.knn import LandmarkKnn, rebuild
from edge.inference.manifest import MAX_KNN_BYTES, MemberKind, NetworkKind, Quantization
from export.probe import Probe, probe
from train.data.dataset import Dataset
from train.metrics import Summary, rounded, summarise

Scores = NDArray[np.float32]

MIN_AGREEMENT = 0.99
"""Least share of validation pictures with the float network's top emotion."""
MAX_LOSS = 0.005
"""Largest loss of balanced accuracy on the validation part."""
MIN_SAME = 0.99
"""Least share of validation pictures with the same top emotion under two runtimes."""
MAX_DIFFERENCE = {"int8": 0.1, "dynamic": 0.05, "float16": 1e-3, "none": 1e-3}
"""Largest difference of a score between two runtimes. Their kernels round differently, and in int8 the steps of 14
layers add up: 0.055 was seen on FER2013 with a network that was not trained to its end, 0.009 for dynamic, 2e-7 in
float."""
KNN_FILE = "landmark-knn.pkl"
"""Name of the KNN in a bundle."""
MAX_KNN_MS = 3.0
"""CPU time a face, its landmark distances included."""
TIMED_KNN_FACES = 200
WEIGHT_STEP = 0.05
"""of the ensemble's weights"""
SCORE_FLOOR = 1e-3
"""Least score of the true emotion in the ensemble's loss: a KNN can give 0, which must not outweigh all others."""

Weights = dict[MemberKind, float]
"""of an ensemble's members; they sum to 1"""


@dataclass(frozen=True, slots=True)
class RuntimeFigures:
    """A converted model under one runtime, on the validation part."""

    runtime: str
    agreement: float
    """share of pictures on which the top emotion equals the float network's"""
    balanced_accuracy: float
    difference: float
    """largest difference of a score to the first runtime's"""
    same: float
    """share of pictures on which the top emotion equals the first runtime's"""
    latency_ms: dict[int, float]
    """median milliseconds a chip, by number of threads"""


@dataclass(frozen=True, slots=True, eq=False)
class Verification:
    """Result of the comparison. The model may be installed if ``missed`` is empty."""

    validation_n: int
    validation_balanced_accuracy: float
    """of the float network"""
    runtimes: tuple[RuntimeFigures, ...]
    before: Summary
    """the float network on the test part"""
    after: Summary
    """the converted model on the test part, under the first runtime"""
    both: Summary
    """the same, averaged over each picture and its mirror image"""
    scores: Scores
    """[n, 5] of the converted model under the first runtime: the validation part, then the test part"""
    mirrored: Scores
    """[n, 5] of the test part, averaged over each picture and its mirror image"""
    missed: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "agreement": round(self.runtimes[0].agreement, 4),
            "validation": {
                "n": self.validation_n,
                "float_balanced_accuracy": round(self.validation_balanced_accuracy, 4),
            },
            "runtimes": {found.runtime: rounded(asdict(found), 6) for found in self.runtimes},
            "test": {"before": self.before.as_dict(), "after": self.after.as_dict(), "mirrored": self.both.as_dict()},
            "missed": list(self.missed),
        }


@dataclass(frozen=True, slots=True, eq=False)
class NetworkOutcome:
    """One converted network, with what was measured of it."""

    kind: NetworkKind
    quantization: Quantization
    content: bytes
    """the TFLite model"""
    parameters: int
    macs: int
    calibration: dict[str, int]
    """number of pictures that set the ranges of int8, by where they came from"""
    origin: str | None
    """where the weights came from; None: trained from scratch"""
    verification: Verification

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "quantization": self.quantization,
            "bytes": len(self.content),
            "parameters": self.parameters,
            "macs": self.macs,
            "calibration": self.calibration,
            **self.verification.as_dict(),
        }


@dataclass(frozen=True, slots=True, eq=False)
class KnnOutcome:
    """The KNN: its file, figures and missed checks."""

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


def verify(
    model: bytes,
    quantization: Quantization,
    reference: Scores,
    dataset: Dataset,
    runtimes: Sequence[str],
    *,
    threads: Sequence[int] = (1,),
    limit_bytes: int | None = None,
) -> Verification:
    """Compare a converted model with the float network.

    The bounds are checked on the validation part; the test part is only reported.

    Raises `EmotionEdgeError`: a runtime cannot run the model.

    ``reference``: of the float network: [n, 5] of the validation part, then of the test part.
    ``runtimes``: names of at least one runtime; each runs the model in a process of its own.
    ``threads``: numbers of threads to measure the latency with.
    ``limit_bytes``: largest size that passes; None: any size.
    """
    validation, test = dataset.select("validation"), dataset.select("test")
    n = len(validation)
    chips = dataset.images[np.concatenate([validation, test])]
    with_mirrored = np.concatenate([chips, dataset.images[test][:, :, ::-1]])
    looked = probe(model, quantization, with_mirrored, runtimes[0], threads)
    first, flipped = replace(looked, scores=looked.scores[: len(chips)]), looked.scores[len(chips) :]
    both = (first.scores[n:] + flipped) / 2
    probes = [first, *(probe(model, quantization, chips[:n], name, threads) for name in runtimes[1:])]
    labels = dataset.labels[validation]
    figures = tuple(_figures(found, first, reference[:n], labels) for found in probes)
    float_accuracy = summarise(reference[:n], labels).balanced_accuracy
    return Verification(
        validation_n=n,
        validation_balanced_accuracy=float_accuracy,
        runtimes=figures,
        before=summarise(reference[n:], dataset.labels[test]),
        after=summarise(first.scores[n:], dataset.labels[test]),
        both=summarise(both, dataset.labels[test]),
        scores=first.scores,
        mirrored=both,
        missed=(
            *_missed(figures, float_accuracy, quantization, first.float_tensors),
            *_oversized(len(model), limit_bytes),
        ),
    )


def measure_knn(path: Path, points: NDArray[np.float32], labels: NDArray[np.int8], validation: int) -> KnnOutcome:
    """Read a pickled pipeline and score faces with it.

    Raises `UsageError`: there is no such file.
    Raises `BundleError`: a device would refuse it.

    ``path``: protocol 4, brute-force search: what `edge.inference.knn` admits.
    ``points``: [n, 68, 2]: the first ``validation`` of the validation part, the others of the test part.
    ``labels``: [n], index into ``EMOTIONS``.
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
    cpu_ms = _knn_cpu_ms(knn, points)
    missed = (
        (f"knn: takes {cpu_ms:.2f} ms of CPU time a face, allowed are {MAX_KNN_MS:g}",) if cpu_ms > MAX_KNN_MS else ()
    )
    before = summarise(scores[:validation], labels[:validation]).balanced_accuracy
    return KnnOutcome(
        content=content, scikit_learn=version("scikit-learn"), samples=knn.samples, neighbors=knn.neighbors,
        scores=scores, validation_balanced_accuracy=before, test=summarise(scores[validation:], labels[validation:]),
        cpu_ms=cpu_ms, missed=missed,
    )  # fmt: skip


def choose_weights(scores: Mapping[MemberKind, NDArray[np.float32]], labels: NDArray[np.int8]) -> Weights:
    """Choose the weights with the least mean negative log-likelihood, each class counting the same.

    Log-likelihood changes smoothly; accuracy would let a few undecided pictures choose.

    ``scores``: [n, 5] of each model on the validation part.
    ``labels``: [n], index into ``EMOTIONS``.
    Returns Weights in steps of 0.05 that sum to 1; a model that does not help is left out.
    """
    kinds = list(scores)
    of_truth = np.stack([scores[kind][np.arange(len(labels)), labels] for kind in kinds])
    present = [label for label in range(len(EMOTIONS)) if (labels == label).any()]

    def loss(weights: tuple[float, ...]) -> float:
        likelihood = np.maximum(np.array(weights) @ of_truth, SCORE_FLOOR)
        return float(np.mean([-np.log(likelihood[labels == label]).mean() for label in present]))

    best = min(_simplex(len(kinds), round(1 / WEIGHT_STEP)), key=loss)
    return {kind: round(weight, 2) for kind, weight in zip(kinds, best, strict=True) if weight > 0}


def mean_scores(scores: Mapping[MemberKind, NDArray[np.float32]], weights: Weights) -> NDArray[np.float32]:
    """Weighted mean [n, 5]."""
    return np.asarray(sum(weight * scores[kind] for kind, weight in weights.items()), dtype=np.float32)


def _oversized(size: int, limit: int | None) -> list[str]:
    return [f"has {size:,} bytes, allowed are {limit:,}"] if limit is not None and size > limit else []


def _figures(found: Probe, first: Probe, reference: Scores, labels: NDArray[np.int8]) -> RuntimeFigures:
    scores = found.scores[: len(reference)]
    return RuntimeFigures(
        runtime=found.runtime,
        agreement=float((scores.argmax(axis=1) == reference.argmax(axis=1)).mean()),
        balanced_accuracy=summarise(scores, labels).balanced_accuracy,
        difference=float(np.abs(scores - first.scores[: len(reference)]).max()),
        same=float((scores.argmax(axis=1) == first.scores[: len(reference)].argmax(axis=1)).mean()),
        latency_ms=found.latency_ms,
    )


def _missed(
    figures: Sequence[RuntimeFigures], float_accuracy: float, quantization: Quantization, float_tensors: int
) -> list[str]:
    missed = []
    for found in figures:
        loss = float_accuracy - found.balanced_accuracy
        if found.agreement < MIN_AGREEMENT:
            missed.append(
                f"{found.runtime}: agrees with the float network on {found.agreement:.2%}, expected {MIN_AGREEMENT:.0%}"
            )
        if found.same < MIN_SAME:
            missed.append(
                f"{found.runtime}: has {figures[0].runtime}'s top emotion on {found.same:.2%}, expected {MIN_SAME:.0%}"
            )
        if loss > MAX_LOSS:
            missed.append(f"{found.runtime}: loses {loss * 100:.2f} points of balanced accuracy, allowed are 0.5")
        if found.difference > MAX_DIFFERENCE[quantization]:
            missed.append(
                f"{found.runtime}: a score differs by {found.difference:.4f} from {figures[0].runtime}'s, "
                f"allowed is {MAX_DIFFERENCE[quantization]}"
            )
    if quantization == "int8" and float_tensors:
        missed.append(f"{float_tensors} tensors of the int8 graph hold floating-point numbers, expected none")
    return missed


def _knn_cpu_ms(knn: LandmarkKnn, points: NDArray[np.float32]) -> float:
    chip = np.zeros((1, 48, 48), np.uint8)
    times_ms = []
    for index in range(TIMED_KNN_FACES):
        face = points[index % len(points)][None]
        began = time.process_time()
        knn.scores(chip, face)
        times_ms.append((time.process_time() - began) * 1000)
    return float(np.percentile(times_ms, 10))


def _simplex(parts: int, steps: int) -> Iterator[tuple[float, ...]]:
    for head in itertools.product(range(steps + 1), repeat=parts - 1):
        if sum(head) <= steps:
            yield (*(n / steps for n in head), (steps - sum(head)) / steps)
