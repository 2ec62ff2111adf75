"""The mean of several networks: of their weights, calibrated, complete, and of networks that fit together only."""

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.cli.support import run
from edge.errors import DataError, UsageError
from train.cli import app
from train.data.dataset import PARTS, Dataset
from train.networks.backend import choose_backend

choose_backend()
with warnings.catch_warnings():  # what TensorFlow's own imports deprecate is not ours to mend
    warnings.simplefilter("ignore")
    keras = pytest.importorskip("keras", reason="needs the train extra")
    from train.fit.average import average
    from train.networks.backend import load_network
    from train.networks.device import DeviceCnnShape, device_cnn

pytestmark = pytest.mark.training


def network(path: Path, seed: int, channels: int = 8) -> Path:
    keras.utils.set_random_seed(seed)
    model = device_cnn(DeviceCnnShape(stem=channels, stages=(channels,), blocks=(1,)))
    rng = np.random.default_rng(seed)
    model.set_weights([rng.uniform(0.1, 1, weights.shape) for weights in model.get_weights()])
    model.save(path)
    return path


@pytest.fixture
def two(tmp_path: Path) -> list[Path]:
    return [network(tmp_path / "a.keras", 0), network(tmp_path / "b.keras", 1)]


def weights(model: Path) -> list[Any]:
    return list(load_network(model).get_weights())


def test_every_weight_is_the_mean_but_for_the_calibrated_ones(
    two: list[Path], dataset: Dataset, tmp_path: Path
) -> None:
    average(two, dataset, tmp_path / "mean")
    noted = json.loads((tmp_path / "mean/result.json").read_text())
    first, second, mean = (weights(model) for model in (*two, tmp_path / "mean"))
    *body, kernel, bias = [(a + b) / 2 for a, b in zip(first, second, strict=True)]
    for due, found in zip(body, mean, strict=False):
        np.testing.assert_allclose(found, due, rtol=1e-6)
    temperature, biases = noted["calibration"]["temperature"], noted["calibration"]["bias"]
    np.testing.assert_allclose(mean[-2], kernel / temperature, rtol=1e-3)
    np.testing.assert_allclose(mean[-1], bias / temperature + biases, rtol=1e-2, atol=1e-3)
    assert len(noted["settings"]["averaged"]) == 2
    assert noted["validation"]["n"] == 40


def test_networks_that_do_not_fit_together_are_refused(two: list[Path], dataset: Dataset, tmp_path: Path) -> None:
    wide = network(tmp_path / "wide.keras", 2, channels=16)
    with pytest.raises(DataError, match=r"wide\.keras: has not the layers of .*a\.keras"):
        average([two[0], wide], dataset, tmp_path / "mean")
    with pytest.raises(UsageError, match="two models at least, found 1"):
        average(two[:1], dataset, tmp_path / "mean")
    with pytest.raises(DataError, match=r"none: no such run folder"):
        average([two[0], tmp_path / "none"], dataset, tmp_path / "mean")
    unheld = Dataset(dataset.images, dataset.labels, np.full_like(dataset.parts, PARTS.index("train")), None, {})
    with pytest.raises(DataError, match="the validation part of the data set is empty"):
        average(two, unheld, tmp_path / "mean")
    (tmp_path / "run").mkdir()
    two[0].rename(tmp_path / "run/model.keras")
    (tmp_path / "run/settings.json").write_text(json.dumps({"data_fingerprint": "of another"}))
    with pytest.raises(DataError, match="run: was trained on another data set"):
        average([tmp_path / "run", two[1]], dataset, tmp_path / "mean")
    assert not (tmp_path / "mean").exists()


def test_the_command_leaves_a_complete_run_with_a_report_and_spares_one_that_is_there(
    two: list[Path], dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "made.npz"
    dataset.save(data)
    words = ["average", *map(str, two), "--data", str(data), "--run", str(tmp_path / "mean")]
    assert run(app, words, name="python -m train") == 0
    (tmp_path / "mean/model.keras").unlink()
    assert run(app, words, name="python -m train") == 0, "what was interrupted is done again"
    assert (tmp_path / "mean/report.html").is_file()
    assert run(app, ["evaluate", str(tmp_path / "mean"), "--data", str(data), "--json"], name="python -m train") == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["n"] == 40
    assert run(app, words, name="python -m train") == 2
    assert "already holds a run" in capsys.readouterr().err
