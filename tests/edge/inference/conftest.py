"""Bundles around the network that ships, and tiny untrained networks: the scores do not matter here."""

import hashlib
import pickle
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from edge.emotions import EMOTIONS
from edge.faces.chip import CHIP_VERSION
from edge.inference.bundle import shipped_bundle


@pytest.fixture(scope="session")
def tiny_models() -> dict[str, bytes]:
    """TFLite models of every quantization."""
    pytest.importorskip("tensorflow", reason="makes its models with TensorFlow")
    import keras

    from export.quantize.convert import convert
    from train.networks.residual import ResidualShape, residual_cnn

    keras.utils.set_random_seed(0)
    network = residual_cnn(ResidualShape(stem=8, stages=(8,), blocks=(1,)))
    chips = np.random.default_rng(0).integers(0, 256, size=(20, 48, 48), dtype=np.uint8)
    kinds: list[Any] = ["int8", "float16", "dynamic", "none"]
    return {kind: convert(network, kind, chips) for kind in kinds}


@pytest.fixture(scope="session")
def int8_model() -> bytes:
    """The TFLite model that ships."""
    return (shipped_bundle() / "cnn.tflite").read_bytes()


@pytest.fixture
def description(int8_model: bytes) -> dict[str, Any]:
    """The manifest of a good int8 bundle, as JSON values."""
    figure = {"accuracy": 0.7, "balanced_accuracy": 0.7, "balanced_accuracy_interval": [0.68, 0.72]}
    return {
        "schema": 1,
        "name": "tiny",
        "created": "2026-01-02T03:04:05Z",
        "labels": [*EMOTIONS],
        "input": {"side_px": 48, "pixels": "uint8 luma chip", "chip_version": CHIP_VERSION},
        "landmark_features_version": 1,
        "files": {"cnn.tflite": file_entry(int8_model)},
        "models": {
            "cnn": {
                "file": "cnn.tflite",
                "quantization": "int8",
                "parameters": 1000,
                "macs": 100_000,
                "agreement": 0.995,
                "accuracy": {"data": "made", "part": "test", "n": 100, "before": figure, "after": figure},
            }
        },
        "training_data": "0" * 64,
        "versions": {"keras": "3.15.1"},
    }


@pytest.fixture
def write_bundle(tmp_path: Path) -> Callable[..., Path]:
    """Write a manifest and files as they are, good or bad."""

    def write(manifest: dict[str, Any], files: dict[str, bytes]) -> Path:
        folder = tmp_path / "bundle"
        folder.mkdir()
        (folder / "manifest.json").write_bytes(msgspec.json.encode(manifest))
        for name, content in files.items():
            (folder / name).write_bytes(content)
        return folder

    return write


@pytest.fixture
def good_bundle(write_bundle: Callable[..., Path], description: dict[str, Any], int8_model: bytes) -> Path:
    return write_bundle(description, {"cnn.tflite": int8_model})


def file_entry(content: bytes) -> dict[str, Any]:
    return {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}


def faces_of_five_kinds(n: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Landmarks [n, 68, 2] whose shape tells their class, and the classes [n]."""
    rng = np.random.default_rng(0)
    shapes = rng.normal(size=(5, 68, 2)) * 10
    labels = np.arange(n) % 5
    return (shapes[labels] + rng.normal(size=(n, 68, 2))).astype(np.float32), labels


@pytest.fixture(scope="session")
def pipeline() -> Any:
    """A fitted landmark KNN as training makes it."""
    neighbors = pytest.importorskip("sklearn.neighbors", reason="the landmark KNN is scikit-learn's")
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from edge.faces.distances import landmark_features

    points, labels = faces_of_five_kinds(80)
    knn = neighbors.KNeighborsClassifier(5, weights="distance", algorithm="brute")
    made = make_pipeline(StandardScaler(), LinearDiscriminantAnalysis(), knn)
    return made.fit(landmark_features(points), labels)


@pytest.fixture(scope="session")
def knn_pickle(pipeline: Any) -> bytes:
    return pickle.dumps(pipeline, protocol=4)


@pytest.fixture
def knn_description(description: dict[str, Any], knn_pickle: bytes) -> dict[str, Any]:
    """The manifest of a bundle with a network, a KNN and their ensemble."""
    figure = {"accuracy": 0.7, "balanced_accuracy": 0.7, "balanced_accuracy_interval": [0.68, 0.72]}
    accuracy = {"data": "made", "part": "test", "n": 100, "after": figure}
    description["files"]["landmark-knn.pkl"] = file_entry(knn_pickle)
    description["knn"] = {
        "file": "landmark-knn.pkl",
        "scikit_learn": version("scikit-learn"),
        "features": 1326,
        "samples": 80,
        "neighbors": 5,
        "accuracy": accuracy,
    }
    description["ensemble"] = {"weights": {"cnn": 0.75, "knn": 0.25}, "accuracy": accuracy}
    return description


@pytest.fixture
def write_knn_bundle(
    write_bundle: Callable[..., Path], knn_description: dict[str, Any], int8_model: bytes
) -> Callable[[bytes], Path]:
    """Write a bundle whose KNN is any content, with a hash that matches: what somebody who makes bundles could do."""

    def write(content: bytes) -> Path:
        knn_description["files"]["landmark-knn.pkl"] = file_entry(content)
        return write_bundle(knn_description, {"cnn.tflite": int8_model, "landmark-knn.pkl": content})

    return write
