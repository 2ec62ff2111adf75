"""Make training on the PyTorch backend faster. Importing this module loads Keras."""

from types import MethodType
from typing import Any

import keras
from keras import layers


def use_fused_batch_norm(model: keras.Model) -> None:
    """Use PyTorch's own BatchNorm on the PyTorch backend; do nothing on others.

    Keras composes it from about ten passes over the picture. On two cores of an EPYC (AVX2) an epoch takes a fifth less
    time this way. The running variance divides by n - 1 instead of n, as PyTorch's does.
    """
    if keras.backend.backend() != "torch":
        return
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.call = MethodType(_batch_norm, layer)


def _batch_norm(layer: Any, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
    import torch

    del mask
    normal = torch.nn.functional.batch_norm(
        inputs.movedim(-1, 1), layer.moving_mean.value, layer.moving_variance.value, layer.gamma.value,
        layer.beta.value, bool(training) and layer.trainable, 1 - layer.momentum, layer.epsilon,
    )  # fmt: skip
    return normal.movedim(1, -1)
