"""Measure scores against labels: accuracy, balanced accuracy, recall, calibration error, intervals."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.emotions import EMOTIONS
from edge.errors import DataError

BOOTSTRAP_ROUNDS = 1000
CALIBRATION_BINS = 15


@dataclass(frozen=True, slots=True)
class Summary:
    """Figures of scores against labels."""

    n: int
    accuracy: float
    balanced_accuracy: float
    """mean recall over the emotions that occur"""
    balanced_accuracy_interval: tuple[float, float]
    """95 %, by bootstrap over pictures within each class, 1000 rounds, seed 0"""
    recall: dict[str, float]
    """of the emotions that occur"""
    support: dict[str, int]
    confusion: list[list[int]]
    """[truth][predicted], in the order of ``EMOTIONS``"""
    expected_calibration_error: float
    """15 equal bins of confidence (Guo et al. 2017, arXiv:1706.04599)"""

    def as_dict(self) -> dict[str, Any]:
        """For JSON; shares are rounded to four digits."""
        return dict(rounded(asdict(self)))


def rounded(value: Any, digits: int = 4) -> Any:
    """Return JSON values of dictionaries, lists and numbers, with each number rounded."""
    match value:
        case dict():
            return {key: rounded(inner, digits) for key, inner in value.items()}
        case list() | tuple():
            return [rounded(inner, digits) for inner in value]
        case float():
            return round(value, digits)
        case _:
            return value


def summarise(scores: NDArray[np.float32], labels: NDArray[np.int8]) -> Summary:
    """Compare scores with labels.

    Raises `DataError`: there are no rows, shapes do not fit, scores are not finite, or labels are out of range.

    ``scores``: float [n, 5], rows sum to 1.
    ``labels``: [n], index into ``EMOTIONS``.
    """
    if scores.shape != (len(labels), len(EMOTIONS)) or not len(labels):
        raise DataError(f"scores must be [{len(labels)}, {len(EMOTIONS)}] with at least one row, found {scores.shape}")
    if not np.isfinite(scores).all():
        raise DataError("scores hold values that are not finite numbers")
    if labels.min() < 0 or labels.max() >= len(EMOTIONS):
        raise DataError(f"labels must be 0..{len(EMOTIONS) - 1}, found {labels.min()}..{labels.max()}")
    predicted = scores.argmax(axis=1)
    confusion = np.zeros((len(EMOTIONS), len(EMOTIONS)), dtype=np.int64)
    np.add.at(confusion, (labels, predicted), 1)
    support = confusion.sum(axis=1)
    present = support > 0
    recall = np.divide(confusion.diagonal(), support, out=np.zeros(len(EMOTIONS)), where=present)
    right = predicted == labels
    return Summary(
        n=len(labels),
        accuracy=float(right.mean()),
        balanced_accuracy=float(recall[present].mean()),
        balanced_accuracy_interval=_bootstrap(recall[present], support[present]),
        recall={str(e): float(r) for e, r, n in zip(EMOTIONS, recall, support, strict=True) if n},
        support={str(e): int(s) for e, s in zip(EMOTIONS, support, strict=True)},
        confusion=confusion.tolist(),
        expected_calibration_error=_calibration_error(scores.max(axis=1), right),
    )


def softmax(logits: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """Scores [n, k] that sum to 1, from logits [n, k]."""
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True), dtype=np.float32)


def _bootstrap(recall: NDArray[np.float64], support: NDArray[np.int64]) -> tuple[float, float]:
    """95 % interval; resampling within a class is a binomial draw with the class's recall."""
    drawn = np.random.default_rng(0).binomial(support, recall, size=(BOOTSTRAP_ROUNDS, len(support))) / support
    low, high = np.percentile(drawn.mean(axis=1), [2.5, 97.5])
    return float(low), float(high)


def reliability(confidence: NDArray[np.float32], right: NDArray[np.bool_]) -> list[tuple[float, float, int]]:
    """Mean confidence, accuracy, and number of pictures in each non-empty one of 15 equal bins."""
    bins = np.minimum((confidence * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    held = [bins == index for index in range(CALIBRATION_BINS)]
    return [(float(confidence[b].mean()), float(right[b].mean()), int(b.sum())) for b in held if b.any()]


def _calibration_error(confidence: NDArray[np.float32], right: NDArray[np.bool_]) -> float:
    return sum(n / len(right) * abs(share - mean) for mean, share, n in reliability(confidence, right))
