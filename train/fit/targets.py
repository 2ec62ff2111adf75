"""Training targets: label and votes mixed, and the weight of each picture."""

import numpy as np
from numpy.typing import NDArray

from edge.emotions import EMOTIONS
from train.data.dataset import Dataset

MATCHING_ROUNDS = 30


def soft_targets(
    dataset: Dataset,
    rows: NDArray[np.intp],
    *,
    vote_share: float,
    label_smoothing: float = 0.0,
    match: bool = True,
) -> NDArray[np.float32]:
    """Return targets [n, 5] that sum to 1: label and votes mixed, then smoothed; votes alone for other classes.

    Parameters
    ----------
    vote_share
        Share of the votes in the target of a picture that has some.
    match
        Scale the votes to the labels' shares first (`match_shares`): votes say neutral more often than labels do.
    """
    labels = dataset.labels[rows]
    target = np.eye(len(EMOTIONS), dtype=np.float32)[labels]
    if dataset.votes is not None:
        votes = dataset.votes[rows]
        voted = votes.sum(axis=1) > 0
        share = np.where(labels[voted] < 0, 1.0, vote_share)[:, None]
        matched = match_shares(votes[voted], labels[voted]) if match else votes[voted]
        target[voted] = (1 - share) * target[voted] + share * matched
    return np.asarray((1 - label_smoothing) * target + label_smoothing / len(EMOTIONS), dtype=np.float32)


def match_shares(scores: NDArray[np.float32], labels: NDArray[np.int8]) -> NDArray[np.float32]:
    """Scale each emotion's column so that the mean scores of labelled pictures equal the shares of their labels.

    Iterative proportional fitting (Deming and Stephan 1940) of one factor for each emotion.

    Parameters
    ----------
    scores
        [n, 5], rows sum to 1.
    labels
        [n], index into ``EMOTIONS``, -1 for none.

    Returns
    -------
    float32 [n, 5], rows sum to 1.
    """
    known = labels >= 0
    if not known.any():
        return scores
    wanted = np.bincount(labels[known], minlength=len(EMOTIONS)) / known.sum()
    factors = np.ones(len(EMOTIONS))
    matched = scores.astype(np.float64)
    for _ in range(MATCHING_ROUNDS):
        found = matched[known].mean(axis=0)
        factors *= np.where((found > 0) & (wanted > 0), wanted / np.maximum(found, 1e-9), 1.0)
        matched = scores * factors
        matched /= matched.sum(axis=1, keepdims=True)
    return np.asarray(matched, dtype=np.float32)


def class_weights(labels: NDArray[np.int8], balance: float) -> NDArray[np.float32]:
    """Return weights [n]: the class's size to the power ``-balance``, scaled to mean 1; 1 without a class (-1)."""
    known = labels >= 0
    counts = np.bincount(labels[known], minlength=len(EMOTIONS)).astype(np.float64)
    weights = np.maximum(counts, 1) ** -balance
    chosen = weights[labels[known]]
    result = np.ones(len(labels), dtype=np.float32)
    result[known] = chosen / chosen.mean()
    return result
