"""The same code on every backend of Keras that is installed: each in a process of its own, on a tiny network."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from train.data.dataset import Dataset
from train.run_folder import read_curves

pytest.importorskip("keras", reason="needs the train extra")

ROOT = Path(__file__).resolve().parents[3]
pytestmark = [pytest.mark.training, pytest.mark.timeout(600), pytest.mark.slow("trains on three backends")]


@pytest.mark.parametrize("backend", ["tensorflow", "jax", "torch"])
def test_a_tiny_network_learns_and_goes_on(backend: str, dataset: Dataset, tmp_path: Path) -> None:
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed here")
    data, run = tmp_path / "faces.npz", tmp_path / "run"
    dataset.save(data)
    for more in ([], ["--resume"]):
        done = subprocess.run(
            [sys.executable, "-m", "tests.train.fit.worker", str(data), str(run), "none", "2", *more],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=500,
            check=False,
            env=os.environ | {"KERAS_BACKEND": backend},
        )
        assert done.returncode == 0, done.stderr[-2000:]
    assert "is complete" in done.stdout
    assert json.loads((run / "settings.json").read_text())["versions"]["backend"] == backend
    first, last = read_curves(run)
    assert last["loss"] < first["loss"]
    assert json.loads((run / "result.json").read_text())["validation"]["n"] == 40
