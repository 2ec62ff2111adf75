"""The whole export: load, convert, verify, install. Importing this module loads no TensorFlow."""

import json
import platform
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.bundles.place import check_place
from edge.emotions import EMOTIONS
from edge.errors import BundleError, DataError, UsageError
from edge.faces.distances import LANDMARK_FEATURES_VERSION
from edge.inference import available_runtimes, open_bundle
from edge.inference.manifest import (
    SCHEMA,
    Accuracy,
    Figure,
    InputEntry,
    Manifest,
    ModelEntry,
    NetworkKind,
    Quantization,
)
from edge.inference.runtime import quiet_stderr
from export.install import file_entries, install
from export.sign import load_signer
from export.verify import Verification, verify
from train.backend import choose_backend
from train.dataset import Dataset, load_dataset
from train.evaluation import Summary, softmax

KIND: NetworkKind = "cnn"
REPRESENTATIVE = 100
"""Training pictures that set the ranges of int8. The number matters little: half-way through a training on FER2013,
scores on the validation part were off by 0.0031 on average with 50 or 100 of them, 0.0034 with 300, 0.0037 with 1000,
one draw each; a second draw of 100 gave 0.0035."""
VERSIONS = ("tensorflow", "tensorflow-cpu", "keras", "numpy", "ai-edge-litert", "tflite-runtime")


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be exported, and where to."""

    model: Path
    """run folder or .keras file"""
    data: Path
    out: Path
    quantization: Quantization = "int8"
    name: str | None = None
    """of the bundle; None: from the network's name and the quantization"""
    key: Path | None = None
    """private key that signs the bundle; None leaves it unsigned"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it."""

    name: str
    quantization: Quantization
    bytes: int
    parameters: int
    macs: int
    verification: Verification
    identity: str | None
    """of the installed bundle; None where the checks were missed and nothing was written"""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "name": self.name,
            "identity": self.identity,
            "quantization": self.quantization,
            "bytes": self.bytes,
            "parameters": self.parameters,
            "macs": self.macs,
            **self.verification.as_dict(),
        }


def export(request: Request, *, report: Callable[[str], None] = lambda _line: None) -> Outcome:
    """Convert a trained network and install it as a bundle, if it passes every check.

    Raises
    ------
    UsageError
        There is no such model, the target folder holds something else, or the key cannot sign.
    DataError
        The data set is damaged, has an empty part, or is not the one that the model was trained on.
    EmotionEdgeError
        The network cannot be converted or run.
    """
    check_place(request.out)
    sign = None if request.key is None else load_signer(request.key)
    source, run = _model_file(request.model)
    dataset = load_dataset(request.data)
    fingerprint = _check_data(dataset, request.data, run)
    runtimes = available_runtimes()
    if not runtimes:
        raise BundleError("no TFLite runtime to verify with; install one with: pip install ai-edge-litert")
    choose_backend()
    report(f"loading {source}")
    with quiet_stderr():
        from export.convert import convert
        from export.network import load_network
        from train.networks import count_macs

    network = load_network(source)
    report(f"converting to {request.quantization}")
    model = convert(network, request.quantization, _representative(dataset))
    report(f"verifying on {', '.join(runtimes)}")

    def float_scores(chips: NDArray[np.uint8]) -> NDArray[np.float32]:
        return softmax(np.asarray(network.predict(chips[..., None], batch_size=256, verbose=0)))

    verification = verify(model, request.quantization, float_scores, dataset, runtimes)
    name = request.name or f"{network.name.replace('_', '-').lower()}-{request.quantization}"
    entry = ModelEntry(
        file=f"{KIND}.tflite", quantization=request.quantization,
        parameters=int(network.count_params()), macs=count_macs(network),
        agreement=round(verification.runtimes[0].agreement, 4), accuracy=_accuracy(dataset, verification),
    )  # fmt: skip
    identity = None
    if not verification.missed:
        files = {entry.file: model}
        install(request.out, _manifest(name, entry, files, fingerprint), files, sign)
        identity = open_bundle(request.out).identity
    return Outcome(name, request.quantization, len(model), entry.parameters, entry.macs, verification, identity)


def _model_file(model: Path) -> tuple[Path, Path | None]:
    """The .keras file, and the run folder where it is a finished run's result."""
    if model.is_dir():
        source = model / "model.keras"
        if not source.is_file():
            raise UsageError(f"{source}: no such file; finish the training first: python -m train cnn --resume")
        return source, model
    if not model.is_file():
        raise UsageError(f"{model}: no such run folder or .keras file; train one with: python -m train cnn")
    return model, None


def _check_data(dataset: Dataset, path: Path, run: Path | None) -> str | None:
    """Return the fingerprint that the run noted, if any."""
    for part in ("train", "validation", "test"):
        if not len(dataset.select(part)):
            raise DataError(f"{path}: its {part} part holds no picture of the five emotions")
    if run is None or not (run / "settings.json").is_file():
        return None
    try:
        noted = json.loads((run / "settings.json").read_text(encoding="utf-8")).get("data_fingerprint")
    except (ValueError, AttributeError) as error:
        raise DataError(f"{run / 'settings.json'}: damaged: {error}") from error
    if noted != dataset.fingerprint():
        raise DataError(
            f"{path}: not the data set that {run} was trained on, so its test part may hold pictures that the network "
            "has seen; name the right one with --data"
        )
    return str(noted)


def _representative(dataset: Dataset) -> NDArray[np.uint8]:
    rows = dataset.select("train")
    chosen = np.random.default_rng(0).choice(rows, size=min(REPRESENTATIVE, len(rows)), replace=False)
    return np.asarray(dataset.images[chosen], dtype=np.uint8)


def _accuracy(dataset: Dataset, found: Verification) -> Accuracy:
    name = str(dataset.notes.get("source", "unnamed"))[:200]
    return Accuracy(data=name, part="test", n=found.before.n, before=_figure(found.before), after=_figure(found.after))


def _figure(summary: Summary) -> Figure:
    low, high = summary.balanced_accuracy_interval
    return Figure(
        accuracy=round(summary.accuracy, 4), balanced_accuracy=round(summary.balanced_accuracy, 4),
        balanced_accuracy_interval=(round(low, 4), round(high, 4)),
    )  # fmt: skip


def _manifest(name: str, entry: ModelEntry, files: dict[str, bytes], fingerprint: str | None) -> Manifest:
    from edge.faces.chip import CHIP_VERSION

    return Manifest(
        schema=SCHEMA, name=name, created=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        labels=[*EMOTIONS], input=InputEntry(side_px=48, pixels="uint8 luma chip", chip_version=CHIP_VERSION),
        landmark_features_version=LANDMARK_FEATURES_VERSION, files=file_entries(files), models={KIND: entry},
        training_data=fingerprint, versions=_versions(),
    )  # fmt: skip


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in VERSIONS:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
