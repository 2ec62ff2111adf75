"""A killed training, as a user has it: the real command, SIGKILL, and the same command with --resume."""

import json
import os
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

from edge.cli.support import run
from train.cli import app
from train.data.dataset import Dataset
from train.networks.backend import choose_backend
from train.run_folder import read_curves

choose_backend()
with warnings.catch_warnings():  # what TensorFlow's own imports deprecate is not ours to mend
    warnings.simplefilter("ignore")
    keras = pytest.importorskip("keras", reason="needs the train extra")

ROOT = Path(__file__).resolve().parents[3]

pytestmark = [
    pytest.mark.training,
    pytest.mark.timeout(900),  # half a minute where nothing else runs, minutes where much does
]


def command(data: Path, folder: Path) -> list[str]:
    wanted = ["--arch", "article", "--filters", "4", "--epochs", "3", "--batch", "20"]
    return ["cnn", "--data", str(data), "--run", str(folder), *wanted]


@pytest.mark.slow("trains the same network twice, once interrupted")
def test_sigkill_loses_at_most_one_epoch(dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, killed, whole = tmp_path / "faces.npz", tmp_path / "killed", tmp_path / "whole"
    dataset.save(data)
    training = subprocess.Popen(
        [sys.executable, "-u", "-m", "train", *command(data, killed)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    assert training.stdout is not None
    with training.stdout as told:  # the line comes when the checkpoint is in place
        assert any("epoch 1 of 3 is saved" in line for line in told), "it ended before its first epoch was saved"
        training.send_signal(signal.SIGKILL)
        told.read()
    assert training.wait() == -signal.SIGKILL
    assert (killed / "checkpoint.keras").is_file()
    assert not (killed / "model.keras").exists()

    assert run(app, [*command(data, killed), "--resume"]) == 0
    told_again = capsys.readouterr().out
    assert "of 3 epochs are done, going on from there" in told_again
    assert [line["epoch"] for line in read_curves(killed)] == [1, 2, 3]
    assert (killed / "report.html").is_file()

    assert run(app, command(data, whole)) == 0
    ours, theirs = (keras.models.load_model(folder / "model.keras") for folder in (killed, whole))
    *body, kernel, bias = zip(ours.get_weights(), theirs.get_weights(), strict=True)
    for mine, other in body:
        np.testing.assert_allclose(mine, other, rtol=1e-3, atol=1e-4)
    for mine, other in (kernel, bias):  # calibrated: an optimizer's own tolerance comes on top
        np.testing.assert_allclose(mine, other, rtol=1e-2, atol=5e-3)
    again, once = (json.loads((folder / "result.json").read_text())["validation"] for folder in (killed, whole))
    assert again["confusion"] == once["confusion"]
