"""Training targets: label and votes mixed, and the weight of each picture."""

import numpy as np
from numpy.typing import NDArray

from edge.emotions import EMOTIONS
from train.data.dataset import CLASSES, Dataset

MATCHING_ROUNDS = 30
RARE_SHARE = 0.08
"""A smaller class weighs as if this were its share."""
OTHER_WEIGHT, OTHER_SHARE = 0.6, 0.15
"""Disgust and fear weigh this much of a class of this share: no figure depends on telling them apart."""


def soft_targets(
    dataset: Dataset,
    rows: NDArray[np.intp],
    *,
    vote_share: float,
    label_smoothing: float = 0.0,
    match: bool = True,
    classes: int = CLASSES,
) -> NDArray[np.float32]:
    """Return targets [n, classes] that sum to 1: label and votes mixed, then smoothed.

    ``rows``: rows of the data set whose labels are 0 to ``classes`` - 1.
    ``vote_share``: share of the votes in the target of a picture that has some.
    ``match``: scale the votes to the labels' shares first (`match_shares`): votes say neutral more often than labels
    do.
    """
    labels = dataset.labels[rows]
    target = np.eye(classes, dtype=np.float32)[labels]
    votes = dataset.vote_shares(rows, classes)
    voted = votes.sum(axis=1) > 0
    if voted.any():
        matched = match_shares(votes[voted], labels[voted]) if match else votes[voted]
        target[voted] = (1 - vote_share) * target[voted] + vote_share * matched
    return np.asarray((1 - label_smoothing) * target + label_smoothing / classes, dtype=np.float32)


def match_shares(scores: NDArray[np.float32], labels: NDArray[np.int8]) -> NDArray[np.float32]:
    """Scale each class's column so that the mean scores equal the shares of the labels.

    Iterative proportional fitting (Deming and Stephan 1940) of one factor for each class.

    ``scores``: [n, k], rows sum to 1.
    ``labels``: [n], 0 to k - 1.
    Returns float32 [n, k], rows sum to 1.
    """
    wanted = np.bincount(labels, minlength=scores.shape[1]) / len(labels)
    factors = np.ones(scores.shape[1])
    matched = scores.astype(np.float64)
    for _ in range(MATCHING_ROUNDS):
        found = matched.mean(axis=0)
        factors *= np.where((found > 0) & (wanted > 0), wanted / np.maximum(found, 1e-9), 1.0)
        matched = scores * factors
        matched /= matched.sum(axis=1, keepdims=True)
    return np.asarray(matched, dtype=np.float32)


def class_weights(labels: NDArray[np.int8], balance: float) -> NDArray[np.float32]:
    """Return weights [n]: the class's share to the power ``-balance``, scaled to mean 1."""
    shares = np.bincount(labels, minlength=CLASSES) / max(1, len(labels))
    weights = np.maximum(shares, RARE_SHARE) ** -balance
    weights[len(EMOTIONS) :] = OTHER_WEIGHT * OTHER_SHARE**-balance
    chosen = weights[labels]
    return np.asarray(chosen / chosen.mean(), dtype=np.float32)
