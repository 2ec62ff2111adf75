"""Calibrate scores on held-out pictures with a temperature, and a bias for each emotion.

Bias-corrected temperature scaling (Alexandari et al. 2020, arXiv:1901.06852): the temperature of Guo et al. 2017
(arXiv:1706.04599), and biases that correct a preference for a class.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.emotions import EMOTIONS
from train.fit.targets import class_weights
from train.metrics import rounded, softmax

BOUNDS = (0.25, 4.0)
"""Lowest and highest temperature that is tried."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """Calibrated logits are ``logits / temperature + bias``."""

    temperature: float
    """above 1 if the network was overconfident"""
    bias: tuple[float, ...]
    """in the order of ``EMOTIONS``; sums to 0"""

    def as_dict(self) -> dict[str, Any]:
        """For JSON; rounded to four digits."""
        return dict(rounded(asdict(self)))

    def apply(self, dense: Any) -> None:
        """Apply it to the weights of a network's last layer (``keras.layers.Dense``)."""
        kernel, bias = dense.get_weights()
        dense.set_weights([kernel / self.temperature, bias / self.temperature + np.array(self.bias, dtype=np.float32)])


def calibrate(
    logits: NDArray[np.float32], labels: NDArray[np.int8], balance: float, *, biased: bool = True
) -> Calibration:
    """Find the calibration with the highest likelihood of the labels.

    ``logits``: [n, 5], of pictures that were not trained on.
    ``labels``: [n], index into ``EMOTIONS``.
    ``balance``: exponent of the class weights, as in training; see `train.fit.targets.class_weights`.
    ``biased``: False finds a temperature alone.
    """
    from scipy.optimize import minimize

    weights = class_weights(labels, balance)
    rows = np.arange(len(labels))
    wide = logits.astype(np.float64)

    def loss(x: NDArray[np.float64]) -> float:
        scores = softmax(wide / np.exp(x[0]) + x[1:])
        likely = np.log(np.maximum(scores[rows, labels].astype(np.float64), 1e-12))
        # The last term fixes the sum of the biases, which does not change the scores.
        return float(-(weights * likely).mean() + 1e-3 * x[1:].sum() ** 2)

    bounds = [tuple(np.log(BOUNDS)), *[(-2.0, 2.0) if biased else (0.0, 0.0)] * len(EMOTIONS)]
    found = minimize(loss, np.zeros(1 + len(EMOTIONS)), bounds=bounds, method="L-BFGS-B", options={"eps": 1e-4}).x
    return Calibration(float(np.exp(found[0])), tuple(float(b) for b in found[1:] - found[1:].mean()))
