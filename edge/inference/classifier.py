"""Classifiers: from face chips and landmarks to five scores for each face."""

from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edge.errors import BundleError
from edge.inference.bundle import Bundle, open_bundle, shipped_bundle
from edge.inference.manifest import ClassifierKind, LogScores, NetworkKind
from edge.inference.networks import TfliteClassifier
from edge.inference.signature import TrustedKeys


class Classifier(Protocol):
    """Anything that scores faces. Not for use by two threads at once."""

    name: str
    """name and hash of the bundle, and the kind where it is not a network; ``model`` in every event"""
    population: LogScores | None
    """mean log-scores of many faces with it; None where its bundle does not hold them"""

    def scores(self, chips: NDArray[np.uint8], points: NDArray[np.float32]) -> NDArray[np.float32]:
        """Score faces.

        Raises `ValueError`: an array has another shape or dtype.

        ``chips``: uint8 [n, 48, 48].
        ``points``: float32 [n, 68, 2]: the same faces' landmarks, in pixels of any scale.
        Returns float32 [n, 5], rows sum to 1, in the order of ``EMOTIONS``.
        """


IN_LARGE_BUNDLE: frozenset[ClassifierKind] = frozenset({"vgg", "ensemble"})
"""Classifiers that ship in ``models/vgg``, not in ``models/default``."""


class Ensemble:
    """The weighted mean of several classifiers' scores."""

    population: LogScores | None = None

    def __init__(self, members: list[tuple[float, Classifier]], *, name: str) -> None:
        self.name = name
        self._members = members

    def scores(self, chips: NDArray[np.uint8], points: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return float32 [n, 5], rows sum to 1; see `Classifier.scores`."""
        mean = sum(weight * member.scores(chips, points) for weight, member in self._members)
        return np.asarray(mean, dtype=np.float32)


def load_classifier(
    folder: Path | None = None,
    kind: ClassifierKind = "cnn",
    threads: int = 1,
    runtime: str | None = None,
    *,
    keys: TrustedKeys | None = None,
) -> Classifier:
    """Open and verify a bundle, and load one of its models.

    Raises `ModelLibraryError`: a library that the model needs is missing, or its version cannot read the model.
    Raises `BundleError`: the bundle is refused, holds no such model, or no runtime can run it.

    ``folder``: None takes the bundle that ships and holds this kind.
    ``kind``: a model of the bundle, or ``ensemble``: the mean of several, weighted as the manifest says.
    ``threads``: CPU threads that a network may use.
    ``runtime``: a key of `edge.inference.networks.RUNTIMES`; None takes the best that is installed.
    ``keys``: one of them must have signed the bundle; None takes any bundle.
    """
    bundle = open_bundle(folder or shipped_bundle("vgg" if kind in IN_LARGE_BUNDLE else "default"), keys)
    if kind not in bundle.manifest.classifiers():
        there = ", ".join(bundle.manifest.classifiers())
        raise BundleError(f"{bundle.folder}: holds no {kind} model; there is {there}: see the setting classifier")
    classifier = _load(bundle, kind, threads, runtime)
    classifier.population = bundle.manifest.population_of(kind)
    return classifier


def load_network(
    bundle: Bundle, kind: NetworkKind | None = None, threads: int = 1, runtime: str | None = None
) -> TfliteClassifier:
    """Load a network of an open bundle; the first one where ``kind`` is None.

    Raises `BundleError`: no runtime can run it, or it is not what the manifest says.
    """
    chosen = next(iter(bundle.manifest.models)) if kind is None else kind
    entry = bundle.manifest.models[chosen]
    try:
        network = TfliteClassifier(
            bundle.read(entry.file), name=bundle.identity, quantization=entry.quantization, threads=threads,
            runtime=runtime,
        )  # fmt: skip
    except BundleError as error:
        raise BundleError(f"{bundle.folder / entry.file}: {error}") from None
    network.population = bundle.manifest.population_of(chosen)
    return network


def _load(bundle: Bundle, kind: ClassifierKind, threads: int, runtime: str | None) -> Classifier:
    if kind == "knn":
        from edge.inference.knn import load_landmark_knn

        return load_landmark_knn(bundle)
    if kind == "ensemble":
        assert bundle.manifest.ensemble is not None
        weights = bundle.manifest.ensemble.weights
        members = [(weight, _load(bundle, member, threads, runtime)) for member, weight in weights.items()]
        return Ensemble(members, name=f"{bundle.identity}/ensemble")
    return load_network(bundle, kind, threads, runtime)
