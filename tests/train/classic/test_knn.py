"""Nearest neighbours: made faces whose emotion shows in their landmarks, and in their pixels."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.pipeline import Pipeline

from edge.cli.support import run
from edge.errors import DataError, UsageError
from edge.faces.distances import FEATURES
from edge.inference.knn import rebuild
from train.classic.knn import KnnSettings, _unrotated, train_knn
from train.cli import app
from train.data.dataset import PARTS, Dataset
from train.data.features import Features
from train.metrics import summarise
from train.scoring import score

pytestmark = pytest.mark.training


def accuracy(pipeline: Pipeline, dataset: Dataset, features: Features) -> float:
    rows = dataset.select("test")
    scores = pipeline.predict_proba(features.of(rows)).astype(np.float32)
    return summarise(scores, dataset.labels[rows]).balanced_accuracy


@pytest.fixture(scope="module")
def trained(faces: tuple[Dataset, Features], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Pipeline]:
    folder = tmp_path_factory.mktemp("runs") / "knn"
    return folder, train_knn(*faces, folder, KnnSettings())


def test_it_learns_and_leaves_a_pickle_that_scores_alike(
    faces: tuple[Dataset, Features], trained: tuple[Path, Pipeline]
) -> None:
    dataset, features = faces
    folder, pipeline = trained
    result = json.loads((folder / "result.json").read_text())

    assert accuracy(pipeline, dataset, features) > 0.8
    assert result["validation"]["balanced_accuracy"] > 0.8
    assert result["chosen"] in result["cross_validation"]
    content = (folder / "landmark-knn.pkl").read_bytes()
    assert len(content) == result["bytes"] < 5_000_000
    again = pickle.loads(content)
    assert [type(step).__name__ for _, step in again.steps] == [
        "StandardScaler",
        "LinearDiscriminantAnalysis",
        "KNeighborsClassifier",
    ]
    x = features.of(dataset.select("test"))
    np.testing.assert_array_equal(again.predict_proba(x), pipeline.predict_proba(x))


def test_the_device_admits_it(faces: tuple[Dataset, Features], trained: tuple[Path, Pipeline]) -> None:
    dataset, features = faces
    folder, pipeline = trained
    device = rebuild((folder / "landmark-knn.pkl").read_bytes(), features=FEATURES, name="made/knn")
    rows = dataset.select("test")
    assert features.landmarks is not None
    scores = device.scores(dataset.images[rows], features.landmarks.points[rows])

    np.testing.assert_allclose(scores, pipeline.predict_proba(features.of(rows)), atol=0.02)


def test_projection_is_the_one_fitted_in_principal_components(faces: tuple[Dataset, Features]) -> None:
    dataset, features = faces
    x, labels = (
        features.of(dataset.select("train"))[:, :200].astype(np.float64),
        dataset.labels[dataset.select("train")],
    )
    axes = PCA(20).fit(x)
    lda = LinearDiscriminantAnalysis().fit(axes.transform(x), labels)
    projected, decided = lda.transform(axes.transform(x)), lda.decision_function(axes.transform(x))
    whole = _unrotated(lda, axes)

    np.testing.assert_allclose(whole.transform(x), projected, atol=1e-6)
    np.testing.assert_allclose(whole.decision_function(x), decided, atol=1e-6)


def test_the_articles_form_asks_three_neighbours(faces: tuple[Dataset, Features], tmp_path: Path) -> None:
    dataset, features = faces
    settings = KnnSettings(projection="none", neighbors=3)
    pipeline = train_knn(dataset, features, tmp_path / "knn", settings)

    assert [type(step).__name__ for _, step in pipeline.steps] == ["StandardScaler", "KNeighborsClassifier"]
    assert pipeline.steps[-1][1].n_neighbors == 3


@pytest.mark.slow("cross-validates every choice, evaluates and draws a report")
def test_the_command_trains_on_pixels_and_evaluate_measures_it(
    dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, folder = tmp_path / "faces.npz", tmp_path / "knn"
    dataset.save(data)
    words = ["knn", "--features", "pixels", "--data", str(data), "--run", str(folder)]
    assert run(app, words, name="train") == 0
    capsys.readouterr()
    assert run(app, ["evaluate", str(folder), "--data", str(data), "--json"], name="train") == 0
    told = json.loads(capsys.readouterr().out)

    assert told["n"] == 40
    assert told["balanced_accuracy"] > 0.4
    assert run(app, words, name="train") == 2, "a folder that holds a run is never started over"
    assert "already holds a run" in capsys.readouterr().err


def test_pickle_other_than_the_written_one_is_not_opened(faces: tuple[Dataset, Features], tmp_path: Path) -> None:
    dataset, features = faces
    train_knn(dataset, features, tmp_path / "knn", KnnSettings(projection="none", neighbors=5))
    file = tmp_path / "knn/landmark-knn.pkl"
    file.write_bytes(b"\x80\x04cos\nsystem\n." + file.read_bytes())

    with pytest.raises(DataError, match="sha256"):
        score(tmp_path / "knn", dataset.images[:1])


def test_a_part_that_lacks_an_emotion_is_refused(faces: tuple[Dataset, Features], tmp_path: Path) -> None:
    dataset, features = faces
    parts = np.where(dataset.labels == 2, PARTS.index("test"), dataset.parts).astype(np.uint8)
    without = Dataset(dataset.images, dataset.labels, parts, None, {})

    with pytest.raises(DataError, match="of each emotion"):
        train_knn(without, features, tmp_path / "knn", KnnSettings())


def test_settings_of_a_run_that_is_there_are_not_overwritten(faces: tuple[Dataset, Features], tmp_path: Path) -> None:
    dataset, features = faces
    train_knn(dataset, features, tmp_path / "knn", KnnSettings(projection="none", neighbors=5))
    with pytest.raises(UsageError, match="already holds a run"):
        train_knn(dataset, features, tmp_path / "knn", KnnSettings(projection="none", neighbors=5))


def test_an_interrupted_run_starts_again_with_the_same_command(
    faces: tuple[Dataset, Features], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is no --resume to go on with, so the folder that was begun must not be in the way."""

    def interrupted(*_arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("train.classic.knn.fit_pipeline", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train_knn(*faces, tmp_path / "run", KnnSettings(neighbors=5))
    with pytest.raises(UsageError, match="another settings"):
        train_knn(*faces, tmp_path / "run", KnnSettings(neighbors=9))
    train_knn(*faces, tmp_path / "run", KnnSettings(neighbors=5))
    with pytest.raises(UsageError, match=r"already holds a run: start another with --run NAME$"):
        train_knn(*faces, tmp_path / "run", KnnSettings(neighbors=5))
