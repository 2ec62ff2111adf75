"""What a complete run of a network leaves: the calibrated network, and its figures on the validation part."""

import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from train.data.dataset import Dataset
from train.fit.calibration import calibrate
from train.metrics import softmax, summarise
from train.run_folder import write_json


def complete(run: Path, model: keras.Model, dataset: Dataset, balance: float, described: dict[str, Any]) -> None:
    """Calibrate a network on the validation part, and write ``result.json`` and then ``model.keras``.

    Parameters
    ----------
    balance
        How much more a picture of a rare emotion counts; see `train.fit.targets.class_weights`.
    described
        JSON values that ``result.json`` holds besides the figures.
    """
    labels = dataset.labels[dataset.select("validation")]
    calibration = calibrate(_logits(model, dataset, "validation"), labels, balance)
    calibration.apply(model.layers[-1])
    result = summarise(predict(model, dataset, "validation"), labels)
    write_json(run / "result.json", {"validation": result.as_dict(), "calibration": calibration.as_dict(), **described})
    save(model, run / "model.keras")  # last: a run that has it is complete


def predict(model: keras.Model, dataset: Dataset, part: str) -> NDArray[np.float32]:
    """Scores [n, 5] of a part, in the order of `Dataset.select`."""
    return softmax(_logits(model, dataset, part))


def save(model: keras.Model, path: Path) -> None:
    """Write a network, whole or not at all."""
    partial = path.with_name("partial.keras")  # Keras wants the suffix
    model.save(partial)
    partial.replace(path)


def describe_versions() -> dict[str, str]:
    """Versions of what a network was made with, for JSON."""
    return {
        "python": platform.python_version(),
        "keras": version("keras"),
        "numpy": version("numpy"),
        "backend": keras.backend.backend(),
    }


def _logits(model: keras.Model, dataset: Dataset, part: str) -> NDArray[np.float32]:
    images = dataset.images[dataset.select(part)][..., None]
    return np.asarray(model.predict(images, batch_size=256, verbose=0))
