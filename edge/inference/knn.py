"""The landmark KNN: a pickled pipeline of scikit-learn, rebuilt from checked parts."""

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.emotions import EMOTIONS
from edge.errors import BundleError, ModelLibraryError
from edge.inference.bundle import Bundle
from edge.inference.manifest import LogScores
from edge.inference.safe_pickle import Array, Record, read_pickle

STEPS = ("StandardScaler", "LinearDiscriminantAnalysis", "KNeighborsClassifier")

_COMMON = frozenset({"n_features_in_", "_sklearn_version"})
_ATTRIBUTES: Mapping[str, frozenset[str]] = {
    "Pipeline": frozenset({"steps", "memory", "verbose", "transform_input", "_sklearn_version"}),
    "StandardScaler": _COMMON
    | {"with_mean", "with_std", "copy", "n_samples_seen_", "mean_", "var_", "scale_"},
    "LinearDiscriminantAnalysis": _COMMON
    | {
        "solver", "shrinkage", "priors", "n_components", "store_covariance", "tol", "covariance_estimator", "classes_",
        "priors_", "_max_components", "means_", "xbar_", "explained_variance_ratio_", "scalings_", "intercept_",
        "coef_", "_n_features_out", "covariance_",
    },
    "KNeighborsClassifier": _COMMON
    | {
        "n_neighbors", "radius", "algorithm", "leaf_size", "metric", "metric_params", "p", "n_jobs", "weights",
        "outputs_2d_", "classes_", "_y", "effective_metric_params_", "effective_metric_", "_fit_method", "_fit_X",
        "n_samples_fit_", "_tree",
    },
}  # fmt: skip
"""The attributes that scikit-learn 1.6 to 1.9 store. Any other is refused: it could hide a method."""
_FIXED: Mapping[str, Mapping[str, tuple[object, ...]]] = {
    "Pipeline": {"memory": (None,), "verbose": (False,), "transform_input": (None,)},
    "StandardScaler": {},
    "LinearDiscriminantAnalysis": {"solver": ("svd",), "covariance_estimator": (None,)},
    # No search tree: scikit-learn trusts the indices in it, and wrong ones make it read outside its arrays.
    "KNeighborsClassifier": {
        "algorithm": ("brute",), "_fit_method": ("brute",), "_tree": (None,), "metric": ("minkowski", "euclidean"),
        "effective_metric_": ("euclidean",), "p": (2,), "metric_params": (None,), "n_jobs": (None, 1),
        "weights": ("uniform", "distance"), "outputs_2d_": (False,), "effective_metric_params_": ({},),
    },
}  # fmt: skip
"""The values allowed for attributes that change how scikit-learn works."""


class LandmarkKnn:
    """Scores faces by their nearest neighbours among training faces, in distances between landmarks."""

    population: LogScores | None = None

    def __init__(self, steps: list[Any], *, name: str) -> None:
        from threadpoolctl import ThreadpoolController

        self.name = name
        *self._transforms, self._neighbours = steps
        self.samples, self.neighbors = len(self._neighbours._fit_X), int(self._neighbours.n_neighbors)  # noqa: SLF001
        # One thread: to wake a pool of them for one face took 40 ms of CPU time instead of 1.
        self._threads = ThreadpoolController()

    def scores(self, chips: NDArray[np.uint8], points: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return float32 [n, 5], rows sum to 1, for landmarks float32 [n, 68, 2]; the chips are not used.

        Raises `ValueError`: the landmarks have another shape or dtype, or are not finite.
        """
        from edge.faces.distances import landmark_features

        rows: NDArray[Any] = landmark_features(points)
        if not np.isfinite(points).all():
            raise ValueError("points must be finite")
        out = np.zeros((len(rows), len(EMOTIONS)), dtype=np.float32)
        if not len(chips) == len(rows):
            raise ValueError(f"{len(chips)} chips go with {len(rows)} faces' landmarks")
        if len(rows):
            from sklearn import config_context

            # The model and the points are checked already; scikit-learn's own checks take a tenth of the time. Its
            # compiled search is no faster for one face, and counts cores by `lscpu`: a warning where that finds none.
            quick = config_context(
                assume_finite=True, skip_parameter_validation=True, enable_cython_pairwise_dist=False
            )
            with self._threads.limit(limits=1), quick:
                for transform in self._transforms:
                    rows = transform.transform(rows)
                out[:] = self._votes(rows)
        return out

    def _votes(self, rows: NDArray[Any]) -> NDArray[Any]:
        knn = self._neighbours
        if knn.weights != "uniform":
            return np.asarray(knn.predict_proba(rows))
        # The result of predict_proba, which is made for many rows: for one face among 28,560 samples it takes 3.2 ms
        # and this 1.9 (CPU time on a Xeon at 2.8 GHz, 2026-11-22).
        labels = knn._y[knn.kneighbors(rows, return_distance=False)]  # noqa: SLF001
        return np.stack([(labels == label).mean(axis=1) for label in range(len(EMOTIONS))], axis=1)


def load_landmark_knn(bundle: Bundle) -> LandmarkKnn:
    """Rebuild the KNN of an open bundle, and test it on a face.

    Raises `ModelLibraryError`: scikit-learn is missing, or of a version other than the one that wrote the file.
    Raises `BundleError`: the bundle holds no KNN, or one that is refused; the message names the file and says why.
    """
    entry = bundle.manifest.knn
    if entry is None:
        raise BundleError(f"{bundle.folder}: holds no knn model")
    path = bundle.folder / entry.file
    try:
        check_library(entry.scikit_learn)
        knn = rebuild(bundle.read(entry.file), features=entry.features, name=f"{bundle.identity}/knn")
    except ModelLibraryError as error:
        raise ModelLibraryError(f"{path}: {error}") from None
    except BundleError as error:
        raise BundleError(f"{path}: {error}") from None
    if (knn.samples, knn.neighbors) != (entry.samples, entry.neighbors):
        raise BundleError(
            f"{path}: asks {knn.neighbors} of {knn.samples} samples, the manifest says {entry.neighbors} of "
            f"{entry.samples}"
        )
    return knn


def check_library(written_by: str) -> None:
    """Require scikit-learn in the version that wrote the file, patch releases apart.

    scikit-learn promises to read pickles of the same major and minor version only.

    Raises `ModelLibraryError`: the message says what to install.
    """
    try:
        found = version("scikit-learn")
    except PackageNotFoundError:
        raise ModelLibraryError(
            "needs scikit-learn; install it with: pip install '.[knn]' "
            "(for the service: sudo systemd/install.sh --with knn)"
        ) from None
    if found.split(".")[:2] != written_by.split(".")[:2]:
        raise ModelLibraryError(
            f"was written by scikit-learn {written_by}, which {found} cannot be trusted to read; "
            f"pip install scikit-learn=={written_by}, or export it again here"
        )


def rebuild(content: bytes, *, features: int, name: str) -> LandmarkKnn:
    """Turn a pickle into a classifier.

    Raises `BundleError`: the pickle is refused, its parts do not fit together, or its output is not a row of scores.
    """
    from edge.faces.distances import FEATURES

    if features != FEATURES:
        raise BundleError(f"is for {features} distances between landmarks, this version has {FEATURES}")
    records = _steps(read_pickle(content))
    values = [_checked(record) for record in records]
    _check_fit(dict(zip(STEPS, values, strict=True)), features)
    knn = LandmarkKnn([_real(kind, state) for kind, state in zip(STEPS, values, strict=True)], name=name)
    _self_test(knn)
    return knn


def _steps(found: object) -> list[Record]:
    if not isinstance(found, Record) or found.kind != "Pipeline":
        raise BundleError("refused: holds no scikit-learn pipeline")
    steps = _state(found)["steps"]
    if type(steps) is not list or not all(type(step) is tuple and len(step) == 2 for step in steps):
        raise BundleError("refused: its pipeline has no list of steps")
    kinds = tuple(record.kind if isinstance(record, Record) else type(record).__name__ for _, record in steps)
    if kinds != STEPS:
        raise BundleError(f"refused: its steps are {', '.join(kinds)[:100]}, expected {', '.join(STEPS)}")
    return [record for _, record in steps]


def _state(record: Record) -> dict[str, Any]:
    state = getattr(record, "state", None)
    if state is None:
        raise BundleError(f"refused: its {record.kind} has no content")
    unknown = sorted(set(state) - _ATTRIBUTES[record.kind])
    if unknown:
        raise BundleError(f"refused: its {record.kind} has the unknown attribute {unknown[0]!r}"[:200])
    missing = sorted(({"steps"} if record.kind == "Pipeline" else {*_FIXED[record.kind]}) - set(state))
    if missing:
        raise BundleError(f"refused: its {record.kind} lacks {missing[0]}")
    for key, values in _FIXED[record.kind].items():
        if key in state and not any(type(state[key]) is type(value) and state[key] == value for value in values):
            raise BundleError(f"refused: its {record.kind} has {key} {_shown(state[key])}, expected {values[0]!r}")
    return dict(state)


def _checked(record: Record) -> dict[str, Any]:
    """Return the attributes of a record as plain values and finite arrays."""
    state = _state(record)
    for key, value in state.items():
        if isinstance(value, Array):
            array = getattr(value, "value", None)
            if array is None or not np.isfinite(array).all():
                raise BundleError(f"refused: {key} of its {record.kind} holds values that are not finite numbers")
            state[key] = array
        elif not (value is None or type(value) in {bool, int, float} or (type(value) is str and len(value) < 64)):
            if value != {} or type(value) is not dict:
                raise BundleError(f"refused: {key} of its {record.kind} is {_shown(value)}")
            state[key] = {}
    return state


def _check_fit(states: Mapping[str, Mapping[str, Any]], features: int) -> None:
    scaler, lda, knn = (states[kind] for kind in STEPS)
    samples = next(iter(getattr(knn.get("_fit_X"), "shape", ())), 0)
    components = getattr(lda.get("scalings_"), "shape", ())[-1:]
    kept = lda.get("_max_components")
    if type(kept) is not int:
        raise BundleError(f"refused: it keeps {_shown(kept)} components")
    due: list[tuple[str, Any, tuple[int, ...]]] = [
        ("mean_", scaler.get("mean_"), (features,)),
        ("scale_", scaler.get("scale_"), (features,)),
        ("xbar_", lda.get("xbar_"), (features,)),
        ("scalings_", lda.get("scalings_"), (features, *components)),
        ("_fit_X", knn.get("_fit_X"), (samples, kept)),
        ("_y", knn.get("_y"), (samples,)),
    ]
    for key, found, shape in due:
        if not isinstance(found, np.ndarray) or found.shape != shape:
            raise BundleError(f"refused: {key} is {[*np.shape(found)]}, expected {[*shape]}")
    neighbors = knn.get("n_neighbors")
    if type(neighbors) is not int or not 1 <= neighbors <= samples:
        raise BundleError(f"refused: it asks {_shown(neighbors)} neighbours of {samples}")
    labels, classes = knn["_y"], knn.get("classes_")
    if not isinstance(classes, np.ndarray) or classes.dtype.kind != "i" or classes.tolist() != [*range(len(EMOTIONS))]:
        raise BundleError(f"refused: its classes are {_shown(classes)}, expected 0 to {len(EMOTIONS) - 1}")
    if labels.dtype != np.int64 or labels.min() < 0 or labels.max() >= len(EMOTIONS):
        raise BundleError(f"refused: its labels go beyond 0 to {len(EMOTIONS) - 1}")


def _real(kind: str, state: dict[str, Any]) -> Any:
    """Make the scikit-learn object; its class is named here, its attributes were checked."""
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.preprocessing import StandardScaler

    made = {c.__name__: c for c in (StandardScaler, LinearDiscriminantAnalysis, KNeighborsClassifier)}[kind]()
    vars(made).update({key: value for key, value in state.items() if key != "_sklearn_version"})
    return made


def _self_test(knn: LandmarkKnn) -> None:
    points = np.random.default_rng(0).normal(size=(2, 68, 2)).astype(np.float32)
    try:
        scores = knn.scores(np.zeros((2, 48, 48), np.uint8), points)
    except (ValueError, TypeError, AttributeError, LookupError, MemoryError) as error:
        raise BundleError(f"refused: scikit-learn cannot run it: {' '.join(str(error).split())[:150]}") from None
    if not (np.isfinite(scores).all() and (scores >= 0).all() and np.allclose(scores.sum(axis=1), 1, atol=1e-3)):
        raise BundleError("refused: it gives no rows of scores that sum to 1")


def _shown(value: object) -> str:
    plain = value is None or isinstance(value, bool | int | float | str)
    return repr(value)[:60] if plain else f"a {type(value).__name__}"
