"""What `benchmarks/training.py` measures, made small: models train, and their figures come to a table and to JSON."""

import json
import os
import sys
from pathlib import Path

import pytest

from benchmarks import training
from edge.daemon.machine import peak_memory_mb
from train.data.dataset import Dataset


@pytest.mark.training
def test_benchmark_prints_a_table_and_json_of_a_training(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset.save(tmp_path / "faces.npz")
    words = ["--data", str(tmp_path / "faces.npz"), "--seconds", "0.01", "--models", "knn"]
    monkeypatch.setattr(sys, "argv", ["training.py", *words, "--json", str(tmp_path / "figures.json")])
    training.main()
    figures = json.loads((tmp_path / "figures.json").read_text())
    (knn,) = figures["models"]
    assert figures["backend"] == os.environ["KERAS_BACKEND"]
    assert knn["images"] % 120 == 0, "whole fits of the training part"
    assert knn["images_per_s"] == pytest.approx(knn["images"] / knn["seconds"])
    shown = capsys.readouterr().out
    assert f"{figures['cores']} cores" in shown
    assert "KNN, landmark distances" in shown
    assert f"{knn['memory_mb']:,.0f} MB" in shown


@pytest.mark.training
def test_memory_leaves_out_that_of_the_starting_process(dataset: Dataset, tmp_path: Path) -> None:
    dataset.save(tmp_path / "faces.npz")
    ballast = b"x" * 800_000_000  # ru_maxrss of a child begins with this
    knn = training.measure("knn", tmp_path / "faces.npz", 0.001)
    assert knn["memory_mb"] < len(ballast) / 1e6 < peak_memory_mb()


@pytest.mark.training
@pytest.mark.parametrize("name", ["mlp", "article"])
def test_every_kind_of_network_is_trained_until_there_is_enough(
    name: str, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("keras", reason="needs the train extra")
    monkeypatch.setattr(training, "FILTERS", 1)
    clock = training.TRAININGS[name](dataset, 0.001)
    assert clock.enough
    assert clock.images in (120, 240), "one step after the first: all that these parts hold"


def test_no_data_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["training.py", "--data", "none.npz"])
    with pytest.raises(SystemExit):
        training.main()
    assert "none.npz: no such file; write it with: python -m train prepare" in capsys.readouterr().err
