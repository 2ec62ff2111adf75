"""Load a trained network, and check that the data set is the one that it was trained on."""

from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.errors import DataError, UsageError
from edge.inference.manifest import NetworkKind
from edge.inference.networks import quiet_stderr
from train.data.dataset import Dataset
from train.metrics import softmax
from train.networks.backend import choose_backend, load_network, logits
from train.run_folder import model_file, read_fingerprint, read_json

_ORIGIN_MAX = 200
"""letters of a manifest's text"""


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """A trained network."""

    network: Any
    """keras.Model, pixels 0..255 [n, 48, 48, 1] to logits [n, 5]"""
    kind: NetworkKind
    name: str
    """the network's name, as a bundle may be called"""
    parameters: int
    macs: int
    origin: str | None
    """where its weights came from; None: trained from scratch, or a single file"""

    def scores(self, chips: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Scores [n, 5] of chips uint8 [n, 48, 48]."""
        return softmax(logits(self.network, chips))


def open_source(model: Path) -> Source:
    """Load a network; TensorFlow and Keras load with it.

    Raises `UsageError`: Keras does not run on TensorFlow.
    Raises `DataError`: there is no such model, or the file is not a Keras model.
    """
    choose_backend()
    with quiet_stderr():
        import keras

        from train.networks.plain import count_macs

    if keras.backend.backend() != "tensorflow":
        raise UsageError("export needs TensorFlow; run it with KERAS_BACKEND=tensorflow")
    network = load_network(model)
    name = network.name.replace("_", "-").lower()
    kind: NetworkKind = "vgg" if name.startswith("vgg") else "cnn"
    return Source(network, kind, name, int(network.count_params()), count_macs(network), _origin(model))


def check_data(dataset: Dataset, path: Path, model: Path) -> str | None:
    """Check that a model was trained on this data set, and return the fingerprint in its run folder, if any.

    Raises `UsageError`: there is no such model.
    Raises `DataError`: a part is empty, or the run was trained on another data set.
    """
    try:
        model_file(model)
    except DataError as error:
        raise UsageError(f"{error}; train one with: python -m train cnn") from None
    for part in ("train", "validation", "test"):
        if not len(dataset.select(part)):
            raise DataError(f"{path}: its {part} part holds no picture of the five emotions")
    fingerprint = read_fingerprint(model)
    if fingerprint not in (None, dataset.fingerprint()):
        raise DataError(
            f"{path}: not the data set that {model} was trained on, so its test part may hold pictures that the "
            "network has seen; name the right one with --data"
        )
    return fingerprint


def _origin(model: Path) -> str | None:
    noted = model / "settings.json"
    described = read_json(noted) if noted.is_file() else {}
    imported = described.get("settings", {}).get("imported")
    if imported:
        said = imported.get("origin") or "trained elsewhere"
        source = f"; imported from {imported['file'][-60:]} (sha256 {imported['sha256'][:8]}…)"
        return shorten(said, _ORIGIN_MAX - len(source), placeholder=" …") + source
    start = described.get("start")
    return (
        shorten(f"trained further from {', '.join(Path(name).name for name in start)}", _ORIGIN_MAX) if start else None
    )
