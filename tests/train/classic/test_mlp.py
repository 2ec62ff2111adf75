"""The multilayer perceptron on made faces: it learns, goes on after an interruption, and can be measured."""

import json
from pathlib import Path

import numpy as np
import pytest

from edge.cli.support import run
from edge.errors import UsageError
from train.classic.mlp_settings import MlpSettings, article
from train.cli import app
from train.data.dataset import Dataset
from train.data.features import Features
from train.run_folder import read_curves, write_curve

pytestmark = pytest.mark.training


def test_it_learns_and_has_the_articles_shape(faces: tuple[Dataset, Features], tmp_path: Path) -> None:
    from train.classic.mlp import train_mlp

    dataset, features = faces
    model = train_mlp(dataset, features, tmp_path / "mlp", MlpSettings(epochs=4, batch=32, whitened=20))
    result = json.loads((tmp_path / "mlp/result.json").read_text())

    assert [layer.units for layer in model.layers if layer.name.startswith(("dense", "logits"))] == [1024, 512, 5]
    assert result["validation"]["balanced_accuracy"] > 0.8
    assert [line["epoch"] for line in read_curves(tmp_path / "mlp")] == [*range(1, 5)]


def test_the_articles_recipe_is_sgd_on_standardised_features(faces: tuple[Dataset, Features], tmp_path: Path) -> None:
    from train.classic.mlp import train_mlp

    dataset, features = faces
    model = train_mlp(dataset, features, tmp_path / "mlp", article("landmarks", epochs=1))
    x = features.of(dataset.select("train"))
    standardised = np.asarray(model.get_layer("standardise")(x))

    np.testing.assert_allclose(standardised.mean(axis=0), 0, atol=0.02)
    np.testing.assert_allclose(standardised.std(axis=0), 1, atol=0.02)
    assert [layer.name for layer in model.layers[1:]] == ["standardise", "dense1", "dense2", "logits"]
    assert type(model.optimizer).__name__ == "SGD"
    assert float(model.optimizer.learning_rate) == pytest.approx(0.001)


def test_an_interrupted_run_goes_on(
    faces: tuple[Dataset, Features], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from train.classic import mlp

    dataset, features = faces
    settings = MlpSettings(epochs=2, batch=150, whitened=20)
    write = write_curve

    def interrupt(folder: Path, epoch: int, figures: dict[str, float]) -> None:
        if epoch == 2:
            raise KeyboardInterrupt
        write(folder, epoch, figures)

    monkeypatch.setattr("train.classic.mlp.write_curve", interrupt)
    with pytest.raises(KeyboardInterrupt):
        mlp.train_mlp(dataset, features, tmp_path / "mlp", settings)
    again: list[int] = []

    def note(folder: Path, epoch: int, figures: dict[str, float]) -> None:
        again.append(epoch)
        write(folder, epoch, figures)

    monkeypatch.setattr("train.classic.mlp.write_curve", note)
    with pytest.raises(UsageError, match="--resume"):
        mlp.train_mlp(dataset, features, tmp_path / "mlp", settings)
    mlp.train_mlp(dataset, features, tmp_path / "mlp", settings, resume=True)
    assert again == [2], "what was done is not done again"
    assert (tmp_path / "mlp/model.keras").is_file()


@pytest.mark.slow("trains, evaluates and draws a report")
def test_the_command_trains_on_pixels_and_evaluate_measures_it(
    dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, folder = tmp_path / "faces.npz", tmp_path / "mlp"
    dataset.save(data)
    words = ["mlp", "--features", "pixels", "--epochs", "1", "--data", str(data), "--run", str(folder)]
    assert run(app, words, name="train") == 0
    capsys.readouterr()
    assert run(app, ["evaluate", str(folder), "--data", str(data), "--json"], name="train") == 0
    assert json.loads(capsys.readouterr().out)["n"] == 40
