"""The graph that is converted: a trained network with the operators that every TFLite runtime has.

Importing this module loads TensorFlow and Keras.
"""

import keras
import numpy as np
import tensorflow as tf

from edge.errors import UsageError


class PointwiseDense(keras.layers.Layer):  # type: ignore[misc]  # keras is untyped
    """A Dense layer as a 1x1 convolution.

    With int8 weights and float activations a Dense layer becomes FULLY_CONNECTED version 12, which tflite-runtime 2.14
    lacks; it has the convolution in all variants.

    Parameters
    ----------
    dense
        A built Dense layer.
    """

    def __init__(self, dense: keras.layers.Dense) -> None:
        super().__init__(name=f"{dense.name}_pointwise")
        kernel = np.asarray(dense.kernel.value.numpy(), dtype=np.float32)
        bias = np.zeros(dense.units, dtype=np.float32)
        if dense.use_bias:
            bias = np.asarray(dense.bias.value.numpy(), dtype=np.float32)
        self._kernel, self._bias, self._activation = kernel, bias, dense.activation

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Turn [batch, n] into [batch, units]."""
        n, units = self._kernel.shape
        picture = tf.reshape(inputs, [-1, 1, 1, n])
        out = tf.nn.conv2d(picture, tf.constant(self._kernel[None, None]), 1, "VALID")
        return self._activation(tf.reshape(tf.nn.bias_add(out, tf.constant(self._bias)), [-1, units]))


def deployable(network: keras.Model, *, fold_scaling: bool) -> tuple[keras.Model, float, float]:
    """Rebuild a network for conversion; the weights are its own.

    Parameters
    ----------
    network
        Functional, [batch, 48, 48, 1] in 0..255 to logits [batch, 5].
    fold_scaling
        Leave out a Rescaling that the pixels go through first: the caller does it in the input's quantization.

    Returns
    -------
    The rebuilt network, and scale and offset that turn a pixel into its input: 1 and 0 where nothing was left out.

    Raises
    ------
    UsageError
        The network has other inputs or outputs.
    """
    shapes = network.input_shape, network.output_shape
    if shapes != ((None, 48, 48, 1), (None, 5)):
        raise UsageError(f"the network must turn [48, 48, 1] into [5], this one turns {shapes[0]} into {shapes[1]}")
    first = network.layers[1]
    folded = fold_scaling and isinstance(first, keras.layers.Rescaling) and isinstance(first.scale, float)

    def rebuilt(layer: keras.layers.Layer) -> keras.layers.Layer:
        if isinstance(layer, keras.layers.Dense):
            return PointwiseDense(layer)
        if folded and layer is first:
            return keras.layers.Identity(name=layer.name)
        return layer

    clone = keras.models.clone_model(network, clone_function=rebuilt)
    return (clone, float(first.scale), float(first.offset)) if folded else (clone, 1.0, 0.0)
