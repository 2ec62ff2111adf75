"""Bundles of several models, model cards, and all formats side by side."""

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.cli.support import run
from edge.inference import available_runtimes, load_classifier, open_bundle
from edge.inference.bundle import shipped_bundle
from export.bundle import render_card
from export.cli import app
from export.run import convert_and_verify
from export.verify import choose_weights, mean_scores
from tests.export.conftest import Trained
from train.metrics import summarise

pytestmark = pytest.mark.training


@pytest.fixture(autouse=True)
def one_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    """tests/export/test_export.py has them all; each takes seconds to load."""
    monkeypatch.setattr("export.run.available_runtimes", lambda: available_runtimes()[:1])


def test_a_bundle_holds_cnn_vgg_knn_and_their_ensemble(
    trained: Trained, trained_vgg: Trained, knn_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("export.verify.MIN_AGREEMENT", 0.9)  # a VGG trained for seconds has level pictures
    monkeypatch.setattr("export.verify.MIN_SAME", 0.9)
    monkeypatch.setattr("export.verify.MAX_LOSS", 0.1)
    monkeypatch.setattr("export.verify.MAX_KNN_MS", 1000)  # no speed is asserted here
    out = tmp_path / "default"
    arguments = ["--model", str(trained.model), "--model", str(trained_vgg.model), "--knn", str(knn_file)]
    arguments += ["--ensemble", "equal"]
    assert run(app, [*arguments, "--data", str(trained.data), "--out", str(out), "--json"], name="export") == 0
    printed = json.loads(capsys.readouterr().out)
    bundle = open_bundle(out)
    manifest = bundle.manifest
    assert manifest.ensemble is not None
    assert manifest.ensemble.weights == {"cnn": 0.5, "vgg": 0.5}
    assert manifest.ensemble.accuracy.mirrored is not None
    assert [*manifest.models] == ["cnn", "vgg"]
    assert manifest.models["vgg"].quantization == "int8"
    assert printed["networks"]["vgg"]["macs"] > 0
    assert manifest.knn is not None
    assert (manifest.knn.samples, manifest.knn.neighbors) == (60, 15)
    assert manifest.knn.accuracy.n == manifest.models["cnn"].accuracy.n
    assert manifest.population is not None
    assert [*manifest.population.log_scores] == manifest.classifiers()
    for kind in manifest.classifiers():
        scores = load_classifier(out, kind).scores(
            np.zeros((2, 48, 48), np.uint8), np.random.default_rng(0).normal(size=(2, 68, 2)).astype(np.float32)
        )
        assert scores.sum(axis=1) == pytest.approx(np.ones(2), abs=1e-3)
    card = bundle.read("MODEL_CARD.md").decode()
    assert card == render_card(manifest)
    for expected in (
        "`vgg.tflite`",
        "`landmark-knn.pkl`",
        "Article 5(1)(f)",
        "skin tones",
        "| cnn, before conversion |",
        "| ensemble, averaged with mirror images |",
        "cnn 0.5, vgg 0.5; each the same.",
    ):
        assert expected in card
    assert len(list((tmp_path).iterdir())) == 1


def test_a_network_of_the_same_kind_twice_is_refused(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--model", str(trained.model), "--model", str(trained.model), "--data", str(trained.data)]
    assert run(app, [*arguments, "--out", str(tmp_path / "x"), "--quantize=none"], name="export") == 2
    assert "a second cnn network" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "no such file; train a landmark KNN with: python -m train knn"),
        (pickle.dumps(print), "refused: it names builtins.print"),
        (b"\x80\x04" + bytes(5_000_001), "has 5,000,003 bytes, allowed are 5,000,000"),
    ],
    ids=["absent", "hostile", "too large"],
)
def test_a_knn_that_a_device_would_refuse_is_not_exported(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes | None, reason: str
) -> None:
    path = tmp_path / "knn.pkl"
    if content is not None:
        path.write_bytes(content)
    arguments = ["--model", str(trained.model), "--knn", str(path), "--data", str(trained.data)]
    assert run(app, [*arguments, "--out", str(tmp_path / "x")], name="export") in {2, 78}
    assert f"knn.pkl: {reason}" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_compare_writes_models_figures_and_a_picture(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "compare"
    arguments = ["compare", "--model", str(trained.model), "--data", str(trained.data), "--out", str(out)]
    assert run(app, [*arguments, "--pictures", "40"], name="export") == 0
    figures = json.loads((out / "comparison.json").read_text())["networks"]["cnn"]
    assert [*figures] == ["int8", "float16", "dynamic", "none"]
    for name, found in figures.items():
        assert found["bytes"] == (out / f"cnn-{name}.tflite").stat().st_size
        assert found["test"]["after"]["n"] == found["validation"]["n"] == 40
        assert "1" in found["runtimes"]["ai_edge_litert"]["latency_ms"]
    assert (out / "comparison.png").read_bytes().startswith(b"\x89PNG")
    printed = capsys.readouterr().out
    assert "float16" in printed
    assert "by threads" in printed

    # As if it had been interrupted before the last format: only that one is measured.
    content = json.loads((out / "comparison.json").read_text())
    del content["networks"]["cnn"]["none"]
    (out / "comparison.json").write_text(json.dumps(content))
    measured = []

    def convert(*arguments: Any, **more: Any) -> Any:
        measured.append(arguments[2])
        return convert_and_verify(*arguments, **more)

    monkeypatch.setattr("export.compare.convert_and_verify", convert)
    assert run(app, [*arguments, "--pictures", "40"], name="export") == 0
    assert measured == ["none"]
    again = json.loads((out / "comparison.json").read_text())["networks"]["cnn"]
    assert [*again] == [*figures]
    assert again["int8"] == figures["int8"]
    assert "float16" in capsys.readouterr().out


def test_the_card_of_a_bundle_is_written_anew(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "default"
    arguments = ["--model", str(trained.model), "--data", str(trained.data), "--out", str(out), "--quantize=none"]
    assert run(app, arguments, name="export") == 0
    monkeypatch.setattr("export.bundle.render_card", lambda _manifest: "# another text\n")
    assert run(app, ["card", str(out)], name="export") == 0
    bundle = open_bundle(out)
    assert bundle.read("MODEL_CARD.md") == b"# another text\n"
    assert bundle.manifest.models == open_bundle(tmp_path / "default.previous").manifest.models


def test_the_shipped_bundles_card_is_what_its_manifest_gives() -> None:
    bundle = open_bundle(shipped_bundle())
    card = render_card(bundle.manifest)
    assert f"{bundle.manifest.models['cnn'].accuracy.after.balanced_accuracy:.1%}".replace("%", " %") in card
    if bundle.manifest.model_card is not None:
        assert bundle.read(bundle.manifest.model_card).decode() == card


def test_weights_follow_who_is_right() -> None:
    labels = (np.arange(200) % 5).astype(np.int8)
    rng = np.random.default_rng(0)
    right = np.eye(5, dtype=np.float32)[labels] * 0.6 + 0.08
    lost = np.full((200, 5), 0.2, dtype=np.float32)
    assert choose_weights({"cnn": right, "knn": lost}, labels) == {"cnn": 1.0}

    sees = [np.where((rng.random(200) < 0.7)[:, None], right, lost).astype(np.float32) for _ in range(2)]
    weights = choose_weights({"cnn": sees[0], "knn": sees[1]}, labels)
    assert sum(weights.values()) == pytest.approx(1)
    assert min(weights.values()) > 0.2
    both = summarise(mean_scores({"cnn": sees[0], "knn": sees[1]}, weights), labels).accuracy
    assert both > max(summarise(scores, labels).accuracy for scores in sees)
