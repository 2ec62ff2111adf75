"""Temperature scaling: scores that are as sure as they are right (Guo et al. 2017, arXiv:1706.04599)."""

import numpy as np
from numpy.typing import NDArray

from train.evaluation import softmax

BOUNDS = (0.25, 4.0)
"""Temperatures that are tried. A network that needs more is not merely too sure."""


def temperature(logits: NDArray[np.float32], labels: NDArray[np.int8]) -> float:
    """Find the temperature that makes the labels likeliest; more than 1 tells a network that is too sure.

    Parameters
    ----------
    logits
        [n, 5], of pictures that were not trained on.
    labels
        [n], index into ``EMOTIONS``.

    Returns
    -------
    What to divide logits by; it changes no ranking of the emotions.
    """
    from scipy.optimize import minimize_scalar

    def surprise(log_t: float) -> float:
        scores = softmax(logits.astype(np.float64) / np.exp(log_t))
        return float(-np.log(np.maximum(scores[np.arange(len(labels)), labels], 1e-12)).mean())

    found = minimize_scalar(surprise, bounds=np.log(BOUNDS), method="bounded")
    return float(np.exp(found.x))
