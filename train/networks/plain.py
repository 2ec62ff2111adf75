"""Plain stacks of 3x3 convolutions, as VGG has them: the device's network, ours for a GPU, and VGG16.

Importing this module loads Keras.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

from edge.emotions import EMOTIONS
from edge.errors import DataError
from train.data.dataset import CLASSES, DAMAGE

EPSILON = 1e-5
"""of BatchNorm, as PyTorch has it"""

DEVICE_CHANNELS = (24, 24, 48, 48, 96, 96, 192, 192)
"""of the network for the device: 0.66 million weights, 66 million multiply-adds"""
VGG_CHANNELS = (64, 64, 128, 128, 256, 256, 512, 512)
"""of `train vgg`: 4.7 million weights, 468 million multiply-adds"""
VGG16_CHANNELS = (64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512)
"""of VGG16 (Simonyan and Zisserman 2014, arXiv:1409.1556)"""
VGG16_POOLS = (1, 3, 6, 9, 12)

Arrays = Mapping[str, NDArray[np.float32]]


def plain_cnn(
    channels: Sequence[int] = DEVICE_CHANNELS,
    *,
    pools: Sequence[int] | None = None,
    classes: int = len(EMOTIONS),
    dropout: float = 0.0,
    name: str = "device_cnn",
) -> keras.Model:
    """Build 3x3 convolutions with BatchNorm and ReLU, 2x2 max pools between them, and a dense layer on their mean.

    ``channels``: of each convolution.
    ``pools``: indices of the convolutions that a pool follows, at most five; None: every second one.
    Returns a model from pixels [batch, 48, 48, 1], 0..255 in any numeric type, to logits [batch, classes].
    """
    inputs = keras.Input((48, 48, 1), name="chip")
    x = layers.Rescaling(1 / 127.5, offset=-1.0, name="scale")(inputs)
    for index, count in enumerate(channels):
        x = layers.Conv2D(
            count, 3, padding="same", use_bias=False, kernel_initializer="he_normal", name=f"conv{index}"
        )(x)
        x = layers.BatchNormalization(momentum=0.97, epsilon=EPSILON, name=f"conv{index}_bn")(x)
        x = layers.ReLU(name=f"conv{index}_relu")(x)
        if (index % 2) if pools is None else (index in pools):
            x = layers.MaxPooling2D(2, name=f"pool{index}")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = layers.Dropout(dropout, name="dropout")(x)
    return keras.Model(inputs, layers.Dense(classes, name="logits", dtype="float32")(x), name=name)


def count_macs(model: keras.Model) -> int:
    """Multiply-adds of one picture through every convolution and dense layer of a model."""
    total = 0
    for layer in model.layers:
        if isinstance(layer, layers.DepthwiseConv2D | layers.Conv2D):
            out: Sequence[int] = layer.output.shape
            total += int(out[1] * out[2] * np.prod(layer.kernel.shape))
        elif isinstance(layer, layers.Dense):
            total += int(np.prod(layer.kernel.shape))
    return total


def load_arrays(path: Path, *, name: str) -> keras.Model:
    """Build a `plain_cnn` with the weights of an ``.npz`` file.

    The file holds ``conv{i}_kernel`` [3, 3, in, out], ``conv{i}_gamma``, ``_beta``, ``_mean`` and ``_variance`` [out],
    ``dense_kernel`` [in, 5 or 7] and ``dense_bias``. Of seven outputs the first five are kept, which gives the softmax
    over the five emotions.

    Raises `DataError`: the file is missing or damaged, or its arrays do not fit such a network; names the array.
    """
    arrays = _read(path)
    count = sum(bool(re.fullmatch(r"conv\d+_kernel", key)) for key in arrays)
    if count % 2 or not 2 <= count <= 10:
        raise DataError(f"{path}: expected an even number of convolutions from 2 to 10, found {count}")
    channels = [_shape(path, arrays, f"conv{index}_kernel")[-1] for index in range(count)]
    model = plain_cnn(channels, name=name)
    for index in range(count):
        own = [_fitting(path, arrays, f"conv{index}_kernel", model.get_layer(f"conv{index}").kernel.shape)]
        model.get_layer(f"conv{index}").set_weights(own)
        norms = [
            _fitting(path, arrays, f"conv{index}_{part}", (channels[index],))
            for part in ("gamma", "beta", "mean", "variance")
        ]
        model.get_layer(f"conv{index}_bn").set_weights(norms)
    outputs = _shape(path, arrays, "dense_kernel")[-1]
    if outputs not in (len(EMOTIONS), CLASSES):
        raise DataError(f"{path}: dense_kernel must have 5 or 7 outputs, found {outputs}")
    kernel = _fitting(path, arrays, "dense_kernel", (channels[-1], outputs))
    bias = _fitting(path, arrays, "dense_bias", (outputs,))
    model.layers[-1].set_weights([kernel[:, : len(EMOTIONS)], bias[: len(EMOTIONS)]])
    return model


def _read(path: Path) -> Arrays:
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            return {key: np.asarray(stored[key], dtype=np.float32) for key in stored.files}
    except DAMAGE as error:
        raise DataError(f"{path}: not an .npz file of a network's arrays ({error})") from error


def _shape(path: Path, arrays: Arrays, key: str) -> tuple[int, ...]:
    if key not in arrays or not arrays[key].ndim:
        raise DataError(f"{path}: has no array {key}")
    return arrays[key].shape


def _fitting(path: Path, arrays: Arrays, key: str, expected: tuple[int, ...]) -> NDArray[np.float32]:
    found = _shape(path, arrays, key)
    if found != tuple(expected):
        raise DataError(f"{path}: {key} must be {list(expected)}, found {list(found)}")
    if not np.isfinite(arrays[key]).all():
        raise DataError(f"{path}: {key} holds values that are not finite numbers")
    return arrays[key]
