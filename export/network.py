"""Reads a trained network for conversion. Importing this module loads Keras."""

from pathlib import Path

import keras

from edge.errors import DataError, UsageError


def load_network(path: Path) -> keras.Model:
    """Load a ``.keras`` file under the TensorFlow backend; whichever backend trained it wrote the same file.

    Raises
    ------
    UsageError
        Keras runs on another backend here.
    DataError
        The file is no Keras model.
    """
    if keras.backend.backend() != "tensorflow":
        raise UsageError("export needs TensorFlow; run it with KERAS_BACKEND=tensorflow")
    try:
        return keras.models.load_model(path, compile=False)
    except Exception as error:  # Keras, h5py and zipfile raise whatever a broken file makes them raise
        reason = str(error).strip().partition("\n")[0][:120] or type(error).__name__
        raise DataError(f"{path}: not a Keras model ({reason})") from error
