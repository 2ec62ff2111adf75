import copy
import logging
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.errors import BundleError, ModelLibraryError
from edge.faces.distances import landmark_features
from edge.inference import load_classifier, open_bundle
from edge.pipeline import load_pipeline
from edge.settings import Settings
from tests.edge.inference.conftest import faces_of_five_kinds

Write = Callable[[bytes], Path]
CHIPS = np.random.default_rng(1).integers(0, 256, size=(50, 48, 48), dtype=np.uint8)


def test_the_rebuilt_knn_answers_as_scikit_learns_own(
    write_knn_bundle: Write, knn_pickle: bytes, pipeline: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(
        "LOKY_MAX_CPU_COUNT", "1"
    )  # scikit-learn's own search counts cores, and warns in a bare container
    folder = write_knn_bundle(knn_pickle)
    knn = load_classifier(folder, "knn")
    points, labels = faces_of_five_kinds(50)
    points += np.random.default_rng(3).normal(size=points.shape).astype(np.float32)
    scores = knn.scores(CHIPS, points)
    assert knn.name == open_bundle(folder).identity + "/knn"
    assert scores.dtype == np.float32
    assert scores == pytest.approx(pipeline.predict_proba(landmark_features(points)), abs=1e-6)
    assert (scores.argmax(axis=1) == labels).mean() > 0.9
    assert knn.scores(CHIPS[:0], points[:0]).shape == (0, 5)


def test_equal_votes_are_as_scikit_learn_counts_them(
    write_knn_bundle: Write, knn_description: dict[str, Any], pipeline: Any
) -> None:
    equal = copy.deepcopy(pipeline)
    equal.steps[2][1].set_params(weights="uniform", n_neighbors=30)
    knn_description["knn"]["neighbors"] = 30
    knn = load_classifier(write_knn_bundle(pickle.dumps(equal, protocol=4)), "knn")
    points = faces_of_five_kinds(50)[0]
    points += 5 * np.random.default_rng(3).normal(size=points.shape).astype(np.float32)
    scores = knn.scores(CHIPS, points)
    assert scores == pytest.approx(equal.predict_proba(landmark_features(points)), abs=1e-6)
    assert len(np.unique(scores)) > 2
    with pytest.raises(ValueError, match="finite"):
        knn.scores(CHIPS[:1], np.full((1, 68, 2), np.nan, dtype=np.float32))


def test_the_ensemble_is_the_weighted_mean(write_knn_bundle: Write, knn_pickle: bytes) -> None:
    folder = write_knn_bundle(knn_pickle)
    points, _ = faces_of_five_kinds(50)
    cnn, knn, both = (load_classifier(folder, kind) for kind in ("cnn", "knn", "ensemble"))
    expected = 0.75 * cnn.scores(CHIPS, points) + 0.25 * knn.scores(CHIPS, points)
    assert both.scores(CHIPS, points) == pytest.approx(expected, abs=1e-6)
    assert both.name == cnn.name + "/ensemble"


@pytest.mark.slow("loads scikit-learn in a new process")
def test_scikit_learn_loads_only_when_the_knn_is_used(write_knn_bundle: Write, knn_pickle: bytes) -> None:
    code = (
        "import sys, pathlib, edge.inference as i\n"
        "for kind in ('cnn', 'knn'):\n"
        "    i.load_classifier(pathlib.Path(sys.argv[1]), kind); print('sklearn' in sys.modules)"
    )
    folder = write_knn_bundle(knn_pickle)
    done = subprocess.run([sys.executable, "-c", code, folder], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]


@pytest.mark.slow("loads scikit-learn in a new process")
@pytest.mark.parametrize(
    ("weights", "lscpu"),
    [("uniform", None), ("uniform", ""), ("distance", "")],
    ids=["no lscpu", "no cores", "weighted by distance"],
)
def test_knn_does_not_count_cores(
    write_knn_bundle: Write, pipeline: Any, tmp_path: Path, weights: str, lscpu: str | None
) -> None:
    """joblib counts them by `lscpu`, and warns in a bare container."""
    model = copy.deepcopy(pipeline)
    model[-1].weights = weights
    folder = write_knn_bundle(pickle.dumps(model, protocol=4))
    (tmp_path / "bin").mkdir()
    if lscpu is not None:
        (tmp_path / "bin/lscpu").write_text(f"#!/bin/sh\nprintf '{lscpu}'\n")
        (tmp_path / "bin/lscpu").chmod(0o755)
    code = """
import pathlib, sys, warnings
import numpy as np
from edge.inference import load_classifier
warnings.simplefilter("error", UserWarning)
knn = load_classifier(pathlib.Path(sys.argv[1]), "knn")
points = np.random.default_rng(1).uniform(0, 48, (1, 68, 2)).astype(np.float32)
print(knn.scores(np.zeros((1, 48, 48), np.uint8), points).shape)
"""
    environment = os.environ | {"PATH": str(tmp_path / "bin")}
    command = [sys.executable, "-c", code, str(folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.stdout.strip() == "(1, 5)"


@pytest.mark.parametrize("wrong", [np.zeros((2, 60, 2), np.float32), np.zeros((2, 68, 2))])
def test_other_arrays_than_landmarks_are_refused(write_knn_bundle: Write, knn_pickle: bytes, wrong: Any) -> None:
    with pytest.raises(ValueError, match=r"points must be float32 \[n, 68, 2\]"):
        load_classifier(write_knn_bundle(knn_pickle), "knn").scores(CHIPS[:2], wrong)


@pytest.mark.parametrize("kind", ["knn", "ensemble"])
def test_other_scikit_learn_is_refused_and_the_network_goes_on(
    write_knn_bundle: Write,
    knn_pickle: bytes,
    knn_description: dict[str, Any],
    caplog: pytest.LogCaptureFixture,
    kind: Any,
) -> None:
    knn_description["knn"]["scikit_learn"] = "0.21.3"
    folder = write_knn_bundle(knn_pickle)
    with pytest.raises(ModelLibraryError, match=r"landmark-knn\.pkl: was written by scikit-learn 0\.21\.3, which "):
        load_classifier(folder, kind)
    with caplog.at_level(logging.WARNING):
        pipeline = load_pipeline(Settings(bundle=str(folder), classifier=kind))
    assert pipeline.classifier.name == open_bundle(folder).identity
    assert [record.message for record in caplog.records if "using the network" in record.message]
    assert len(caplog.records) == 1


def test_a_missing_scikit_learn_is_named(
    write_knn_bundle: Write, knn_pickle: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(_name: str) -> str:
        raise PackageNotFoundError

    monkeypatch.setattr("edge.inference.knn.version", absent)
    with pytest.raises(ModelLibraryError, match=r"needs scikit-learn; install .*: pip install '\.\[knn\]'"):
        load_classifier(write_knn_bundle(knn_pickle), "knn")


def test_a_bundle_without_a_knn_says_what_there_is(good_bundle: Path) -> None:
    with pytest.raises(BundleError, match="holds no knn model; there is cnn"):
        load_classifier(good_bundle, "knn")


def change(step: int, **attributes: Any) -> Callable[[Any], None]:
    return lambda pipeline: vars(pipeline.steps[step][1]).update(attributes)


CHANGES: dict[str, tuple[Callable[[Any], None], str]] = {
    "a hidden method": (change(2, predict_proba="x"), "unknown attribute 'predict_proba'"),
    "not a number": (change(2, _fit_X=np.full((80, 4), np.nan)), "_fit_X of its .* not finite"),
    "too few samples": (change(2, _fit_X=np.zeros((79, 4))), r"_y is \[80\], expected \[79\]"),
    "too wide samples": (change(2, _fit_X=np.zeros((80, 5))), r"_fit_X is \[80, 5\]"),
    "labels beyond": (change(2, _y=np.full(80, 5)), "labels go beyond"),
    "labels below": (change(2, _y=np.full(80, -1)), "labels go beyond"),
    "labels of another kind": (change(2, _y=np.zeros(80)), "labels go beyond"),
    "six classes": (change(2, classes_=np.arange(6)), "classes are"),
    "classes in another order": (change(2, classes_=np.array([1, 0, 2, 3, 4])), "classes are"),
    "other neighbours": (change(2, n_neighbors=7), "asks 7 of 80 samples, the manifest says 5 of 80"),
    "text for neighbours": (change(2, n_neighbors="5"), "asks '5' neighbours of 80"),
    "another metric": (change(2, metric="mahalanobis"), "has metric 'mahalanobis'"),
    "metric that is no text": (change(2, metric=7), "has metric 7"),
    "another effective metric": (change(2, effective_metric_="precomputed"), "effective_metric_ 'precomputed'"),
    "parameters of a metric": (change(2, metric_params={"V": 1}), "metric_params a dict"),
    "weights by name": (change(2, weights="os.system"), "has weights 'os.system'"),
    "a tree": (change(2, algorithm="kd_tree"), "has algorithm 'kd_tree', expected 'brute'"),
    "a pool": (change(2, n_jobs=64), "has n_jobs 64"),
    "a covariance estimator": (change(1, covariance_estimator=3), "has covariance_estimator 3"),
    "other distances": (change(0, mean_=np.zeros(7)), r"mean_ is \[7\], expected \[1326\]"),
    "no scale": (change(0, scale_=None), r"scale_ is \[\], expected \[1326\]"),
    "flat projection": (change(1, scalings_=np.zeros(1326)), "scalings_"),
    "long text": (change(1, shrinkage="x" * 1000), "shrinkage of its LinearDiscriminantAnalysis is"),
    "a list": (change(1, tol=[1, 2]), "tol of its LinearDiscriminantAnalysis is a list"),
    "nested": (change(1, shrinkage=pickle.dumps(1)), "shrinkage of its LinearDiscriminantAnalysis is a bytes"),
    "one step": (lambda pipeline: pipeline.steps.pop(), "LinearDiscriminantAnalysis, expected Stand"),
    "other order": (lambda pipeline: pipeline.steps.reverse(), "steps are KNeighborsClassifier, "),
    "a step that is data": (lambda pipeline: pipeline.steps.__setitem__(0, ("a", 1)), "steps are int"),
    "no list of steps": (lambda pipeline: vars(pipeline).update(steps=()), "no list of steps"),
    "a cache": (lambda pipeline: vars(pipeline).update(memory="folder"), "has memory 'folder'"),
}  # fmt: skip


@pytest.mark.parametrize(("alter", "reason"), CHANGES.values(), ids=CHANGES)
def test_a_pipeline_of_other_parts_is_refused(
    write_knn_bundle: Write, pipeline: Any, alter: Callable[[Any], None], reason: str
) -> None:
    altered = copy.deepcopy(pipeline)
    alter(altered)
    folder = write_knn_bundle(pickle.dumps(altered, protocol=4))
    with pytest.raises(BundleError, match=rf"landmark-knn\.pkl: .*{reason}"):
        load_classifier(folder, "knn")


MANIFESTS: dict[str, tuple[tuple[str, ...], Any, str]] = {
    "other features": (("knn", "features"), 100, r"landmark-knn\.pkl: is for 100 distances"),
    "other samples": (("knn", "samples"), 79, r"landmark-knn\.pkl: asks 5 of 80 samples"),
    "no samples": (("knn", "samples"), 0, r"manifest\.json: .*samples"),
    "a file that is absent": (("knn", "file"), "x.pkl", r"manifest\.json: model knn is in 'x\.pkl'"),
    "the network's file": (("knn", "file"), "cnn.tflite", r"manifest\.json: .*different files"),
    "an unknown member": (("ensemble", "weights"), {"cnn": 0.5, "svm": 0.5}, r"manifest\.json: .*weights"),
    "an absent member": (("ensemble", "weights"), {"cnn": 0.5, "vgg": 0.5}, r"manifest\.json: .*needs .* vgg"),
    "weights of 2": (("ensemble", "weights"), {"cnn": 1.0, "knn": 1.0}, r"manifest\.json: .*sum to 2, expected 1"),
    "one member": (("ensemble", "weights"), {"cnn": 1.0}, r"manifest\.json: .*weights"),
    "no KNN for the ensemble": (("knn",), None, r"manifest\.json: the ensemble needs the model knn"),
    "larger than 5 MB": (("files", "landmark-knn.pkl", "bytes"), 5_000_001, r"manifest\.json: .*larger than 5000000"),
    "a loader": (("knn", "loader"), "joblib", r"manifest\.json: .*unknown field `loader`"),
    "a card that is absent": (("model_card",), "CARD.md", r"manifest\.json: the model card is in 'CARD\.md', which"),
}  # fmt: skip


@pytest.mark.parametrize(("path", "value", "reason"), MANIFESTS.values(), ids=MANIFESTS)
def test_a_manifest_that_does_not_fit_its_knn_is_refused(
    write_bundle: Callable[..., Path], knn_description: dict[str, Any], int8_model: bytes,
    knn_pickle: bytes,     path: tuple[str, ...], value: Any, reason: str,
) -> None:  # fmt: skip
    parent = knn_description
    for key in path[:-1]:
        parent = parent[key]
    parent[path[-1]] = value
    if path == ("knn",):
        del knn_description["files"]["landmark-knn.pkl"]
    folder = write_bundle(knn_description, {"cnn.tflite": int8_model, "landmark-knn.pkl": knn_pickle})
    with pytest.raises(BundleError, match=reason):
        load_classifier(folder, "knn")
