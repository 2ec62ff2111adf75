"""K-nearest neighbours on landmark distances or on pixels: scikit-learn pipelines, chosen by cross-validation.

The article uses three neighbours of standardised features. Ours uses many neighbours after a linear discriminant
analysis, among equally many samples of each emotion, so that no emotion has more votes than another.
"""

import hashlib
import pickle
import platform
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import StratifiedKFold
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from edge.emotions import EMOTIONS
from edge.errors import DataError
from edge.faces.distances import LANDMARK_FEATURES_VERSION
from train.data.dataset import Dataset
from train.data.features import Features, Kind
from train.files import replacing, write_json
from train.metrics import summarise
from train.run_folder import begin_run
from train.scoring import PICKLES

Projection = Literal["lda", "none"]

FOLDS = 3
NEIGHBORS = (3, 5, 9, 15, 25, 50, 100, 200, 400)
COMPONENTS = (120, 250, 500)
"""Principal components that the discriminant analysis is fitted in; the rest is noise to it, or rounding."""
RAW_COMPONENTS = 100
"""Principal components in which neighbours of unprojected features are looked for while k is chosen: distances hardly
differ, and cost a thirteenth."""


@dataclass(frozen=True, slots=True)
class KnnSettings:
    """Settings of a KNN. Everything random comes from ``seed``."""

    features: Kind = "landmarks"
    projection: Projection = "lda"
    neighbors: int | None = None
    """k; None: the best of `NEIGHBORS` by cross-validation within the training part"""
    seed: int = 0


def train_knn(
    dataset: Dataset,
    features: Features,
    run: Path,
    settings: KnnSettings,
    *,
    report: Callable[[str], None] = lambda _line: None,
) -> Pipeline:
    """Choose, fit, measure on the validation part, and write the run folder.

    ``features``: features of every training and validation picture of ``dataset``.
    Raises `UsageError`: the folder holds another run.
    Raises `DataError`: a part is empty, or lacks an emotion.

    Returns the pipeline from features float32 [n, k] to the five emotions.
    """
    rows = dataset.select("train")
    labels = dataset.labels[rows]
    if (np.bincount(labels, minlength=len(EMOTIONS)) < FOLDS).any() or not len(dataset.select("validation")):
        raise DataError(f"a KNN needs {FOLDS} training pictures of each emotion, and a validation part")
    described = _describe(dataset, features, settings)
    begin_run(run, described, result="result.json")
    report("choosing by cross-validation within the training part")
    tried = _cross_validate(features, rows, labels, settings)
    best = max(tried, key=lambda line: line["balanced_accuracy"] or 0.0)
    report(f"best of {len(tried)}: {best}")
    pipeline = fit_pipeline(features, rows, labels, settings, best)
    validation = dataset.select("validation")
    scores = pipeline.predict_proba(features.of(validation)).astype(np.float32)
    result = summarise(scores, dataset.labels[validation])
    content = pickle.dumps(pipeline, protocol=4)
    with replacing(run / PICKLES[settings.features]) as partial:
        partial.write_bytes(content)
    write_json(
        run / "result.json",
        {
            "validation": result.as_dict(),
            "chosen": best,
            "cross_validation": tried,
            "sha256": hashlib.sha256(content).hexdigest(),
            "bytes": len(content),
            **described,
        },
    )
    return pipeline


def fit_pipeline(
    features: Features, rows: NDArray[np.intp], labels: NDArray[np.int8], settings: KnnSettings, best: dict[str, Any]
) -> Pipeline:
    """Fit on these rows of the data set, with the ``components`` and ``neighbors`` of ``best``.

    ``labels``: int8 [n], of ``rows``, index into ``EMOTIONS``.

    Returns the pipeline from features float32 [n, k] to the five emotions.
    """
    scaler = StandardScaler().fit(features.of(rows))
    plain = scaler.transform(features.of(rows))
    if settings.projection == "none":
        knn = KNeighborsClassifier(best["neighbors"], algorithm="brute").fit(plain, labels.astype(np.int64))
        return Pipeline([("scale", scaler), ("neighbors", knn)])
    samples, classes = _samples(plain, scaler.transform(features.mirrored(rows)), labels, settings)
    axes = PCA(best["components"], svd_solver="covariance_eigh").fit(plain)
    lda = _unrotated(LinearDiscriminantAnalysis().fit(axes.transform(samples).astype(np.float32), classes), axes)
    # Brute force among some 30,000 points in four dimensions takes a fraction of a millisecond, and a device admits
    # no search tree in a pickle.
    knn = KNeighborsClassifier(best["neighbors"], algorithm="brute", metric="euclidean")
    knn.fit(lda.transform(samples).astype(np.float32), classes)
    return Pipeline([("scale", scaler), ("project", lda), ("neighbors", knn)])


def _cross_validate(
    features: Features, rows: NDArray[np.intp], labels: NDArray[np.int8], settings: KnnSettings
) -> list[dict[str, Any]]:
    """Mean balanced accuracy of each choice over the folds; both copies of a mirrored face are in one fold."""
    ks = NEIGHBORS if settings.neighbors is None else (settings.neighbors,)
    choices = COMPONENTS if settings.projection == "lda" else (RAW_COMPONENTS,)
    if len(ks) == 1 and settings.projection == "none":
        return [{"components": None, "neighbors": ks[0], "balanced_accuracy": None}]
    scaler = StandardScaler().fit(features.of(rows))
    most = min(max(choices), len(rows) // 2, features.of(rows[:1]).shape[1])
    axes = PCA(most, svd_solver="covariance_eigh").fit(scaler.transform(features.of(rows)))
    plain = axes.transform(scaler.transform(features.of(rows))).astype(np.float32)
    mirrored = axes.transform(scaler.transform(features.mirrored(rows))).astype(np.float32)
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=settings.seed)
    hits: dict[tuple[int, int], list[float]] = {}
    for fitted, held in folds.split(plain, labels):
        samples, classes = _samples(plain[fitted], mirrored[fitted], labels[fitted], settings)
        for components in sorted({min(choice, most) for choice in choices}):
            train_x, held_x = samples[:, :components], plain[held, :components]
            if settings.projection == "lda":
                lda = LinearDiscriminantAnalysis().fit(train_x, classes)
                train_x, held_x = lda.transform(train_x), lda.transform(held_x)
            for k, guesses in _vote(train_x.astype(np.float32), classes, held_x.astype(np.float32), ks):
                right = float(balanced_accuracy_score(labels[held], guesses))
                hits.setdefault((components, k), []).append(right)
    return [
        {
            "components": components,
            "neighbors": k,
            "balanced_accuracy": round(float(np.mean(rights)), 4),
        }
        for (components, k), rights in hits.items()
    ]


def _vote(
    train_x: NDArray[Any], train_y: NDArray[np.int64], held_x: NDArray[Any], ks: tuple[int, ...]
) -> list[tuple[int, NDArray[np.int64]]]:
    """Return the guesses of each k, from one search for the largest k."""
    ks = tuple(k for k in ks if k <= len(train_x))
    nearest = (
        KNeighborsClassifier(max(ks), algorithm="brute").fit(train_x, train_y).kneighbors(held_x, return_distance=False)
    )
    votes = np.eye(len(EMOTIONS), dtype=np.int64)[train_y[nearest]].cumsum(axis=1)
    return [(k, votes[:, k - 1].argmax(axis=1)) for k in ks]


def _samples(
    plain: NDArray[np.float32], mirrored: NDArray[np.float32], labels: NDArray[np.int8], settings: KnnSettings
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return the samples and their classes: the faces; with a projection also mirrored, and balanced."""
    if settings.projection == "none":
        return plain, labels.astype(np.int64)
    both, doubled = np.concatenate([plain, mirrored]), np.concatenate([labels, labels])
    size = int(np.bincount(doubled, minlength=len(EMOTIONS)).min())
    rng = np.random.default_rng(settings.seed)
    chosen = [rng.permutation(np.flatnonzero(doubled == label))[:size] for label in range(len(EMOTIONS))]
    order = np.sort(np.concatenate(chosen))
    return both[order], doubled[order].astype(np.int64)


def _unrotated(lda: LinearDiscriminantAnalysis, axes: PCA) -> LinearDiscriminantAnalysis:
    """Fold principal components into the discriminant analysis that was fitted after them: one projection.

    With x' = (x - m) V, what `transform` gives, (x' - b) S, is (x - (m + V b)) (V S), as V is orthonormal.
    """
    lda.xbar_ = axes.mean_ + lda.xbar_ @ axes.components_
    lda.means_ = axes.mean_ + lda.means_ @ axes.components_
    lda.scalings_ = axes.components_.T @ lda.scalings_
    lda.coef_ = lda.coef_ @ axes.components_
    lda.intercept_ = lda.intercept_ - lda.coef_ @ axes.mean_
    lda.n_features_in_ = len(axes.mean_)
    return lda


def _describe(dataset: Dataset, features: Features, settings: KnnSettings) -> dict[str, Any]:
    return {
        "network": {"name": f"knn-{settings.features}"},
        "settings": asdict(settings),
        "features": features.described | {"version": LANDMARK_FEATURES_VERSION},
        "data_fingerprint": dataset.fingerprint(),
        "data": dataset.notes,
        "versions": {
            "python": platform.python_version(),
            "scikit-learn": version("scikit-learn"),
            "numpy": version("numpy"),
        },
    }
