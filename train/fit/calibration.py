"""Scores that are as sure as they are right: a temperature and a bias for each emotion, found on held-out pictures.

Bias-corrected temperature scaling (Alexandari et al. 2020, arXiv:1901.06852), which adds to the temperature of Guo et
al. 2017 (arXiv:1706.04599) what mends a leaning to one class.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.emotions import EMOTIONS
from train.fit.targets import class_weights
from train.metrics import softmax

BOUNDS = (0.25, 4.0)
"""Temperatures that are tried. A network that needs more is not merely too sure."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """What calibrated logits are: ``logits / temperature + bias``."""

    temperature: float
    """more than 1 where the network was too sure"""
    bias: tuple[float, ...]
    """in the order of ``EMOTIONS``; sums to 0"""

    def as_dict(self) -> dict[str, Any]:
        """For JSON; rounded to four digits."""
        return {"temperature": round(self.temperature, 4), "bias": [round(b, 4) for b in asdict(self)["bias"]]}

    def apply(self, dense: Any) -> None:
        """Put it into the weights of a network's last layer (``keras.layers.Dense``)."""
        kernel, bias = dense.get_weights()
        dense.set_weights([kernel / self.temperature, bias / self.temperature + np.array(self.bias, dtype=np.float32)])


def calibrate(logits: NDArray[np.float32], labels: NDArray[np.int8], balance: float) -> Calibration:
    """Find the calibration that makes the labels likeliest.

    Parameters
    ----------
    logits
        [n, 5], of pictures that were not trained on.
    labels
        [n], index into ``EMOTIONS``.
    balance
        As in training: how much more a picture of a rare emotion counts; see `train.fit.targets.class_weights`.
    """
    from scipy.optimize import minimize

    weights = class_weights(labels, balance)
    rows = np.arange(len(labels))
    wide = logits.astype(np.float64)

    def surprise(x: NDArray[np.float64]) -> float:
        scores = softmax(wide / np.exp(x[0]) + x[1:])
        likely = np.log(np.maximum(scores[rows, labels].astype(np.float64), 1e-12))
        # The last term holds the biases' sum, of which the scores know nothing.
        return float(-(weights * likely).mean() + 1e-3 * x[1:].sum() ** 2)

    bounds = [tuple(np.log(BOUNDS)), *[(-2.0, 2.0)] * len(EMOTIONS)]
    found = minimize(surprise, np.zeros(1 + len(EMOTIONS)), bounds=bounds, method="L-BFGS-B", options={"eps": 1e-4}).x
    return Calibration(float(np.exp(found[0])), tuple(float(b) for b in found[1:] - found[1:].mean()))
