"""Bundles around a tiny network that was never trained: what they answer is of no matter here, that they answer is."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edge.emotions import EMOTIONS
from edge.faces.chip import CHIP_VERSION


@pytest.fixture(scope="session")
def tiny_models() -> dict[str, bytes]:
    """TFLite models of every quantization."""
    pytest.importorskip("tensorflow", reason="makes its models with TensorFlow")
    import keras
    import numpy as np

    from export.convert import convert
    from train.networks import DeviceCnnShape, device_cnn

    keras.utils.set_random_seed(0)
    network = device_cnn(DeviceCnnShape(stem=8, stages=(8,), blocks=(1,)))
    chips = np.random.default_rng(0).integers(0, 256, size=(20, 48, 48), dtype=np.uint8)
    kinds: list[Any] = ["int8", "float16", "dynamic", "none"]
    return {kind: convert(network, kind, chips) for kind in kinds}


@pytest.fixture
def description(tiny_models: dict[str, bytes]) -> dict[str, Any]:
    """The manifest of a good int8 bundle, as JSON values."""
    figure = {"accuracy": 0.7, "balanced_accuracy": 0.7, "balanced_accuracy_interval": [0.68, 0.72]}
    return {
        "schema": 1,
        "name": "tiny",
        "created": "2026-01-02T03:04:05Z",
        "labels": [*EMOTIONS],
        "input": {"side_px": 48, "pixels": "uint8 luma chip", "chip_version": CHIP_VERSION},
        "landmark_features_version": 1,
        "files": {"cnn.tflite": file_entry(tiny_models["int8"])},
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
def good_bundle(write_bundle: Callable[..., Path], description: dict[str, Any], tiny_models: dict[str, bytes]) -> Path:
    return write_bundle(description, {"cnn.tflite": tiny_models["int8"]})


def file_entry(content: bytes) -> dict[str, Any]:
    return {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
