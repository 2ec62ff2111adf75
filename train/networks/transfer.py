"""Copy the weights of one network into another. Importing this module loads Keras."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

from edge.errors import DataError
from train.networks.backend import first_line, load_network

CHANNEL_MEANS = (103.939, 116.779, 123.68)
"""Means of blue, green and red that Keras's VGG16 subtracts from its pictures."""
BODY_FACES = 512
"""Number of training faces whose statistics initialise BatchNorm, for kernels that come without it."""
HALF_RANGE = 127.5
"""What a chip's pixels are divided by (and 1 subtracted) before the first convolution."""


def copy_weights(source: Path, model: keras.Model) -> None:
    """Copy the weights of a trained network, layer by layer, by their names.

    Its last layer may have fewer outputs than the model's, or more: those that both have are copied.

    Raises `DataError`: there is no such model, or it lacks a layer, or a layer has another shape.
    """
    stored = load_network(source)
    known = {layer.name: layer.get_weights() for layer in stored.layers}
    for layer in model.layers[:-1]:
        wanted, given = layer.get_weights(), known.get(layer.name, [])
        if [w.shape for w in wanted] != [w.shape for w in given]:
            found = [w.shape for w in given] or "nothing"
            expected = [w.shape for w in wanted]
            raise DataError(f"{source}: does not fit {model.name}: {layer.name} must hold {expected}, found {found}")
        layer.set_weights(given)
    copy_head(stored.layers[-1].get_weights(), model, str(source))


def copy_head(given: list[NDArray[np.float32]], model: keras.Model, named: str) -> None:
    """Copy kernel [n, k] and bias [k] of a last layer into a model's; outputs that it lacks start as unlikely."""
    kernel, bias = (np.zeros_like(weights) for weights in model.layers[-1].get_weights())
    if len(given) != 2 or given[0].shape[0] != len(kernel):
        raise DataError(f"{named}: does not fit {model.name}: its last layer must have {len(kernel)} inputs")
    both = min(given[0].shape[1], kernel.shape[1])
    bias[both:] = given[1].min() - 2
    kernel[:, :both], bias[:both] = given[0][:, :both], given[1][:both]
    model.layers[-1].set_weights([kernel, bias])


def copy_vgg16(weights: Path | Literal["imagenet"], model: keras.Model, faces: NDArray[np.uint8]) -> None:
    """Copy the convolutions of Keras's VGG16 into ours.

    In a gray picture the three colours are equal, so the first kernel is summed over them, and their means move
    into its bias. Ours has BatchNorm after each convolution: its statistics are those of ``faces``, and its scale and
    offset undo it, so that the network computes the same and can be fine-tuned.

    ``weights``: ``imagenet``: Keras downloads them or takes them from its cache; else a weights file of Keras's VGG16
    without its top.
    ``model``: `train.networks.plain.plain_cnn` with ``VGG16_CHANNELS`` and ``VGG16_POOLS``.
    ``faces``: uint8 [n, 48, 48], a few hundred.
    Raises `DataError`: the file has another layout, or the download failed.
    """
    theirs = [layer for layer in _their_vgg16(weights).layers if isinstance(layer, layers.Conv2D)]
    ours = [layer for layer in model.layers if isinstance(layer, layers.Conv2D)]
    folded = {layer.name: tuple(given.get_weights()) for layer, given in zip(ours, theirs, strict=True)}
    kernel, bias = folded[ours[0].name]
    bias = bias + ((HALF_RANGE - np.array(CHANNEL_MEANS))[None, None, :, None] * kernel).sum(axis=(0, 1, 2))
    folded[ours[0].name] = HALF_RANGE * kernel.sum(axis=2, keepdims=True), bias
    unfold(folded, model, faces)


def unfold(
    folded: Mapping[str, tuple[NDArray[np.float32], NDArray[np.float32]]], model: keras.Model, faces: NDArray[np.uint8]
) -> None:
    """Copy kernels and biases that BatchNorm was folded into; the network then computes the same.

    BatchNorm gets the statistics of ``faces``, and a scale and offset that undo it, so that it can be trained further.

    ``folded``: kernel and bias by the name of the convolution.
    ``model``: each convolution's output goes into a BatchNorm.
    ``faces``: uint8 [n, side, side], a few hundred.
    """
    norms = {id(layer.input): layer for layer in model.layers if isinstance(layer, layers.BatchNormalization)}
    chosen = [layer for layer in model.layers if layer.name in folded]
    for layer in chosen:
        kernel, bias = folded[layer.name]
        layer.set_weights([kernel])
        ones = np.ones_like(bias)
        norm = norms[id(layer.output)]
        norm.set_weights([ones, bias, np.zeros_like(bias), ones - norm.epsilon])
    looked = keras.Model(model.inputs, [layer.output for layer in chosen]).predict(faces[..., None], verbose=0)
    for layer, seen in zip(chosen, looked, strict=True):
        norm = norms[id(layer.output)]
        mean, variance = seen.mean(axis=(0, 1, 2)), seen.var(axis=(0, 1, 2))
        norm.set_weights([np.sqrt(variance + norm.epsilon), mean + folded[layer.name][1], mean, variance])


def _their_vgg16(weights: Path | Literal["imagenet"]) -> keras.Model:
    if isinstance(weights, Path) and not weights.is_file():
        raise DataError(f"{weights}: no such weights file")
    try:
        return keras.applications.VGG16(weights=str(weights), include_top=False)
    except Exception as error:  # Keras, h5py and urllib raise many types
        reason = first_line(error)
        if weights == "imagenet":
            raise DataError(f"ImageNet weights cannot be had ({reason}); give a file with --weights FILE") from error
        raise DataError(f"{weights}: not weights of Keras's VGG16 without its top ({reason})") from error
