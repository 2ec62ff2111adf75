"""Whether a converted model answers as the float network does, on every runtime."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.inference.manifest import Quantization
from export.probe import Probe, probe
from train.data.dataset import Dataset
from train.metrics import Summary, summarise

Scores = NDArray[np.float32]

MIN_AGREEMENT = 0.99
"""Top-1, with the float network."""
MAX_LOSS = 0.005
"""of balanced accuracy on the validation part"""
MIN_SAME = 0.99
"""Top-1, between two runtimes."""
MAX_DIFFERENCE = {"int8": 0.1, "dynamic": 0.05, "float16": 1e-3, "none": 1e-3}
"""Largest difference of a score between two runtimes. Their kernels round differently, and in int8 the steps of 14
layers add up: 0.055 was seen on FER2013 with a network that was not trained to its end, 0.009 for dynamic, 2e-7 in
float."""


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
    """What the comparison found. ``missed`` is empty where the model may be installed."""

    validation_n: int
    validation_balanced_accuracy: float
    """of the float network"""
    runtimes: tuple[RuntimeFigures, ...]
    before: Summary
    """the float network on the test part"""
    after: Summary
    """the converted model on the test part, under the first runtime"""
    scores: Scores
    """[n, 5] of the converted model under the first runtime: the validation part, then the test part"""
    missed: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "agreement": round(self.runtimes[0].agreement, 4),
            "validation": {
                "n": self.validation_n,
                "float_balanced_accuracy": round(self.validation_balanced_accuracy, 4),
            },
            "runtimes": {
                r.runtime: {
                    "agreement": round(r.agreement, 4),
                    "balanced_accuracy": round(r.balanced_accuracy, 4),
                    "difference": round(r.difference, 6),
                    "same": round(r.same, 4),
                    "latency_ms": {threads: round(ms, 3) for threads, ms in r.latency_ms.items()},
                }
                for r in self.runtimes
            },
            "test": {"before": self.before.as_dict(), "after": self.after.as_dict()},
            "missed": list(self.missed),
        }


def verify(
    model: bytes,
    quantization: Quantization,
    float_scores: Callable[[NDArray[np.uint8]], Scores],
    dataset: Dataset,
    runtimes: Sequence[str],
    *,
    threads: Sequence[int] = (1,),
    limit_bytes: int | None = None,
) -> Verification:
    """Compare a converted model with the float network.

    The bounds are checked on the validation part; the test part is only reported.

    Parameters
    ----------
    float_scores
        The float network: uint8 [n, 48, 48] to scores [n, 5].
    runtimes
        Names of at least one runtime; each runs the model in a process of its own.
    threads
        Numbers of threads to take the time with.
    limit_bytes
        Largest size that passes; None for any.

    Raises
    ------
    EmotionEdgeError
        A runtime cannot run the model at all.
    """
    validation, test = dataset.select("validation"), dataset.select("test")
    n = len(validation)
    chips = dataset.images[np.concatenate([validation, test])]
    reference = float_scores(chips)
    first = probe(model, quantization, chips, runtimes[0], threads)
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
        scores=first.scores,
        missed=(
            *_missed(figures, float_accuracy, quantization, first.float_tensors),
            *_oversized(len(model), limit_bytes),
        ),
    )


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
                f"{found.runtime}: agrees with the float network on {found.agreement:.2%}, due are {MIN_AGREEMENT:.0%}"
            )
        if found.same < MIN_SAME:
            missed.append(
                f"{found.runtime}: has {figures[0].runtime}'s top emotion on {found.same:.2%}, due are {MIN_SAME:.0%}"
            )
        if loss > MAX_LOSS:
            missed.append(f"{found.runtime}: loses {loss * 100:.2f} points of balanced accuracy, allowed are 0.5")
        if found.difference > MAX_DIFFERENCE[quantization]:
            missed.append(
                f"{found.runtime}: a score differs by {found.difference:.4f} from {figures[0].runtime}'s, "
                f"allowed is {MAX_DIFFERENCE[quantization]}"
            )
    if quantization == "int8" and float_tensors:
        missed.append(f"{float_tensors} tensors of the int8 graph hold floating-point numbers, due are none")
    return missed
