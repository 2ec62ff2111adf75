"""Which Keras backend a command uses, chosen before anything loads Keras; and networks read from files."""

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.errors import DataError
from train.run_folder import model_file


def choose_backend() -> None:
    """Use TensorFlow unless ``KERAS_BACKEND`` names another backend, and silence its C++ part on stderr.

    Convolutions use oneDNN on every processor: TensorFlow leaves it off on AMD's, where VGG16 then trains on 31
    pictures a second instead of 83 (two cores of an EPYC, 2026-11-25).

    Call it before the first import of keras, which reads all of this once.
    """
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")


def load_network(model: Path) -> Any:
    """Load a run's or file's network, a ``keras.Model``, without its optimizer.

    Raises `DataError`: there is no such network, or its file is damaged.
    """
    path = model_file(model)
    choose_backend()
    import keras

    try:
        return keras.models.load_model(path, compile=False)
    except Exception as error:  # Keras, h5py and zipfile raise many types for a damaged file
        raise DataError(f"{path}: not a Keras model ({first_line(error)})") from error


def logits(network: Any, inputs: NDArray[Any]) -> NDArray[np.float32]:
    """Return what a network says of pictures [n, 48, 48], or of features [n, k]: [n, classes], before the softmax."""
    x = inputs[..., None] if inputs.ndim == 3 else inputs
    return np.asarray(network.predict(x, batch_size=256, verbose=0))


def first_line(error: Exception) -> str:
    """Return the first line of an error's message, at most 150 characters; its type if it has no message."""
    return str(error).strip().partition("\n")[0][:150] or type(error).__name__
