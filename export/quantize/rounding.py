"""Round weights to 8 bits with the least change of a layer's output (GPTQ). Importing this loads TensorFlow."""

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

LEVELS = 127
"""TFLite's int8 weights are symmetric: -127 to 127 steps of the channel's scale."""
DAMPING = 0.01
"""share of the mean squared input that is added to each, as in GPTQ"""

Floats = NDArray[np.float64]


def round_weights(network: keras.Model, chips: NDArray[np.uint8]) -> keras.Model:
    """Copy a network and round the kernel of each convolution and dense layer to the grid that the converter will use.

    The converter rounds each weight to the nearest step. Here the weights that are not rounded yet compensate for each
    weight's error, by the layer's real inputs (GPTQ, Frantar et al. 2022, arXiv:2210.17323). The grid is the
    converter's own, since the largest weight of each channel stays at its end.

    ``network``: functional, from pixels [batch, 48, 48, 1]; BatchNorm after a convolution scales whole channels, which
    changes nothing here.
    ``chips``: uint8 [n, 48, 48]: what the layers' inputs are made from.
    """
    copy = keras.models.clone_model(network)
    copy.set_weights(network.get_weights())
    layers = [layer for layer in network.layers if isinstance(layer, keras.layers.Conv2D | keras.layers.Dense)]
    if not layers:
        return copy
    probe = keras.Model(network.inputs, [layer.input for layer in layers])
    sums = [np.zeros((_inputs(layer), _inputs(layer))) for layer in layers]
    for start in range(0, len(chips), 16):
        seen = probe([tf.constant(chips[start : start + 16, ..., None])], training=False)
        for index, given in enumerate(seen if len(layers) > 1 else [seen]):
            patches = _patches(layers[index], given)
            sums[index] += tf.linalg.matmul(patches, patches, transpose_a=True).numpy()
    for layer, products in zip(layers, sums, strict=True):
        kernel = np.asarray(layer.kernel.value.numpy(), dtype=np.float64)
        rounded = round_kernel(kernel.reshape(_inputs(layer), -1), products)
        copy.get_layer(layer.name).kernel.assign(rounded.reshape(kernel.shape).astype(np.float32))
    return copy


def round_kernel(kernel: Floats, products: Floats) -> Floats:
    """Round a kernel to 255 levels a column, with the least squared change of inputs times kernel.

    ``kernel``: [inputs, channels].
    ``products``: [inputs, inputs]: sum of the outer products of the inputs with themselves.
    Returns [inputs, channels]; whole multiples of each column's largest magnitude over 127.
    """
    largest = np.abs(kernel).argmax(axis=0)
    steps = np.abs(kernel).max(axis=0) / LEVELS
    steps[steps == 0] = 1.0
    order = np.argsort(-np.diag(products), kind="stable")  # weights of the largest inputs are rounded first
    damped = products + np.eye(len(products)) * max(DAMPING * float(np.diag(products).mean()), 1e-12)
    # Row i of this triangle: how the weights after i compensate for an error of weight i.
    compensation = np.linalg.cholesky(np.linalg.inv(damped[np.ix_(order, order)])).T
    left = kernel[order].copy()
    rounded = np.empty_like(left)
    for index, place in enumerate(order):
        levels = np.clip(np.rint(left[index] / steps), -LEVELS, LEVELS)
        ends = largest == place
        levels[ends] = np.sign(kernel[place, ends]) * LEVELS
        rounded[index] = levels * steps
        error = (left[index] - rounded[index]) / compensation[index, index]
        left[index + 1 :] -= np.outer(compensation[index, index + 1 :], error)
    out = np.empty_like(rounded)
    out[order] = rounded
    return out


def _inputs(layer: keras.layers.Layer) -> int:
    return int(np.prod(layer.kernel.shape[:-1]))


def _patches(layer: keras.layers.Layer, given: tf.Tensor) -> tf.Tensor:
    """Return the patches that a layer multiplies with its kernel, [any number, inputs]."""
    if isinstance(layer, keras.layers.Conv2D):
        high, wide = layer.kernel_size
        given = tf.image.extract_patches(
            given, [1, high, wide, 1], [1, *layer.strides, 1], [1, *layer.dilation_rate, 1], layer.padding.upper()
        )
    return tf.reshape(tf.cast(given, tf.float32), [-1, _inputs(layer)])
