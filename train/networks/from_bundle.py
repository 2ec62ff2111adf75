"""Copy the weights of a bundle's int8 network into one that can be trained further. Importing this loads Keras."""

import re
from pathlib import Path

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

from edge.errors import DataError
from edge.inference import open_bundle
from edge.inference.manifest import NetworkKind
from edge.inference.networks import open_interpreter
from train.networks.plain import plain_cnn
from train.networks.residual import residual_cnn
from train.networks.transfer import copy_head, unfold

DENSE_SUFFIX = "_convolution"
"""What `export.quantize.graph` appends to the name of a dense layer, which it makes a convolution."""


def copy_bundle(bundle: Path, model: keras.Model, faces: NDArray[np.uint8], *, kind: NetworkKind = "cnn") -> None:
    """Copy the weights of a bundle's int8 network; the model then computes the same, up to rounding.

    ``model``: a network of the same layers, for example `train.networks.plain.plain_cnn`.
    ``faces``: uint8 [n, 48, 48], a few hundred, whose statistics initialise BatchNorm.
    Raises `DataError`: the bundle holds no such int8 network, or one of other layers or channels.
    Raises `BundleError`: the bundle is refused.
    """
    folded = read_bundle(bundle, kind)
    for layer in model.layers[:-1]:
        if isinstance(layer, layers.Conv2D):
            found = folded[layer.name][0].shape if layer.name in folded else "nothing"
            if found != tuple(layer.kernel.shape):
                expected = tuple(layer.kernel.shape)
                raise DataError(
                    f"{bundle}: does not fit {model.name}: {layer.name} must hold {expected}, found {found}"
                )
    copy_head(list(folded.pop(model.layers[-1].name)), model, str(bundle))
    unfold(folded, model, faces)


def load_bundle(bundle: Path, faces: NDArray[np.uint8]) -> keras.Model:
    """Build a model that computes what a bundle's int8 ``cnn`` computes. Errors are those of `copy_bundle`."""
    kernels = {name: kernel for name, (kernel, _) in read_bundle(bundle, "cnn").items()}
    plain = sorted((name for name in kernels if re.fullmatch(r"conv\d+", name)), key=lambda name: int(name[4:]))
    model = plain_cnn([kernels[name].shape[-1] for name in plain]) if plain else residual_cnn()
    copy_bundle(bundle, model, faces)
    return model


def read_bundle(bundle: Path, kind: NetworkKind) -> dict[str, tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Return kernel [height, width, in, out] and bias [out] of each layer of an int8 network, by its name in Keras.

    The dense layer's kernel is [in, out]; it was exported as a convolution over the feature map that it averages.
    """
    opened = open_bundle(bundle)
    entry = opened.manifest.models.get(kind)
    if entry is None or getattr(entry, "quantization", None) != "int8":
        raise DataError(f"{bundle}: holds no int8 {kind} to start from")
    interpreter = open_interpreter(opened.read(entry.file))
    tensors = {details["index"]: details for details in interpreter.get_tensor_details()}

    def real(index: int) -> NDArray[np.float32]:
        scales = tensors[index]["quantization_parameters"]["scales"]
        stored = interpreter.get_tensor(index).astype(np.float32)
        return np.asarray(stored * scales.reshape(-1, *[1] * (stored.ndim - 1)))

    found = {}
    for operator in interpreter._get_ops_details():  # type: ignore[attr-defined]  # noqa: SLF001  # the runtime's own check does this too
        if operator["op_name"] != "CONV_2D":
            continue
        _, kernel, bias = operator["inputs"]
        # "residual_cnn_1/stage0_block0_1_conv_1/convolution": Keras adds a number each time it traces a network
        name = re.sub(r"(_\d+)?$", "", tensors[kernel]["name"].split("/")[1])
        weights = real(kernel).transpose(1, 2, 3, 0)
        if name.endswith(DENSE_SUFFIX):
            name, weights = name.removesuffix(DENSE_SUFFIX), weights.sum(axis=(0, 1))
        found[name] = (weights, real(bias))
    return found
