"""How much each model counts in the mean of their scores: what the validation part says."""

import itertools
from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from edge.emotions import EMOTIONS
from edge.inference.manifest import MemberKind

STEP = 0.05
FLOOR = 1e-3
"""A score of 0 for the truth must not outweigh all others; 5 neighbours may well have none of the class."""

Weights = dict[MemberKind, float]


def choose_weights(scores: Mapping[MemberKind, NDArray[np.float32]], labels: NDArray[np.int8]) -> Weights:
    """Choose the weights with the least mean negative log-likelihood, each class counting the same.

    Log-likelihood, not accuracy: it changes smoothly, so that the choice does not hang on a few level pictures.

    Parameters
    ----------
    scores
        [n, 5] of each model on the validation part.
    labels
        [n], index into ``EMOTIONS``.

    Returns
    -------
    Weights in steps of 0.05 that sum to 1; a model that does not help is left out.
    """
    kinds = list(scores)
    of_truth = np.stack([scores[kind][np.arange(len(labels)), labels] for kind in kinds])
    present = [label for label in range(len(EMOTIONS)) if (labels == label).any()]

    def loss(weights: tuple[float, ...]) -> float:
        likelihood = np.maximum(np.array(weights) @ of_truth, FLOOR)
        return float(np.mean([-np.log(likelihood[labels == label]).mean() for label in present]))

    best = min(_simplex(len(kinds), round(1 / STEP)), key=loss)
    return {kind: round(weight, 2) for kind, weight in zip(kinds, best, strict=True) if weight > 0}


def mean_scores(scores: Mapping[MemberKind, NDArray[np.float32]], weights: Weights) -> NDArray[np.float32]:
    """Weighted mean [n, 5]."""
    return np.asarray(sum(weight * scores[kind] for kind, weight in weights.items()), dtype=np.float32)


def _simplex(parts: int, steps: int) -> Iterator[tuple[float, ...]]:
    for head in itertools.product(range(steps + 1), repeat=parts - 1):
        if sum(head) <= steps:
            yield (*(n / steps for n in head), (steps - sum(head)) / steps)
