"""``manifest.json``: what a bundle holds, where it came from, and the hash of every file in it."""

import re
from typing import Annotated, Literal

import msgspec

from edge.emotions import EMOTIONS
from edge.errors import BundleError
from edge.faces.distances import LANDMARK_FEATURES_VERSION

SCHEMA = 1
"""Version of the format; it grows when older devices would misread newer bundles."""

MANIFEST_NAME = "manifest.json"
RESERVED_NAMES = (MANIFEST_NAME, "manifest.sig")
"""Files of a bundle that its manifest does not list."""
MAX_MANIFEST_BYTES = 64 * 1024
MAX_FILE_BYTES = 64 * 1024 * 1024
MAX_FILES = 16

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Count = Annotated[int, msgspec.Meta(ge=0)]
Sha256 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
Name = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}\Z")]
Text = Annotated[str, msgspec.Meta(max_length=200)]
LogScore = Annotated[float, msgspec.Meta(ge=-20, le=0)]
LogScores = tuple[LogScore, LogScore, LogScore, LogScore, LogScore]
"""in the order of ``EMOTIONS``"""
Quantization = Literal["int8", "float16", "dynamic", "none"]
NetworkKind = Literal["cnn", "vgg"]
MemberKind = Literal["cnn", "vgg", "knn"]
ClassifierKind = Literal["cnn", "vgg", "knn", "ensemble"]
"""what `classifier` chooses: a model of the bundle, or the weighted mean of several"""
MAX_KNN_BYTES = 5_000_000
"""largest pickled landmark KNN"""

FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""Allowed file names: no folder, and valid on any file system."""


class _Strict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class FileEntry(_Strict, frozen=True, kw_only=True):
    """One file of the bundle's folder."""

    sha256: Sha256
    bytes: Annotated[int, msgspec.Meta(ge=1, le=MAX_FILE_BYTES)]


class InputEntry(_Strict, frozen=True, kw_only=True):
    """What the models take as input."""

    side_px: Literal[48]
    pixels: Literal["uint8 luma chip"]
    chip_version: int
    """`edge.faces.chip.CHIP_VERSION`: a network fits the chips that it was trained on"""


class Figure(_Strict, frozen=True, kw_only=True):
    """Accuracy on held-out pictures."""

    accuracy: Share
    balanced_accuracy: Share
    """mean recall over the five emotions"""
    balanced_accuracy_interval: tuple[Share, Share]
    """95 %"""
    recall: dict[Text, Share] = {}
    """by emotion; empty in bundles made before 2026-11-23"""
    calibration_error: Share | None = None
    """mean distance of confidence and accuracy; null in bundles made before version 0.2"""


class Accuracy(_Strict, frozen=True, kw_only=True):
    """Accuracy of a model of the bundle on held-out pictures."""

    data: Text
    """name of the data set's source file"""
    part: Text
    n: Annotated[int, msgspec.Meta(ge=1)]
    after: Figure
    """the file in this bundle"""
    mirrored: Figure | None = None
    """the same, averaged over each picture and its mirror image; null in bundles made before version 0.2"""


class ConvertedAccuracy(Accuracy, frozen=True, kw_only=True):
    """Accuracy of a network on the same pictures before and after the conversion."""

    before: Figure
    """the float network"""


class ModelEntry(_Strict, frozen=True, kw_only=True):
    """One network of the bundle."""

    file: str
    """a key of ``files``"""
    quantization: Quantization
    parameters: Count
    macs: Count
    """multiply-accumulate operations for one face"""
    agreement: Share
    """share of validation pictures whose top emotion is that of the float network"""
    accuracy: ConvertedAccuracy
    origin: Text | None = None
    """where its weights came from; null for a training from scratch, and in bundles made before version 0.2"""


class KnnEntry(_Strict, frozen=True, kw_only=True):
    """The landmark KNN of the bundle, a pickled pipeline of scikit-learn."""

    file: str
    """a key of ``files``"""
    scikit_learn: Text
    """version that wrote it; one of the same major and minor number reads it"""
    features: Annotated[int, msgspec.Meta(ge=1, le=68 * 68)]
    """number of landmark distances for one face"""
    samples: Annotated[int, msgspec.Meta(ge=1)]
    """training faces that it holds"""
    neighbors: Annotated[int, msgspec.Meta(ge=1)]
    accuracy: Accuracy


class Ensemble(_Strict, frozen=True, kw_only=True):
    """Several models of the bundle together."""

    weights: Annotated[dict[MemberKind, Share], msgspec.Meta(min_length=2)]
    """of each model in the mean of scores; they sum to 1, and were chosen on the validation part"""
    accuracy: Accuracy


class Population(_Strict, frozen=True, kw_only=True):
    """Mean log-scores of many faces: what a face's own mean is measured against (`smoothing.baseline`).

    Each picture counts as its ``neutral`` score says, the five emotions' pictures together alike.
    """

    data: Text
    """name of the data set's source file"""
    part: Text
    n: Annotated[int, msgspec.Meta(ge=1)]
    log_scores: Annotated[dict[ClassifierKind, LogScores], msgspec.Meta(min_length=1)]
    """by classifier: its scores differ from another's"""


class Manifest(_Strict, frozen=True, kw_only=True):
    """A bundle's ``manifest.json``."""

    schema: int
    name: Name
    created: Text
    """RFC 3339, UTC"""
    labels: list[str]
    input: InputEntry
    landmark_features_version: int
    """`edge.faces.distances.LANDMARK_FEATURES_VERSION`: which distances the landmark models were trained on"""
    files: Annotated[dict[str, FileEntry], msgspec.Meta(min_length=1, max_length=MAX_FILES)]
    models: Annotated[dict[NetworkKind, ModelEntry], msgspec.Meta(min_length=1)]
    training_data: Sha256 | None
    """fingerprint of the data set that the models were trained on; null where the run did not record it"""
    versions: Annotated[dict[Text, Text], msgspec.Meta(max_length=32)]
    """libraries that trained and converted the models"""
    knn: KnnEntry | None = None
    ensemble: Ensemble | None = None
    population: Population | None = None
    """null in bundles made before version 0.2, with which `smoothing.baseline` is not applied"""
    model_card: str | None = None
    """a key of ``files``"""

    def classifiers(self) -> list[ClassifierKind]:
        """Return the values of `classifier` that this bundle can serve, the networks first."""
        more: dict[ClassifierKind, object] = {"knn": self.knn, "ensemble": self.ensemble}
        return [*self.models, *(kind for kind, entry in more.items() if entry is not None)]

    def population_of(self, kind: ClassifierKind) -> LogScores | None:
        """Return the mean log-scores of many faces with a classifier of this bundle, where they were measured."""
        return None if self.population is None else self.population.log_scores.get(kind)


class _SchemaOnly(msgspec.Struct):
    schema: int


def decode_manifest(raw: bytes) -> Manifest:
    """Read and check the text of a ``manifest.json``.

    Raises `BundleError`: it is not JSON, has another schema, lacks a key or has an unknown one, holds an impossible
    value, names a file outside the bundle's folder, or was made for other labels, chips or landmark features than this
    version's.
    """
    if len(raw) > MAX_MANIFEST_BYTES:
        raise BundleError(f"{MANIFEST_NAME}: larger than {MAX_MANIFEST_BYTES} bytes")
    try:
        schema = msgspec.json.decode(raw, type=_SchemaOnly).schema
        if schema != SCHEMA:
            raise BundleError(f"{MANIFEST_NAME}: has schema {schema}, this version reads schema {SCHEMA}")
        manifest = msgspec.json.decode(raw, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BundleError(f"{MANIFEST_NAME}: not a bundle's manifest: {error}") from None
    _check_meaning(manifest)
    return manifest


def encode_manifest(manifest: Manifest) -> bytes:
    """Return indented JSON that `decode_manifest` reads."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n"


def _check_meaning(manifest: Manifest) -> None:
    from edge.faces.chip import CHIP_VERSION  # loads OpenCV

    if manifest.labels != [*EMOTIONS]:
        raise BundleError(
            f"{MANIFEST_NAME}: labels are {', '.join(manifest.labels)}, expected {', '.join(EMOTIONS)}, in this order"
        )
    for what, found, known in (
        ("face chip", manifest.input.chip_version, CHIP_VERSION),
        ("landmark features", manifest.landmark_features_version, LANDMARK_FEATURES_VERSION),
    ):
        if found != known:
            raise BundleError(f"{MANIFEST_NAME}: made for version {found} of the {what}, this version has {known}")
    for name in manifest.files:
        if not FILE_NAME.fullmatch(name) or name in RESERVED_NAMES:
            raise BundleError(f"{MANIFEST_NAME}: {name!r} is no name for a file of a bundle")
        if sum(other.lower() == name.lower() for other in manifest.files) > 1:
            raise BundleError(f"{MANIFEST_NAME}: {name!r} is there twice, or differs in case only")
    _check_files(manifest)
    _check_ensemble(manifest)
    for kind in manifest.population.log_scores if manifest.population else ():
        if kind not in manifest.classifiers():
            raise BundleError(f"{MANIFEST_NAME}: the population names {kind}, which this bundle does not hold")


def _check_files(manifest: Manifest) -> None:
    owners = {f"model {kind}": entry.file for kind, entry in manifest.models.items()}
    if manifest.knn is not None:
        owners["model knn"] = manifest.knn.file
    if manifest.model_card is not None:
        owners["the model card"] = manifest.model_card
    for owner, name in owners.items():
        if name not in manifest.files:
            raise BundleError(f"{MANIFEST_NAME}: {owner} is in {name!r}, which is not among its files")
    if len(set(owners.values())) != len(owners):
        raise BundleError(f"{MANIFEST_NAME}: {', '.join(owners)} must be in different files")
    unused = set(manifest.files) - set(owners.values())
    if unused:
        raise BundleError(f"{MANIFEST_NAME}: {min(unused)!r} belongs to no model")
    if manifest.knn is not None and manifest.files[manifest.knn.file].bytes > MAX_KNN_BYTES:
        raise BundleError(f"{MANIFEST_NAME}: {manifest.knn.file!r} is larger than {MAX_KNN_BYTES} bytes")


def _check_ensemble(manifest: Manifest) -> None:
    if manifest.ensemble is None:
        return
    weights = manifest.ensemble.weights
    for kind in weights:
        if kind not in manifest.classifiers():
            raise BundleError(f"{MANIFEST_NAME}: the ensemble needs the model {kind}, which this bundle does not hold")
    if abs(sum(weights.values()) - 1) > 1e-6:
        raise BundleError(f"{MANIFEST_NAME}: the ensemble's weights sum to {sum(weights.values()):g}, expected 1")
