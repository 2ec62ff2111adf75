"""Rebuild a trained network from operators that every TFLite runtime has.

Importing this module loads TensorFlow and Keras.
"""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from edge.errors import UsageError
from export.quantize.ranges import Range
from train.networks.from_bundle import DENSE_SUFFIX


class DenseAsConvolution(keras.layers.Layer):  # type: ignore[misc]  # keras is untyped
    """A Dense layer, and the global average before it if there is one, as one convolution.

    The average would be rounded to 8 bits before the Dense layer; the convolution sums the whole feature map in 32
    bits. And with int8 weights and float activations a Dense layer becomes FULLY_CONNECTED version 12, which
    tflite-runtime 2.14 lacks; it has the convolution in every variant.

    ``dense``: a built Dense layer.
    ``pooled``: (height, width) of the feature map that is averaged; (1, 1) if none is.
    """

    def __init__(self, dense: keras.layers.Dense, pooled: tuple[int, int] = (1, 1)) -> None:
        super().__init__(name=f"{dense.name}{DENSE_SUFFIX}")
        kernel = np.asarray(dense.kernel.value.numpy(), dtype=np.float32)
        bias = np.zeros(dense.units, dtype=np.float32)
        if dense.use_bias:
            bias = np.asarray(dense.bias.value.numpy(), dtype=np.float32)
        self._kernel = np.tile(kernel / (pooled[0] * pooled[1]), (*pooled, 1, 1))
        self._bias, self._activation = bias, dense.activation

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Turn [batch, height, width, n] or [batch, n] into [batch, units]."""
        height, width, n, units = self._kernel.shape
        picture = tf.reshape(inputs, [-1, height, width, n])
        out = tf.nn.conv2d(picture, tf.constant(self._kernel), 1, "VALID")
        return self._activation(tf.reshape(tf.nn.bias_add(out, tf.constant(self._bias)), [-1, units]))


class FakeQuant(keras.layers.Layer):  # type: ignore[misc]  # keras is untyped
    """A layer whose output range is given, instead of the one that the converter's calibration finds.

    ``layer``: a built layer, whose weights are used.
    """

    def __init__(self, layer: keras.layers.Layer, low: float, high: float) -> None:
        super().__init__(name=f"{layer.name}_fake_quant")
        self._layer, self._low, self._high = layer, low, high

    def call(self, *inputs: tf.Tensor, **more: object) -> tf.Tensor:
        """Call the layer; the fake-quant operator behind it tells TensorFlow's converter the range."""
        return tf.quantization.fake_quant_with_min_max_args(self._layer(*inputs, **more), self._low, self._high)


def deployable(
    network: keras.Model, *, fold_scaling: bool, ranges: Mapping[str, Range] | None = None
) -> tuple[keras.Model, float, float]:
    """Rebuild a network for conversion, with its own weights.

    Raises `UsageError`: the network has other inputs or outputs.

    ``network``: functional, [batch, 48, 48, 1] in 0..255 to logits [batch, 5].
    ``fold_scaling``: leave out a Rescaling at the input: the caller puts it into the input's quantization.
    ``ranges``: (lowest, highest) output of layers by name, see `export.quantize.ranges`.
    Returns the rebuilt network, and scale and offset that turn a pixel into its input: 1 and 0 if nothing was left out.
    """
    shapes = network.input_shape, network.output_shape
    if shapes != ((None, 48, 48, 1), (None, 5)):
        raise UsageError(f"the network must turn [48, 48, 1] into [5], this one turns {shapes[0]} into {shapes[1]}")
    first = network.layers[1]
    folded = fold_scaling and isinstance(first, keras.layers.Rescaling) and isinstance(first.scale, float)
    mean = _mean_before_the_last(network)

    def rebuilt(layer: keras.layers.Layer) -> keras.layers.Layer:
        if isinstance(layer, keras.layers.Dense):
            averages = mean is not None and layer is network.layers[-1]
            return DenseAsConvolution(layer, mean.input.shape[1:3] if averages else (1, 1))
        if (folded and layer is first) or layer is mean:
            return keras.layers.Identity(name=layer.name)
        return FakeQuant(layer, *ranges[layer.name]) if ranges and layer.name in ranges else layer

    clone = keras.models.clone_model(network, clone_function=rebuilt)
    return (clone, float(first.scale), float(first.offset)) if folded else (clone, 1.0, 0.0)


def _mean_before_the_last(network: keras.Model) -> Any:
    """Return the GlobalAveragePooling2D layer before the last, Dense layer; None if there is none."""
    *_, before, last = (layer for layer in network.layers if not isinstance(layer, keras.layers.Dropout))
    fits = isinstance(last, keras.layers.Dense) and isinstance(before, keras.layers.GlobalAveragePooling2D)
    return before if fits else None
