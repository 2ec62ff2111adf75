"""A training that is shared out follows the loss curve of one that is not; two real processes on loopback."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edge.errors import UsageError
from train.data.dataset import Dataset
from train.fit.distribute import open_distribution
from train.networks.backend import choose_backend
from train.run_folder import read_curves

choose_backend()
pytest.importorskip("keras", reason="needs the train extra")
pytest.importorskip("tensorflow", reason="strategies are TensorFlow's")

ROOT = Path(__file__).resolve().parents[3]
pytestmark = [pytest.mark.training, pytest.mark.timeout(600), pytest.mark.slow("starts two workers")]


EPOCHS = {"none": 2, "mirrored": 2, "alone": 5, "multiworker": 5}


def start(data: Path, run: Path, kind: str, *more: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.train.fit.worker", str(data), str(run), kind, str(EPOCHS[kind]), *more],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"KERAS_BACKEND": "tensorflow"} | environment,
    )


def end(*processes: subprocess.Popen[str]) -> list[str]:
    told = []
    try:
        for process in processes:
            told.append(process.communicate(timeout=500)[0])
            assert process.returncode == 0, told[-1][-3000:]
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    return told


def start_two(data: Path, run: Path, *more: str) -> list[subprocess.Popen[str]]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    workers = [f"127.0.0.1:{held.getsockname()[1]}" for held in sockets]
    for held in sockets:
        held.close()
    configs = [{"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}} for index in range(2)]
    # Only the first worker is given the run folder; the other gets all that it needs from the first.
    folders = [run, run.with_name("untouched")]
    return [
        start(data, folder, "multiworker", *more, TF_CONFIG=json.dumps(config))
        for folder, config in zip(folders, configs, strict=True)
    ]


@pytest.fixture(scope="module")
def data(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "faces.npz"
    dataset.save(path)
    return path


def assert_same_curve(run: Path, data: Path, kind: str) -> None:
    end(start(data, run.with_name(kind), kind))
    curves, alone = read_curves(run), read_curves(run.with_name(kind))
    assert [line["epoch"] for line in curves] == [line["epoch"] for line in alone]
    for name in ("loss", "accuracy", "val_balanced_accuracy"):
        np.testing.assert_allclose([line[name] for line in curves], [line[name] for line in alone], atol=2e-3)
    assert alone[-1]["loss"] < alone[0]["loss"], "a curve that does not move proves nothing"


def test_two_workers_of_which_one_is_killed_go_on_and_follow_one(data: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    first, second = start_two(data, run)
    assert first.stdout is not None
    said = iter(first.stdout)
    assert any("epoch 2 of 5 is saved" in line for line in said)
    second.kill()
    second.communicate()
    *_, last = said
    assert last.startswith("error: another worker is gone")
    assert "--resume" in last
    assert first.wait(60) == 1
    first.stdout.close()
    done = len(read_curves(run))
    told, _ = end(*start_two(data, run, "--resume"))
    assert f"{done} of 5 epochs are done, going on from there" in told
    assert_same_curve(run, data, "alone")
    assert (run / "model.keras").is_file()
    assert not (tmp_path / "untouched").exists(), "only the first worker writes"


def test_two_devices_follow_one_and_their_checkpoint_is_anybodys(data: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    end(start(data, run, "mirrored"))
    assert_same_curve(run, data, "none")
    (told,) = end(start(data, run, "none", "--resume"))
    assert "is complete" in told


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (None, "reads the environment variable TF_CONFIG, for example {"),
        ("{", "TF_CONFIG is not what it must be"),
        ('{"cluster": {"worker": ["a:1"]}}', "TF_CONFIG is not what it must be"),
        ('{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1}}', "index 1 is none of the 1"),
        ('{"cluster": {"worker": ["a:1"], "ps": ["b:1"]}, "task": {"type": "ps", "index": 0}}', "only tasks of type"),
    ],
)
def test_a_wrong_cluster_is_one_line(config: str | None, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TF_CONFIG", raising=False)
    if config is not None:
        monkeypatch.setenv("TF_CONFIG", config)
    with pytest.raises(UsageError, match=said) as caught:
        open_distribution("multiworker")
    assert "\n" not in str(caught.value)
