"""Scores of any model on pictures: a complete run, a ``.keras`` file or a bundle that a device runs.

The shape of a network's input says what it looks at: chips, pixels in a row, or landmark distances.
"""

import hashlib
import json
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.emotions import EMOTIONS
from edge.errors import DataError
from edge.faces.distances import FEATURES
from train.data.csv_rows import SIDE_PX
from train.metrics import softmax
from train.networks.backend import load_network, logits

PICKLES = {"landmarks": "landmark-knn.pkl", "pixels": "pixel-knn.pkl"}
"""The file in which a KNN run keeps its pipeline, by the features that it looks at."""

Scorer = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


def score(
    model: Path, images: NDArray[np.uint8], *, flip: bool = False, cache: Path | None = None
) -> NDArray[np.float32]:
    """Score pictures with a model.

    Raises `DataError`: there is no such model, it is damaged, or it takes another input.
    Raises `BundleError`: the bundle is refused.

    ``model``: a run folder with ``model.keras``, a ``.keras`` file, or a bundle folder with ``manifest.json``.
    ``images``: uint8 [n, 48, 48].
    ``flip``: average with the scores of the mirrored pictures.
    ``cache``: file that keeps the pictures' landmarks, for models that look at those; see `train.data.landmarks`.
    Returns float32 [n, 5], rows sum to 1.
    """
    scorer = open_scorer(model, cache)
    scores = scorer(images)
    if flip:
        scores = (scores + scorer(np.ascontiguousarray(images[:, :, ::-1]))) / 2
    return np.asarray(scores, dtype=np.float32)


def open_scorer(model: Path, cache: Path | None = None) -> Scorer:
    """Load a model that is to score several sets of pictures. Arguments and errors are those of `score`."""
    if not model.exists():
        raise DataError(f"{model}: no such run folder, .keras file or bundle folder")
    if (model / "manifest.json").is_file():
        return _bundle_scorer(model)
    for kind, pickled in PICKLES.items():
        if (model / pickled).is_file():
            return _knn_scorer(model / pickled, kind, cache)
    return _keras_scorer(model, cache)


def _bundle_scorer(folder: Path) -> Scorer:
    from edge.inference import load_network as load_device_network
    from edge.inference import open_bundle

    return load_device_network(open_bundle(folder)).scores


def _keras_scorer(model: Path, cache: Path | None) -> Scorer:
    network = load_network(model)
    taken, given = tuple(network.input_shape)[1:], tuple(network.output_shape)[1:]
    kind = {(FEATURES,): "landmarks", (SIDE_PX * SIDE_PX,): "pixels", (SIDE_PX, SIDE_PX, 1): "chip"}.get(taken)
    if kind is None or given != (len(EMOTIONS),):
        raise DataError(
            f"{model}: must turn [48, 48, 1], [{SIDE_PX * SIDE_PX}] or [{FEATURES}] into [{len(EMOTIONS)}], "
            f"turns {list(taken)} into {list(given)}"
        )

    def scores(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        x = images if kind == "chip" else _features(kind, images, cache, smooth=True)
        return softmax(logits(network, x))

    return scores


def _knn_scorer(path: Path, kind: str, cache: Path | None) -> Scorer:
    """Load the pipeline of a KNN run, if its sha256 is the one in ``result.json``."""
    content = path.read_bytes()
    try:
        expected = json.loads(path.with_name("result.json").read_text(encoding="utf-8"))["sha256"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path.parent}: this run is not complete; give the command that started it again") from error
    if hashlib.sha256(content).hexdigest() != expected:
        raise DataError(f"{path}: damaged: its sha256 is not the one in result.json")
    pipeline = pickle.loads(content)  # noqa: S301  # this workstation wrote it; a device never unpickles like this

    def scores(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.asarray(pipeline.predict_proba(_features(kind, images, cache)), dtype=np.float32)

    return scores


def _features(kind: str, images: NDArray[np.uint8], cache: Path | None, *, smooth: bool = False) -> NDArray[np.float32]:
    from train.data.features import pixel_features, watched_landmarks  # loads dlib

    if kind == "pixels":
        return pixel_features(images)
    return watched_landmarks(images, cache=cache, smooth=smooth).features()
