"""A Keras network to TFLite: uint8 face chips in, scores out. Importing this module loads TensorFlow."""

import logging
import tempfile
from collections.abc import Iterator

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from edge.errors import EmotionEdgeError
from edge.inference.manifest import Quantization
from edge.inference.networks import quiet_stderr
from export.quantize.graph import deployable
from export.quantize.ranges import Range, activation_ranges
from export.quantize.rounding import round_weights


def convert(network: keras.Model, quantization: Quantization, representative: NDArray[np.uint8]) -> bytes:
    """Convert a network.

    Every variant takes one chip, uint8 [1, 48, 48, 1]. ``int8`` gives scores as uint8 [1, 5] with scale 1/256; it has
    no float operator, and its weights are quantized per channel (Jacob et al. 2018, arXiv:1712.05877). The others give
    float32.

    Raises `UsageError`: the network has other inputs or outputs.
    Raises `EmotionEdgeError`: TensorFlow cannot convert it.

    ``network``: from pixels 0..255, [batch, 48, 48, 1], to logits [batch, 5].
    ``representative``: uint8 [n, 48, 48]: chips whose activations set the ranges of ``int8``; the other variants need
    none.
    Returns the TFLite flatbuffer.
    """
    ranges: dict[str, Range] = {}
    if quantization == "int8":
        ranges = activation_ranges(network, representative)
        network = round_weights(network, representative)
    body, scale, offset = deployable(network, fold_scaling=quantization == "int8", ranges=ranges)

    def serve(chip: tf.Tensor) -> tf.Tensor:
        return tf.nn.softmax(body(tf.cast(chip, tf.float32), training=False))

    kind = tf.float32 if quantization == "int8" else tf.uint8
    with tempfile.TemporaryDirectory() as folder, quiet_stderr():
        logging.getLogger("tensorflow").setLevel(logging.ERROR)
        archive = keras.export.ExportArchive()
        archive.track(body)
        archive.add_endpoint("serve", serve, input_signature=[tf.TensorSpec([1, 48, 48, 1], kind)])
        archive.write_out(folder, verbose=False)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        if quantization != "none":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if quantization == "float16":
            converter.target_spec.supported_types = [tf.float16]
        if quantization == "int8":
            converter.representative_dataset = lambda: _samples(representative, scale, offset)
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
            converter.inference_input_type = converter.inference_output_type = tf.uint8
        try:
            return bytes(converter.convert())
        except (RuntimeError, ValueError, tf.lite.experimental.ConverterError) as error:
            reason = " ".join(str(error).split())[:200]
            raise EmotionEdgeError(f"TensorFlow cannot convert this network to {quantization}: {reason}") from error


def _samples(chips: NDArray[np.uint8], scale: float, offset: float) -> Iterator[list[NDArray[np.float32]]]:
    """Yield chips in the form that the rebuilt network takes."""
    chips = chips.copy()
    # The input's range must be that of a byte, so that the bytes of a chip are the network's input unchanged.
    chips[0, 0, 0], chips[0, 0, -1] = 0, 255
    for chip in chips:
        yield [(chip[None, :, :, None] * np.float32(scale) + np.float32(offset)).astype(np.float32)]
