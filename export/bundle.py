"""Make a bundle of what was measured: manifest, model card, signature, and its place on the disk."""

import hashlib
import platform
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files as package_files
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.bundles.place import install_in_place
from edge.emotions import EMOTIONS
from edge.errors import UsageError
from edge.events.baseline import mean_log_scores
from edge.faces.chip import CHIP_VERSION
from edge.faces.distances import FEATURES, LANDMARK_FEATURES_VERSION
from edge.inference import load_classifier
from edge.inference.manifest import (
    MANIFEST_NAME,
    SCHEMA,
    Accuracy,
    ClassifierKind,
    ConvertedAccuracy,
    Ensemble,
    Figure,
    FileEntry,
    InputEntry,
    KnnEntry,
    Manifest,
    MemberKind,
    ModelEntry,
    Population,
    encode_manifest,
)
from edge.inference.signature import SIGNATURE_NAME
from export.verify import KNN_FILE, KnnOutcome, NetworkOutcome, Weights, mean_scores
from train.data.dataset import Dataset
from train.metrics import Summary

CARD_NAME = "MODEL_CARD.md"
VERSIONS = ("tensorflow", "tensorflow-cpu", "keras", "numpy", "scikit-learn", "ai-edge-litert", "tflite-runtime")
"""Packages whose versions the manifest names."""
MAX_KEY_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """Result of an export: what was measured, and the bundle that was made of it."""

    name: str
    networks: tuple[NetworkOutcome, ...]
    knn: KnnOutcome | None
    weights: Weights = field(default_factory=dict)
    """of the ensemble; empty if there is none"""
    ensemble: tuple[Summary, Summary] | None = None
    """its figures on the test part, and there averaged over each picture and its mirror image"""
    identity: str | None = None
    """of the installed bundle; None if checks were missed and nothing was written"""

    @property
    def scores(self) -> dict[MemberKind, NDArray[np.float32]]:
        """Scores of each model [n, 5]: the validation part, then the test part."""
        found: dict[MemberKind, NDArray[np.float32]] = {one.kind: one.verification.scores for one in self.networks}
        return found if self.knn is None else found | {"knn": self.knn.scores}

    @property
    def missed(self) -> tuple[str, ...]:
        """Every check that was missed."""
        found = [line for network in self.networks for line in network.verification.missed]
        return (*found, *(self.knn.missed if self.knn else ()))

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "name": self.name,
            "identity": self.identity,
            "networks": {network.kind: network.as_dict() for network in self.networks},
            "knn": self.knn and self.knn.as_dict(),
            "ensemble": self.ensemble
            and {
                "weights": self.weights,
                "test": {"after": self.ensemble[0].as_dict(), "mirrored": self.ensemble[1].as_dict()},
            },
            "missed": list(self.missed),
        }


def describe(outcome: Outcome, dataset: Dataset, fingerprint: str | None) -> tuple[Manifest, dict[str, bytes]]:
    """Return a bundle's manifest and its other files, the model card among them."""
    data = str(dataset.notes.get("source", "unnamed"))[:200]
    files = {f"{network.kind}.tflite": network.content for network in outcome.networks}
    knn = None
    if outcome.knn is not None:
        files[KNN_FILE] = outcome.knn.content
        knn = KnnEntry(
            file=KNN_FILE, scikit_learn=outcome.knn.scikit_learn, features=FEATURES,
            samples=outcome.knn.samples, neighbors=outcome.knn.neighbors, accuracy=_alone(data, outcome.knn.test),
        )  # fmt: skip
    ensemble = None
    scores: dict[ClassifierKind, NDArray[np.float32]] = dict(outcome.scores.items())
    if outcome.ensemble is not None:
        ensemble = Ensemble(weights=outcome.weights, accuracy=_alone(data, *outcome.ensemble))
        scores["ensemble"] = mean_scores(outcome.scores, outcome.weights)
    plain = Manifest(
        schema=SCHEMA, name=outcome.name,
        created=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"), labels=[*EMOTIONS],
        input=InputEntry(side_px=48, pixels="uint8 luma chip", chip_version=CHIP_VERSION),
        landmark_features_version=LANDMARK_FEATURES_VERSION, files=file_entries(files),
        models={network.kind: _entry(network, data) for network in outcome.networks}, training_data=fingerprint,
        versions=_versions(), knn=knn, ensemble=ensemble,
        population=population(scores, dataset.labels[dataset.select("validation")], data),
    )  # fmt: skip
    return with_card(plain, files)


def population(scores: Mapping[ClassifierKind, NDArray[np.float32]], labels: NDArray[np.int8], data: str) -> Population:
    """Return the mean log-scores of the validation part.

    ``scores``: of each classifier, [n or more, 5], the validation part first. ``labels``: [n], of the validation part.
    """
    n = len(labels)
    log_scores = {kind: mean_log_scores(found[:n], labels) for kind, found in scores.items()}
    return Population(data=data, part="validation", n=n, log_scores=log_scores)


def with_card(manifest: Manifest, files: dict[str, bytes]) -> tuple[Manifest, dict[str, bytes]]:
    """Render the model card from the manifest's figures, and return manifest and files with it."""
    whole = {name: content for name, content in files.items() if name != manifest.model_card}
    whole[CARD_NAME] = render_card(manifest).encode()
    return msgspec.structs.replace(manifest, files=file_entries(whole), model_card=CARD_NAME), whole


def render_card(manifest: Manifest) -> str:
    """Return the model card (Mitchell et al. 2019, arXiv:1810.03993) in Markdown, from the manifest alone."""
    import jinja2

    template = (package_files("export") / "templates" / f"{CARD_NAME}.j2").read_text(encoding="utf-8")
    # Markdown, not a web page: nothing to escape. The manifest's text is checked.
    environment = jinja2.Environment(  # noqa: S701
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    environment.filters["percent"] = lambda share: f"{share:.1%}".replace("%", " %")
    figures: dict[str, Figure] = {kind: entry.accuracy.after for kind, entry in manifest.models.items()}
    others: dict[str, Accuracy] = {}
    if manifest.knn is not None:
        others["knn"] = manifest.knn.accuracy
    if manifest.ensemble is not None:
        others["ensemble"] = manifest.ensemble.accuracy
    figures |= {kind: accuracy.after for kind, accuracy in others.items()}
    mirrored: dict[str, Figure] = {
        kind: entry.accuracy.mirrored for kind, entry in manifest.models.items() if entry.accuracy.mirrored
    }
    mirrored |= {kind: accuracy.mirrored for kind, accuracy in others.items() if accuracy.mirrored}
    first = next(iter(manifest.models.values())).accuracy
    return environment.from_string(template).render(
        manifest=manifest, figures=figures, mirrored=mirrored, data=first.data, n=first.n,
        emotions=[*map(str, EMOTIONS)], fer="fer" in first.data.lower(),
    )  # fmt: skip


def file_entries(files: Mapping[str, bytes]) -> dict[str, FileEntry]:
    """Describe files for a manifest."""
    return {
        name: FileEntry(sha256=hashlib.sha256(content).hexdigest(), bytes=len(content))
        for name, content in files.items()
    }


def install(
    out: Path, manifest: Manifest, files: Mapping[str, bytes], sign: Callable[[bytes], bytes] | None = None
) -> None:
    """Write a bundle beside its place, open it as the device does, then put it in place.

    ``sign``: signs the manifest's bytes (`load_signer`); None leaves the bundle unsigned.
    Raises `UsageError`: the place holds something other than a bundle.
    Raises `BundleError`: the device would refuse the bundle; the place is unchanged.
    """
    raw = encode_manifest(manifest)
    signature = {} if sign is None else {SIGNATURE_NAME: sign(raw)}

    def check(folder: Path) -> None:
        for kind in manifest.classifiers():
            load_classifier(folder, kind)

    install_in_place(out, {**files, MANIFEST_NAME: raw, **signature}, check)


def load_signer(path: Path) -> Callable[[bytes], bytes]:
    """Read a private key and return its signing function: a manifest's bytes to the 64 bytes of a signature.

    Raises `UsageError`: the file cannot be read, is open to others, or is no Ed25519 private key in PEM without a
    passphrase; or cryptography is not installed.
    """
    try:
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key
    except ImportError:
        raise UsageError("--sign needs the library cryptography: pip install '.[signed]'") from None
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode) or path.stat().st_size > MAX_KEY_BYTES:
            raise UsageError(f"{path}: not a private key")
        if mode & 0o077:
            raise UsageError(f"{path}: has mode {stat.S_IMODE(mode):04o}; others may read it: chmod 600 {path}")
        text = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        key = load_pem_private_key(text, password=None)
    except TypeError:
        raise UsageError(f"{path}: has a passphrase; remove it: openssl pkey -in {path} -out KEY") from None
    except (ValueError, UnsupportedAlgorithm):
        raise UsageError(
            f"{path}: not a private key in PEM; make one: openssl genpkey -algorithm ed25519 -out KEY"
        ) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise UsageError(f"{path}: not an Ed25519 key; make one: openssl genpkey -algorithm ed25519 -out KEY")
    return key.sign


def _entry(network: NetworkOutcome, data: str) -> ModelEntry:
    found = network.verification
    accuracy = ConvertedAccuracy(
        data=data, part="test", n=found.before.n, before=_figure(found.before), after=_figure(found.after),
        mirrored=_figure(found.both),
    )  # fmt: skip
    return ModelEntry(
        file=f"{network.kind}.tflite", quantization=network.quantization, parameters=network.parameters,
        macs=network.macs, agreement=round(found.runtimes[0].agreement, 4), accuracy=accuracy,
        origin=network.origin,
    )  # fmt: skip


def _alone(data: str, summary: Summary, both: Summary | None = None) -> Accuracy:
    mirrored = None if both is None else _figure(both)
    return Accuracy(data=data, part="test", n=summary.n, after=_figure(summary), mirrored=mirrored)


def _figure(summary: Summary) -> Figure:
    low, high = summary.balanced_accuracy_interval
    return Figure(
        accuracy=round(summary.accuracy, 4), balanced_accuracy=round(summary.balanced_accuracy, 4),
        balanced_accuracy_interval=(round(low, 4), round(high, 4)),
        recall={emotion: round(share, 4) for emotion, share in summary.recall.items()},
        calibration_error=round(summary.expected_calibration_error, 4),
    )  # fmt: skip


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in VERSIONS:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
