import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from edge.cli.support import run
from edge.inference import available_runtimes, load_network, open_bundle
from edge.inference.signature import load_trusted_keys
from export.bundle import render_card
from export.cli import app, with_default_quantization
from tests.edge.bundles.conftest import make_key_pair
from tests.export.conftest import Trained
from train.data.dataset import load_dataset
from train.scoring import score

pytestmark = pytest.mark.training


def export(trained: Trained, out: Path, *more: str) -> int:
    model = [] if "--model" in more else ["--model", str(trained.model)]
    arguments = [*model, "--data", str(trained.data), "--out", str(out), *more]
    return run(app, with_default_quantization(arguments), name="python -m export")


@pytest.mark.parametrize("quantization", ["int8", "float16", "dynamic", "none"])
def test_quantizations_all_become_bundles_that_the_device_runs(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str], quantization: str
) -> None:
    out = tmp_path / "models/default"
    assert export(trained, out, "--quantize", quantization, "--json") == 0
    printed = json.loads(capsys.readouterr().out)
    bundle = open_bundle(out)
    entry = bundle.manifest.models["cnn"]
    assert printed["identity"] == bundle.identity
    assert bundle.read("MODEL_CARD.md").decode() == render_card(bundle.manifest)
    printed = printed["networks"]["cnn"]
    assert bundle.manifest.name == f"residual-cnn-{quantization}"
    assert entry.quantization == printed["quantization"] == quantization
    assert printed["bytes"] == bundle.manifest.files["cnn.tflite"].bytes
    assert printed["macs"] == entry.macs > 0
    assert list(printed["runtimes"]) == [*available_runtimes()]
    assert all(figures["same"] >= 0.99 and figures["agreement"] >= 0.99 for figures in printed["runtimes"].values())
    assert [path.name for path in out.parent.iterdir()] == ["default"]

    dataset = load_dataset(trained.data)
    rows = dataset.select("test")
    top = load_network(open_bundle(out)).scores(dataset.images[rows]).argmax(axis=1)
    assert entry.accuracy.n == len(rows)
    assert float((top == dataset.labels[rows]).mean()) == pytest.approx(entry.accuracy.after.accuracy, abs=1e-4)
    assert entry.accuracy.after.accuracy > 0.9
    assert entry.origin is None
    assert entry.accuracy.after.calibration_error is not None
    both = score(out, dataset.images[rows], flip=True).argmax(axis=1)
    assert entry.accuracy.mirrored is not None
    right = float((both == dataset.labels[rows]).mean())
    assert right == pytest.approx(entry.accuracy.mirrored.accuracy, abs=1e-4)
    assert "averaged with mirror images" in render_card(bundle.manifest)

    rows = dataset.select("validation")
    logs = np.log(np.clip(score(out, dataset.images[rows]), 1e-3, 1))
    counts = np.bincount(dataset.labels[rows], minlength=5)
    weights = np.maximum(np.exp(logs[:, 4]), 1e-3) / counts[dataset.labels[rows]]
    population = bundle.manifest.population
    assert population is not None
    assert (population.part, population.n) == ("validation", len(rows))
    assert population.log_scores["cnn"] == pytest.approx((weights @ logs) / weights.sum(), abs=0.02)


def test_card_names_where_imported_weights_came_from(trained: Trained, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    shutil.copy(trained.model, folder / "model.keras")
    imported = {
        "file": "net.npz",
        "sha256": "ab" * 32,
        "temperature": 0.9,
        "origin": "trained on a GPU" + ", and further" * 20,
    }
    described = {"data_fingerprint": load_dataset(trained.data).fingerprint(), "settings": {"imported": imported}}
    (folder / "settings.json").write_text(json.dumps(described))
    assert export(trained, tmp_path / "default", "--model", str(folder), "--quantize=none") == 0
    bundle = open_bundle(tmp_path / "default")
    origin = bundle.manifest.models["cnn"].origin
    assert origin is not None
    assert origin.startswith("trained on a GPU")
    assert origin.endswith("; imported from net.npz (sha256 abababab…)")
    assert f"Weights of cnn: {origin}." in render_card(bundle.manifest)


def test_the_bundle_before_is_kept(trained: Trained, tmp_path: Path) -> None:
    out = tmp_path / "default"
    assert export(trained, out, "--quantize", "--name", "first") == 0
    first = open_bundle(out).identity
    assert export(trained, out, "--quantize", "--name", "second") == 0
    assert open_bundle(out).manifest.name == "second"
    assert open_bundle(tmp_path / "default.previous").identity == first
    assert sorted(path.name for path in tmp_path.iterdir()) == ["default", "default.previous"]


def test_a_signed_export_is_what_a_device_with_the_key_takes(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = make_key_pair(tmp_path)
    out = tmp_path / "models/default"
    assert export(trained, out, "--quantize=none", "--sign", str(keys.private)) == 0
    assert open_bundle(out, load_trusted_keys(str(keys.public))).signature is not None
    assert export(trained, out, "--quantize=none", "--sign", str(keys.public)) == 2
    assert "key.pub.pem: " in capsys.readouterr().err


def test_a_model_that_misses_its_bounds_writes_nothing(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("export.verify.MIN_AGREEMENT", 1.01)
    out = tmp_path / "default"
    assert export(trained, out, "--quantize", "--json") == 1
    captured = capsys.readouterr()
    assert "error: no bundle written: ai_edge_litert: agrees with the float network on" in captured.err
    assert json.loads(captured.out)["networks"]["cnn"]["missed"]
    assert json.loads(captured.out)["identity"] is None
    assert list(tmp_path.iterdir()) == []


def test_a_table_is_printed_for_people(trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert export(trained, tmp_path / "default", "--quantize=none") == 0
    out = capsys.readouterr().out
    for expected in (
        "float network",
        "ai_edge_litert",
        "before",
        "after",
        "recall surprise",
        "is now residual-cnn-none@",
    ):
        assert expected in out


def test_data_of_a_finished_run_must_be_what_it_was_trained_on(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    shutil.copy(trained.model, folder / "model.keras")
    (folder / "settings.json").write_text(json.dumps({"data_fingerprint": "0" * 64}))
    assert export(trained, tmp_path / "default", "--model", str(folder)) == 1
    assert "not the data set that" in capsys.readouterr().err

    fingerprint = load_dataset(trained.data).fingerprint()
    (folder / "settings.json").write_text(json.dumps({"data_fingerprint": fingerprint}))
    assert export(trained, tmp_path / "default", "--model", str(folder), "--quantize=none") == 0
    assert open_bundle(tmp_path / "default").manifest.training_data == fingerprint


def test_a_folder_with_other_things_is_left_alone(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "letters.txt").write_text("dear")
    assert export(trained, tmp_path) == 2
    assert "holds something other than a bundle" in capsys.readouterr().err
    assert (tmp_path / "letters.txt").read_text() == "dear"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--model", "nowhere"], 2, "nowhere: no such run folder or .keras file; train one with"),
        (["--quantize", "int4"], 2, "int4"),
        (["--name", "../x"], 2, "--name: found '../x'"),
        (["--data", "nowhere.npz"], 1, "nowhere.npz: no such file; write it with: python -m train prepare"),
    ],
)
def test_a_wrong_command_line_is_one_line(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, message: str
) -> None:
    assert export(trained, tmp_path / "default", *arguments) == code
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert not (tmp_path / "default").exists()


def test_a_file_that_is_no_network_is_one_line(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "broken.keras").write_bytes(b"PK\x03\x04 nothing")
    assert export(trained, tmp_path / "default", "--model", str(tmp_path / "broken.keras")) == 1
    assert "broken.keras: not a Keras model" in capsys.readouterr().err


def test_a_network_of_another_shape_is_refused(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import keras

    inputs = keras.Input((48, 48, 1))
    keras.Model(inputs, keras.layers.Dense(7)(keras.layers.Flatten()(inputs))).save(tmp_path / "seven.keras")
    assert export(trained, tmp_path / "default", "--model", str(tmp_path / "seven.keras")) == 2
    assert "must turn [48, 48, 1] into [5], this one turns" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        (["--quantize"], ["--quantize=int8"]),
        (["--quantize", "--json"], ["--quantize=int8", "--json"]),
        (["--quantize", "float16", "--json"], ["--quantize", "float16", "--json"]),
        (["--quantize=dynamic"], ["--quantize=dynamic"]),
        ([], []),
    ],
)
def test_quantize_alone_means_int8(given: Sequence[str], meant: Sequence[str]) -> None:
    assert with_default_quantization(given) == meant


def test_options_before_a_subcommand_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(app, ["--json", "compare"], name="python -m export") == 2
    assert capsys.readouterr().err.strip() == "error: --json changes nothing before compare"
