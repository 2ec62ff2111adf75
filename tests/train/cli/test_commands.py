"""The command line: what a user types and reads."""

import importlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edge.cli.support import run
from edge.emotions import EMOTIONS
from edge.inference import load_network, open_bundle, shipped_bundle
from train.cli import app
from train.data.csv_rows import KAGGLE_TO_EMOTION
from train.data.dataset import Dataset, load_dataset
from train.fit.settings import TAUGHT

ROOT = Path(__file__).resolve().parents[3]


def line(label: int, seed: int, usage: str | None = None) -> str:
    pixels = np.random.default_rng(seed).integers(1, 256, size=2304)
    return ",".join([str(label), " ".join(map(str, pixels)), *([] if usage is None else [usage])])


@pytest.fixture
def faces_csv(write_csv: Callable[..., Path]) -> Path:
    lines = [line(3, n, "Training") for n in range(30)] + [line(0, n, "PublicTest") for n in (40, 41, 5)]
    return write_csv([*lines, *("broken",) * 25])


def train(*arguments: object) -> int:
    return run(app, [str(argument) for argument in arguments], name="python -m train")


def test_help_is_there_for_every_command_and_loads_no_network(capsys: pytest.CaptureFixture[str]) -> None:
    script = "import sys; from edge.cli.support import run; from train.cli import app; code = run(app, ['--help']); "
    script += "sys.exit(code or str([m for m in ('keras', 'tensorflow', 'torch', 'jax') if m in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stderr.strip() == "[]"
    for command in ("prepare", "cnn", "vgg", "evaluate", "report"):
        assert command in done.stdout
        assert train(command, "--help") == 0
        assert f"python -m train {command}" in capsys.readouterr().out.split("For example:")[1]


def test_prepare_writes_a_data_set_and_counts_what_it_found(
    faces_csv: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "data" / "faces.npz"
    assert train("prepare", faces_csv, "--out", out) == 0
    told = capsys.readouterr()
    dataset = load_dataset(out)
    assert dataset.fingerprint() in told.out
    assert "bad rows or files, skipped: 25" in told.out
    assert "excluded as copies of pictures in another part: 1" in told.out
    named = [f"line {number}:" for number in range(35, 60) if f"line {number}: expected 3 columns, found 1" in told.err]
    assert len(named) == 20
    assert "and 5 more bad ones" in told.err


def test_prepare_tells_a_program_the_same(faces_csv: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "faces.npz"
    assert train("prepare", faces_csv, "--out", out, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["counts"]["test"] == {"angry": 2, "happy": 0, "sad": 0, "surprise": 0, "neutral": 0}
    assert told["counts"]["train"]["happy"] + told["counts"]["validation"]["happy"] == 30
    assert told["bad_rows"] == 25
    assert told["first_bad_rows"][0] == {"line": 35, "reason": "expected 3 columns, found 1"}
    assert told["fingerprint"] == load_dataset(out).fingerprint()


def test_prepare_stops_at_a_bad_row_where_asked(
    faces_csv: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train("prepare", faces_csv, "--out", tmp_path / "faces.npz", "--bad-rows", "fail") == 1
    told = capsys.readouterr()
    assert told.err.strip().splitlines()[-1] == f"error: {faces_csv}: line 35: expected 3 columns, found 1"
    assert not (tmp_path / "faces.npz").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["prepare", "none.csv"], 1, "error: none.csv: cannot be read: No such file or directory"),
        (["prepare"], 2, "error: Missing argument 'SOURCE' (see python -m train prepare --help)"),
        (["prepare", "a.csv", "--bad-rows", "keep"], 2, "error: Invalid value for '--bad-rows'"),
        (["cnn", "--data", "none.npz"], 1, "error: none.npz: no such file; write it with: python -m train prepare"),
        (["cnn", "--arch", "article", "--filters", "500000"], 2, "error: 500,000 filters make 144,010,512,005"),
        (["cnn", "--distribute", "cluster"], 2, "error: Invalid value for '--distribute'"),
        (["vgg", "--views", "9"], 2, "error: --views changes nothing here: it counts with --teacher MODEL"),
        (["cnn", "--views", "8"], 2, "error: --views changes nothing here"),  # its default
        (["cnn", "--filters", "64"], 2, "error: --filters changes nothing here: it counts with --arch article"),
        (["cnn", "--arch", "article", "--width", "2"], 2, "error: --width changes nothing here: it counts with --arch"),
        (["vgg", "--weights", "imagenet", "--width", "0.5"], 2, "error: --width changes nothing here"),
        (["vgg", "--pretrain-epochs", "3"], 2, "error: No such option: --pretrain-epochs"),
        (["vgg", "--distribute", "multiworker"], 2, "error: Invalid value for '--distribute'"),
        (["knn", "--projection", "none", "--neighbors", "3", "--seed", "1"], 2, "error: --seed changes nothing here"),
        (["report", "none", "--data", "none.npz"], 1, "error: none.npz: no such file"),
        (["cnn", "--epochs", "0"], 2, "error: Invalid value for '--epochs'"),
        (["evaluate", "none", "--data", "none.npz"], 1, "error: none.npz: no such file"),
        (["evaluate", "none", "--part", "train"], 2, "error: Invalid value for '--part'"),
        (["trian"], 2, "error: No such command 'trian'"),
    ],
)
def test_a_mistake_is_one_line_and_an_exit_code(
    arguments: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(*arguments) == code
    told = capsys.readouterr().err.strip()
    assert told.startswith(said)
    assert "\n" not in told
    assert "Traceback" not in told


def test_a_traceback_only_where_asked(capsys: pytest.CaptureFixture[str]) -> None:
    assert train("prepare", "none.csv", "--debug") == 1
    assert "Traceback" in capsys.readouterr().err


@pytest.fixture
def stored(dataset: Dataset, tmp_path: Path) -> Path:
    dataset.save(tmp_path / "faces.npz")
    return tmp_path / "faces.npz"


def test_ctrl_c_tells_how_to_go_on(
    stored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_arguments: Any, **_more: Any) -> None:
        raise KeyboardInterrupt

    module = ModuleType("train.fit.loop")
    module.fit = interrupted  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "train.fit.loop", module)
    arguments = ["cnn", "--data", str(stored), "--run", str(tmp_path / "my run"), "--epochs", "7"]
    monkeypatch.setattr(sys, "argv", ["train", *arguments])
    assert train(*arguments) == 130
    told = capsys.readouterr().err.strip().splitlines()
    assert told[-1].startswith("interrupted; go on with: python -m train cnn --data ")
    assert told[-1].endswith("--epochs 7 --resume")
    assert f"'{tmp_path / 'my run'}'" in told[-1], "a name with a blank must survive the shell"


@pytest.mark.parametrize(
    ("command", "module", "function"),
    [("knn", "train.classic.knn", "train_knn")],
)
def test_ctrl_c_recommends_no_resume_to_commands_without_it(
    command: str, module: str, function: str, stored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    def interrupted(*_arguments: Any, **_more: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(importlib.import_module(module), function, interrupted)
    arguments = [command, "--features", "pixels", "--data", str(stored), "--run", str(tmp_path / "run")]
    monkeypatch.setattr(sys, "argv", ["train", *arguments])
    assert train(*arguments) == 130
    told = capsys.readouterr().err.strip().splitlines()[-1]
    assert told.startswith(f"interrupted; start again with: python -m train {command} ")
    assert "--resume" not in told


@pytest.mark.parametrize(
    ("options", "rate"),
    [([], 0.1), (["--rate", "0.03"], 0.03), (["--arch", "residual", "--width", "0.5"], 0.1),
     (["--arch", "article"], 0.005),
     (["--arch", "article", "--rate", "0.1"], 0.1)],
)  # fmt: skip
def test_cnn_obeys_a_given_rate(
    options: list[str], rate: float, stored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[Any] = []

    def noted(*arguments: Any, **_more: Any) -> None:
        taken.extend(arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(importlib.import_module("train.fit.loop"), "fit", noted)
    few = ["--filters", "4"] if "article" in options else []
    assert train("cnn", "--data", stored, "--run", tmp_path / "run", *few, *options) == 130
    assert taken[-1].peak_learning_rate == rate


@pytest.mark.parametrize("command", ["cnn", "vgg"])
def test_what_teachers_look_at_is_handed_on(
    command: str, stored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Up to the function that trains: training itself takes minutes."""
    taken: list[Any] = []

    def noted(*arguments: Any, **_more: Any) -> None:
        taken.extend(arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(importlib.import_module("train.fit.loop"), "fit", noted)
    options = ["--teacher", "models/default", "--views", "3", "--mix", "0.25", "--degrade", "0.1"]
    assert train(command, "--data", stored, "--run", tmp_path / "run", *options) == 130
    settings = taken[-1]
    assert (settings.views, settings.mix_share, settings.degrade_share) == (3, 0.25, 0.1)
    assert settings.teacher_share == TAUGHT["teacher_share"]


@pytest.mark.training
def test_evaluate_prints_figures_for_people_and_programs(
    stored: Path, dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keras = pytest.importorskip("keras", reason="needs the train extra")
    layers = [keras.Input((48, 48, 1)), keras.layers.Flatten(), keras.layers.Dense(5, kernel_initializer="zeros")]
    model = keras.Sequential(layers)
    model.layers[-1].set_weights([np.zeros((2304, 5)), np.array([0.0, 3.0, 0.0, 0.0, 0.0])])
    model.save(tmp_path / "always-happy.keras")
    assert train("evaluate", tmp_path / "always-happy.keras", "--data", stored, "--json", "--flip") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["n"], told["accuracy"], told["balanced_accuracy"]) == (40, 0.2, 0.2)
    assert told["recall"] == {"angry": 0.0, "happy": 1.0, "sad": 0.0, "surprise": 0.0, "neutral": 0.0}
    assert told["flip"] is True
    assert told["fingerprint"] == dataset.fingerprint()
    assert train("evaluate", tmp_path / "always-happy.keras", "--data", stored, "--part", "validation") == 0
    shown = capsys.readouterr().out
    for words in ("accuracy", "balanced accuracy", "95 % interval", "calibration error", "recall happy", "100.0%"):
        assert words in shown


def test_evaluate_measures_the_shipped_bundle_on_article_data(
    write_csv: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [line(n % 5, n) for n in range(150)]
    source, data = write_csv(lines, name="ferdata.csv", header="emotion,pixels"), tmp_path / "article.npz"
    assert train("prepare", source, "--out", data) == 0
    capsys.readouterr()
    assert train("evaluate", shipped_bundle(), "--data", data, "--json") == 0
    told = json.loads(capsys.readouterr().out)

    dataset = load_dataset(data)
    images = dataset.images[dataset.select("test")]
    written = {text.split(",")[1]: int(text[0]) for text in lines}
    labels = np.array([written[" ".join(map(str, image.ravel()))] for image in images])
    right = load_network(open_bundle(shipped_bundle())).scores(images).argmax(axis=1) == labels
    assert told["n"] == 15, "a tenth of 150"
    assert told["accuracy"] == round(float(right.mean()), 4)
    assert told["recall"] == {
        str(emotion): round(float(right[labels == label].mean()), 4) for label, emotion in enumerate(EMOTIONS)
    }
    assert set(told["support"].values()) == {3}
    low, high = told["balanced_accuracy_interval"]
    assert 0 <= low <= told["balanced_accuracy"] <= high <= 1
    assert 0 <= told["expected_calibration_error"] <= 1
    assert (told["part"], told["fingerprint"]) == ("test", dataset.fingerprint())


def test_evaluate_knows_real_faces_of_the_articles_csv(
    shared_faces: dict[str, NDArray[np.generic]],
    write_csv: Callable[..., Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Labels in another order than the article's would bring the share down to that of a guess."""
    labels, images = KAGGLE_TO_EMOTION[shared_faces["labels"][:1000].astype(int)], shared_faces["images"][:1000]
    five = labels < 5
    lines = [
        f"{label},{' '.join(map(str, image.ravel()))}" for label, image in zip(labels[five], images[five], strict=True)
    ]
    source, data = write_csv(lines, name="ferdata.csv", header="emotion,pixels"), tmp_path / "article.npz"
    assert train("prepare", source, "--out", data) == 0
    capsys.readouterr()
    assert train("evaluate", shipped_bundle(), "--data", data, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["n"] == pytest.approx(five.sum() / 10, abs=3), "a tenth in each class"
    assert told["accuracy"] > 0.5
