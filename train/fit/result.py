"""What a complete run of a network holds: the calibrated network, and its figures on the validation part."""

import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from edge.emotions import EMOTIONS
from train.data.dataset import Dataset
from train.files import replacing, write_json
from train.fit.calibration import calibrate
from train.metrics import softmax, summarise
from train.networks.backend import logits


def complete(run: Path, model: keras.Model, dataset: Dataset, balance: float, described: dict[str, Any]) -> None:
    """Calibrate a network on the validation part, and write ``result.json`` and then ``model.keras``.

    ``balance``: exponent of the class weights; see `train.fit.targets.class_weights`.
    ``described``: JSON values for ``result.json``, beside the figures.
    """
    labels = dataset.labels[dataset.select("validation")]
    calibration = calibrate(_logits(model, dataset, "validation"), labels, balance)
    calibration.apply(model.layers[-1])
    result = summarise(predict(model, dataset, "validation"), labels)
    write_json(run / "result.json", {"validation": result.as_dict(), "calibration": calibration.as_dict(), **described})
    save(model, run / "model.keras")  # last: a run that has it is complete


def predict(model: keras.Model, dataset: Dataset, part: str) -> NDArray[np.float32]:
    """Scores [n, 5] of the five emotions, of a part in the order of `Dataset.select`."""
    return softmax(_logits(model, dataset, part))


def save(model: keras.Model, path: Path) -> None:
    """Write a network, whole or not at all."""
    with replacing(path) as partial:
        model.save(partial)


def without_optimizer(model: keras.Model) -> keras.Model:
    """Return a copy of a network that was compiled, as it is kept."""
    plain = keras.models.clone_model(model)
    plain.set_weights(model.get_weights())
    return plain


def describe(model: keras.Model, dataset: Dataset, settings: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Describe a run for ``settings.json``: network, settings, data set and versions; JSON values."""
    return {
        "network": {"name": model.name, "parameters": int(model.count_params())},
        "settings": settings,
        **more,
        "data_fingerprint": dataset.fingerprint(),
        "data": dataset.notes,
        "versions": {
            "python": platform.python_version(),
            "keras": version("keras"),
            "numpy": version("numpy"),
            "backend": keras.backend.backend(),
        },
    }


def _logits(model: keras.Model, dataset: Dataset, part: str) -> NDArray[np.float32]:
    return logits(model, dataset.images[dataset.select(part)])[:, : len(EMOTIONS)]
