"""Writes what was measured into a manifest and a model card."""

import platform
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

import msgspec

from edge.emotions import EMOTIONS
from edge.faces.chip import CHIP_VERSION
from edge.faces.distances import FEATURES, LANDMARK_FEATURES_VERSION
from edge.inference.manifest import (
    SCHEMA,
    Accuracy,
    Ensemble,
    Figure,
    InputEntry,
    KnnAccuracy,
    KnnEntry,
    Manifest,
    ModelEntry,
)
from export import knn as landmark_knn
from export.card import CARD_NAME, render_card
from export.ensemble import Weights
from export.install import file_entries
from export.knn import KnnOutcome
from train.data.dataset import Dataset
from train.metrics import Summary

if TYPE_CHECKING:
    from export.run import NetworkOutcome

VERSIONS = ("tensorflow", "tensorflow-cpu", "keras", "numpy", "scikit-learn", "ai-edge-litert", "tflite-runtime")


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """All that goes into a bundle."""

    name: str
    networks: "Sequence[NetworkOutcome]"
    knn: KnnOutcome | None
    weights: Weights
    ensemble: Summary | None


def describe(measured: Measured, dataset: Dataset, fingerprint: str | None) -> tuple[Manifest, dict[str, bytes]]:
    """Return a bundle's manifest and its other files, the model card among them."""
    data = str(dataset.notes.get("source", "unnamed"))[:200]
    files = {f"{network.kind}.tflite": network.content for network in measured.networks}
    knn = None
    if measured.knn is not None:
        files[landmark_knn.FILE] = measured.knn.content
        knn = KnnEntry(
            file=landmark_knn.FILE, scikit_learn=measured.knn.scikit_learn, features=FEATURES,
            samples=measured.knn.samples, neighbors=measured.knn.neighbors, accuracy=_alone(data, measured.knn.test),
        )  # fmt: skip
    ensemble = None
    if measured.ensemble is not None:
        ensemble = Ensemble(weights=measured.weights, accuracy=_alone(data, measured.ensemble))
    plain = Manifest(
        schema=SCHEMA, name=measured.name,
        created=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"), labels=[*EMOTIONS],
        input=InputEntry(side_px=48, pixels="uint8 luma chip", chip_version=CHIP_VERSION),
        landmark_features_version=LANDMARK_FEATURES_VERSION, files=file_entries(files),
        models={network.kind: _entry(network, data) for network in measured.networks}, training_data=fingerprint,
        versions=_versions(), knn=knn, ensemble=ensemble,
    )  # fmt: skip
    return with_card(plain, files)


def with_card(manifest: Manifest, files: dict[str, bytes]) -> tuple[Manifest, dict[str, bytes]]:
    """Write the model card that the manifest's figures give, and list it with its hash."""
    whole = {name: content for name, content in files.items() if name != manifest.model_card}
    whole[CARD_NAME] = render_card(manifest).encode()
    return msgspec.structs.replace(manifest, files=file_entries(whole), model_card=CARD_NAME), whole


def _entry(network: "NetworkOutcome", data: str) -> ModelEntry:
    found = network.verification
    accuracy = Accuracy(
        data=data, part="test", n=found.before.n, before=_figure(found.before), after=_figure(found.after)
    )
    return ModelEntry(
        file=f"{network.kind}.tflite", quantization=network.quantization, parameters=network.parameters,
        macs=network.macs, agreement=round(found.runtimes[0].agreement, 4), accuracy=accuracy,
    )  # fmt: skip


def _alone(data: str, summary: Summary) -> KnnAccuracy:
    return KnnAccuracy(data=data, part="test", n=summary.n, after=_figure(summary))


def _figure(summary: Summary) -> Figure:
    low, high = summary.balanced_accuracy_interval
    return Figure(
        accuracy=round(summary.accuracy, 4), balanced_accuracy=round(summary.balanced_accuracy, 4),
        balanced_accuracy_interval=(round(low, 4), round(high, 4)),
        recall={emotion: round(share, 4) for emotion, share in summary.recall.items()},
    )  # fmt: skip


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in VERSIONS:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
