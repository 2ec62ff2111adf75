"""Scores of any model on pictures: a finished run, a ``.keras`` file or a bundle that a device runs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.emotions import EMOTIONS
from edge.errors import DataError
from train.backend import choose_backend
from train.csv_rows import SIDE_PX
from train.evaluation import softmax

Scorer = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


def score(model: Path, images: NDArray[np.uint8], *, flip: bool = False) -> NDArray[np.float32]:
    """Score pictures with a model.

    Parameters
    ----------
    model
        A run folder with ``model.keras``, a ``.keras`` file, or a bundle folder with ``manifest.json``.
    images
        uint8 [n, 48, 48].
    flip
        Average with the scores of the mirrored pictures.

    Returns
    -------
    float32 [n, 5], rows sum to 1.

    Raises
    ------
    DataError
        There is no such model, it is damaged, or it is not for these pictures.
    BundleError
        A bundle that is refused.
    """
    scorer = _bundle_scorer(model) if (model / "manifest.json").is_file() else _keras_scorer(model)
    scores = scorer(images)
    if flip:
        scores = (scores + scorer(np.ascontiguousarray(images[:, :, ::-1]))) / 2
    return np.asarray(scores, dtype=np.float32)


def model_file(model: Path) -> Path:
    """Return the ``.keras`` file of a run folder, or the file itself; raises ``DataError`` where there is none."""
    if model.is_file():
        return model
    if not model.exists():
        raise DataError(f"{model}: no such run folder, .keras file or bundle folder")
    if (model / "model.keras").is_file():
        return model / "model.keras"
    if (model / "settings.json").is_file():
        raise DataError(
            f"{model}: this run is not complete yet; go on with: python -m train cnn --run {model} --resume"
        )
    raise DataError(f"{model}: neither a run folder (model.keras) nor a bundle folder (manifest.json)")


def _bundle_scorer(folder: Path) -> Scorer:
    from edge.inference import load_network, open_bundle

    return load_network(open_bundle(folder)).scores


def load_keras(model: Path) -> Any:
    """Load a run's or file's network, a ``keras.Model``, without its optimizer.

    Raises
    ------
    DataError
        There is none, or it is damaged.
    """
    path = model_file(model)
    choose_backend()
    import keras

    try:
        return keras.models.load_model(path, compile=False)
    except Exception as error:  # Keras, h5py and zipfile raise whatever a broken file makes them raise
        reason = str(error).strip().partition("\n")[0][:120] or type(error).__name__
        raise DataError(f"{path}: not a Keras model ({reason})") from error


def _keras_scorer(model: Path) -> Scorer:
    network = load_keras(model)
    taken, given = tuple(network.input_shape)[1:], tuple(network.output_shape)[1:]
    if taken != (SIDE_PX, SIDE_PX, 1) or given != (len(EMOTIONS),):
        raise DataError(
            f"{model}: must turn [48, 48, 1] into [{len(EMOTIONS)}], turns {list(taken)} into {list(given)}"
        )

    def scores(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        return softmax(np.asarray(network.predict(images[..., None], batch_size=256, verbose=0)))

    return scores
