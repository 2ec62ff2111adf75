"""Where an export starts: a run folder or ``.keras`` file, and the data set that goes with it."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.errors import DataError, UsageError
from edge.inference.manifest import NetworkKind
from edge.inference.networks import quiet_stderr
from train.data.dataset import Dataset
from train.metrics import softmax
from train.networks.backend import choose_backend


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """A trained network."""

    network: Any
    """keras.Model, pixels 0..255 [n, 48, 48, 1] to logits [n, 5]"""
    kind: NetworkKind
    name: str
    """of the network, fit for a bundle"""
    parameters: int
    macs: int

    def scores(self, chips: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Scores [n, 5] of chips uint8 [n, 48, 48]."""
        return softmax(np.asarray(self.network.predict(chips[..., None], batch_size=256, verbose=0)))


def open_source(model: Path) -> Source:
    """Load a network; TensorFlow and Keras load with it.

    Raises
    ------
    UsageError
        There is no such model, or Keras does not run on TensorFlow.
    DataError
        The file is no Keras model.
    """
    path = model_file(model)
    choose_backend()
    with quiet_stderr():
        from export.network import load_network
        from train.networks.device import count_macs

    network = load_network(path)
    name = network.name.replace("_", "-").lower()
    kind: NetworkKind = "vgg" if name.startswith("vgg") else "cnn"
    return Source(network, kind, name, int(network.count_params()), count_macs(network))


def model_file(model: Path) -> Path:
    """Return the .keras file of a finished run, or the file itself; raises `UsageError` where there is none."""
    if model.is_dir():
        source = model / "model.keras"
        if not source.is_file():
            raise UsageError(f"{source}: no such file; finish the training first: python -m train cnn --resume")
        return source
    if not model.is_file():
        raise UsageError(f"{model}: no such run folder or .keras file; train one with: python -m train cnn")
    return model


def check_data(dataset: Dataset, path: Path, model: Path) -> str | None:
    """Return the fingerprint that the run noted, if any; look for the model first.

    Raises
    ------
    UsageError
        There is no such model.
    DataError
        A part is empty, or the run was trained on another data set.
    """
    model_file(model)
    for part in ("train", "validation", "test"):
        if not len(dataset.select(part)):
            raise DataError(f"{path}: its {part} part holds no picture of the five emotions")
    settings = model / "settings.json"
    if not model.is_dir() or not settings.is_file():
        return None
    try:
        noted = json.loads(settings.read_text(encoding="utf-8")).get("data_fingerprint")
    except (ValueError, AttributeError) as error:
        raise DataError(f"{settings}: damaged: {error}") from error
    if noted != dataset.fingerprint():
        raise DataError(
            f"{path}: not the data set that {model} was trained on, so its test part may hold pictures that the "
            "network has seen; name the right one with --data"
        )
    return str(noted)
