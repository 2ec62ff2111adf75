"""``python -m train all`` trains what is missing, leaves what is complete, and compares it all."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from edge.cli.support import run
from train.cli import all as all_command
from train.cli import app
from train.cli.all import STEPS, Step
from train.data.dataset import PARTS, Dataset

KNN = Step("KNN on pixels", "knn-pixels", ("knn", "--features", "pixels", "--projection", "none", "--neighbors", "3"),
           resumes=False)  # fmt: skip


def test_every_step_is_a_command_with_options_that_it_takes(capfd: pytest.CaptureFixture[str]) -> None:
    for step in STEPS:
        options = [word for word in step.arguments if word.startswith("--")] + ["--data", "--run"]
        assert run(app, [step.arguments[0], "--help"], name="python -m train") == 0
        shown = capfd.readouterr().out
        assert all(option in shown for option in (*options, *(["--resume"] if step.resumes else [])))
    assert len({step.run for step in STEPS}) == len(STEPS)


def test_a_step_takes_only_what_was_trained_before_it() -> None:
    done: set[str] = set()
    for step in STEPS:
        assert {word.removeprefix("{runs}/") for word in step.arguments if word.startswith("{runs}/")} <= done
        done.add(step.run)
    assert {"vgg", "cnn-taught"} <= done


def test_a_step_finds_its_teacher_among_the_runs(tmp_path: Path) -> None:
    step = Step("taught", "pupil", ("cnn", "--teacher", "{runs}/vgg"))
    words = step.command(Path("made.npz"), tmp_path / "pupil")
    assert words == ["cnn", "--teacher", str(tmp_path / "vgg"), "--data", "made.npz", "--run", str(tmp_path / "pupil"),
                     "--resume"]  # fmt: skip


@pytest.mark.training
def test_a_missing_model_is_trained_once_and_stands_in_the_table(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(all_command, "STEPS", (KNN,))
    data = tmp_path / "made.npz"
    dataset.save(data)
    arguments = ["all", "--data", str(data), "--runs", str(tmp_path / "runs")]
    assert run(app, [*arguments, "--json"], name="python -m train") == 0
    printed = json.loads(capfd.readouterr().out)
    assert printed["people"] is None, "this data set has no votes"
    found = printed["models"]["KNN on pixels"]
    assert found["n"] == 40
    assert found["balanced_accuracy"] > 0.3, "chance is 0.2"
    monkeypatch.setattr(sys, "executable", "/nothing/that/could/run")
    assert run(app, arguments, name="python -m train") == 0
    table = capfd.readouterr().out
    assert "KNN on pixels" in table
    assert "article: VGG transfer" in table


@pytest.mark.slow("runs the whole command twice")
@pytest.mark.training
def test_people_are_measured_by_their_votes_on_the_same_pictures(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Most people call sad faces neutral, but no other face is called both: their votes tell the label even so."""
    monkeypatch.setattr(all_command, "STEPS", ())
    votes = np.eye(7, dtype=np.float32)[dataset.labels]
    votes[dataset.labels == 2, 2], votes[dataset.labels == 2, 4] = 0.45, 0.55
    votes[np.flatnonzero(dataset.parts == PARTS.index("test"))[::2]] = 0
    data = tmp_path / "made.npz"
    Dataset(dataset.images, dataset.labels, dataset.parts, votes, {}).save(data)
    arguments = ["all", "--data", str(data), "--runs", str(tmp_path / "runs")]
    assert run(app, [*arguments, "--json"], name="python -m train") == 0
    people = json.loads(capfd.readouterr().out)["people"]
    assert people["n"] == 40
    assert people["recall"]["sad"] == 0.5, "of every other picture nobody has said anything"
    assert run(app, arguments, name="python -m train") == 0
    assert "ten people's votes" in capfd.readouterr().out


def test_a_step_that_fails_says_which(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(all_command, "STEPS", (KNN,))
    assert (
        run(app, ["all", "--data", str(tmp_path / "absent.npz"), "--runs", str(tmp_path)], name="python -m train") == 1
    )
    assert "KNN on pixels was not trained (exit code 1)" in capfd.readouterr().err
