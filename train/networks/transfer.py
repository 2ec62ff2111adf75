"""Copy the weights of one network into another. Importing this module loads Keras."""

import re
from collections.abc import Collection, Mapping
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

    A network with a whole multiple of the channels starts as the same function: each channel is repeated, with noise
    between the repeats that cancels out, so that they can learn to differ. A residual block that the source lacks
    starts with a last scale of 0 (Net2Net, Chen et al. 2015, arXiv:1511.05641).

    Raises
    ------
    DataError
        There is no such model, or it lacks a layer, or a layer has another shape.
    """
    stored = load_network(source)
    known = {layer.name: layer for layer in stored.layers}
    rng = np.random.default_rng(0)
    for layer in model.layers:
        wanted = [w.shape for w in layer.get_weights()]
        if not wanted or zero_init(layer, set(known)):
            continue
        given = known[layer.name].get_weights() if layer.name in known else []
        if len(given) != len(wanted) or not all(map(_is_multiple, wanted, given)):
            found = [w.shape for w in given] or "nothing"
            raise DataError(f"{source}: does not fit {model.name}: {layer.name} must hold {wanted}, found {found}")
        layer.set_weights([_widened(w, shape, rng) for w, shape in zip(given, wanted, strict=True)])


def zero_init(layer: keras.Layer, known: Collection[str]) -> bool:
    """Return True for a layer of a residual block that a known stage lacks, and set the block's last scale to 0.

    Such a block adds nothing at first (zero-init residual, Goyal et al. 2017, arXiv:1706.02677).
    """
    place = re.fullmatch(r"(stage\d+)_block[1-9]\d*_(.+)", layer.name)
    if layer.name in known or place is None or f"{place[1]}_block0_{place[2]}" not in known:
        return False
    if place[2] == "2_bn":
        scale, *others = layer.get_weights()
        layer.set_weights([np.zeros_like(scale), *others])
    return True


def _is_multiple(wanted: tuple[int, ...], given: NDArray[np.float32]) -> bool:
    if len(wanted) != given.ndim:
        return False
    exact = range(given.ndim - 2)  # the sides of a kernel
    return all(wanted[i] == given.shape[i] for i in exact) and all(
        w % g == 0 for w, g in zip(wanted[-2:], given.shape[-2:], strict=True)
    )


def _widened(weights: NDArray[np.float32], shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float32]:
    """Repeat channels until the shape is reached; the sum over repeated inputs stays what it was."""
    repeats = [want // have for want, have in zip(shape, weights.shape, strict=True)]
    tiled = np.tile(weights, repeats)
    if weights.ndim < 2 or repeats[-2] == 1:
        return tiled
    inputs = weights.shape[-2]
    split = tiled.reshape(*shape[:-2], repeats[-2], inputs, shape[-1]) / repeats[-2]
    noise = rng.normal(0, 0.5 * split.std(), size=split.shape)
    noise -= noise.mean(axis=-3, keepdims=True)
    return np.asarray((split + noise).reshape(shape), dtype=np.float32)


def copy_imagenet_layout(weights: Path | Literal["imagenet"], model: keras.Model, faces: NDArray[np.uint8]) -> None:
    """Copy the convolutions of Keras's VGG16 into ours.

    In a gray picture the three colours are equal, so the first kernel is summed over them, and their means move
    into its bias. Ours has BatchNorm after each convolution: its statistics are those of ``faces``, and its scale and
    offset undo it, so that the network computes the same and can be fine-tuned.

    Parameters
    ----------
    weights
        ``imagenet``: Keras downloads them or takes them from its cache; else a weights file of Keras's VGG16 without
        its top.
    model
        `train.networks.vgg.vgg16` at full width.
    faces
        uint8 [n, side, side], a few hundred.

    Raises
    ------
    DataError
        The file has another layout, or the download failed.
    """
    theirs = _their_vgg16(weights)
    folded = {}
    for index, layer in enumerate(layer for layer in model.layers if isinstance(layer, layers.Conv2D)):
        kernel, bias = theirs.get_layer(layer.name).get_weights()
        if index == 0:
            bias = bias + ((HALF_RANGE - np.array(CHANNEL_MEANS))[None, None, :, None] * kernel).sum(axis=(0, 1, 2))
            kernel = HALF_RANGE * kernel.sum(axis=2, keepdims=True)
        folded[layer.name] = (kernel, bias)
    unfold(folded, model, faces)


def unfold(
    folded: Mapping[str, tuple[NDArray[np.float32], NDArray[np.float32]]], model: keras.Model, faces: NDArray[np.uint8]
) -> None:
    """Copy kernels and biases that BatchNorm was folded into; the network then computes the same.

    BatchNorm gets the statistics of ``faces``, and a scale and offset that undo it, so that it can be trained further.

    Parameters
    ----------
    folded
        Kernel and bias by the name of the convolution.
    model
        Each convolution's output goes into a BatchNorm.
    faces
        uint8 [n, side, side], a few hundred.
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
