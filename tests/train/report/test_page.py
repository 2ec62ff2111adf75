"""The report: everything is in it, it needs nothing else, and it says what it was measured on."""

import json
import re
import warnings
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

import train.report.page
from edge.cli.support import run
from edge.errors import DataError
from train.cli import app
from train.data.dataset import Dataset
from train.files import write_json
from train.metrics import reliability
from train.report.page import write_report
from train.report.plots import draw_curves, draw_mistakes, wilson
from train.run_folder import write_curve


def mostly_right(images: NDArray[np.uint8], dataset: Dataset) -> NDArray[np.float32]:
    """Scores of a model that takes every happy face for a sad one, and is surest of the first."""
    known = {image.tobytes(): label for image, label in zip(dataset.images, dataset.labels, strict=True)}
    scores = np.full((len(images), 5), 0.05, dtype=np.float32)
    for row, image in enumerate(images):
        label = known[image.tobytes()]
        scores[row, 2 if label == 1 else label] = 0.8 - row / 1000
    return np.asarray(scores / scores.sum(axis=1, keepdims=True), dtype=np.float32)


@pytest.fixture
def finished(dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run whose model is known by heart; the seam is that between models and figures."""
    folder = tmp_path / "cnn <tiny>"
    folder.mkdir()
    write_json(folder / "settings.json", {"settings": {"epochs": 2}, "data_fingerprint": dataset.fingerprint()})
    for epoch in (1, 2):
        write_curve(folder, epoch, {"loss": 2 / epoch, "accuracy": 0.4 * epoch, "val_balanced_accuracy": 0.4})
    monkeypatch.setattr(train.report.page, "score", lambda _run, images, **_more: mostly_right(images, dataset))
    return folder


class Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.sources: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.sources += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.slow("draws a whole report")
def test_the_page_holds_everything_and_needs_nothing(finished: Path, dataset: Dataset) -> None:
    written = write_report(finished, dataset, part="test")
    names = {path.name for path in written.pictures}
    assert names == {
        f"report-{name}.png" for name in ("curves", "comparison", "confusion", "recall", "reliability", "mistakes")
    }
    text = written.page.read_text()
    page = Page(text)
    assert page.open == []
    assert len(page.sources) == 6
    assert all(source.startswith("data:image/png;base64,") for source in page.sources)
    assert not re.search(r"https?://|<script|@import|url\(", text)
    assert "80.0 %" in text, "four of five emotions are right"
    assert "cnn &lt;tiny&gt;" in text
    assert "65 ± 5 %" in text
    assert dataset.fingerprint() in text
    assert "the <b>test</b> part" in text
    assert "other data" not in text
    for path in written.pictures:
        drawn = cv2.imread(str(path))
        assert drawn.std() > 10, f"{path.name} is blank"


@pytest.mark.slow("draws a whole report")
def test_a_model_without_curves_has_a_report_too(finished: Path, dataset: Dataset) -> None:
    write_report(finished, dataset, part="test")
    (finished / "curves.jsonl").unlink()
    (finished / "settings.json").unlink()
    chosen = {"components": 250, "neighbors": 400, "balanced_accuracy": 0.573}
    write_json(finished / "result.json", {"chosen": chosen})
    written = write_report(finished, dataset, part="validation")
    assert "Learning curves" not in written.page.read_text()
    assert "chosen by cross-validation.neighbors</td><td><code>400</code>" in written.page.read_text()
    assert not (finished / "report-curves.png").exists(), "a picture of an older report must not stay"
    assert "Settings may be chosen by this page" in written.page.read_text()


@pytest.mark.slow("draws a whole report")
def test_other_data_than_that_of_the_training_is_told(finished: Path, dataset: Dataset) -> None:
    write_json(finished / "settings.json", {"data_fingerprint": "another"})
    assert "trained on other data" in write_report(finished, dataset, part="test").page.read_text()


@pytest.mark.training
def test_knn_has_reports_without_curves_on_both_parts(
    dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, folder = tmp_path / "faces.npz", tmp_path / "knn"
    dataset.save(data)
    form = ["--projection", "none", "--neighbors", "3"]
    assert run(app, ["knn", *form, "--data", str(data), "--run", str(folder)], name="train") == 0
    assert f"{folder / 'report.html'} shows how it went" in capsys.readouterr().out
    text = (folder / "report.html").read_text()
    assert Page(text).open == []
    assert "the <b>validation</b> part" in text
    assert "Learning curves" not in text
    assert "after" not in text.partition('class="figures"')[0].partition('class="lead"')[2], "it has no epochs"
    assert "settings.neighbors</td><td><code>3</code>" in text
    assert "chosen by cross-validation" not in text, "there was nothing to choose"
    names = {path.name for path in folder.glob("report-*.png")}
    assert names >= {f"report-{name}.png" for name in ("comparison", "confusion", "recall", "reliability")}
    assert "report-curves.png" not in names
    with np.load(tmp_path / "faces.landmarks.npz") as kept:
        assert len(kept["keys"]) == 160, "training and validation part, read once"

    assert run(app, ["report", str(folder), "--data", str(data), "--json"], name="train") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["part"], told["n"]) == ("test", 40)
    assert "the <b>test</b> part" in (folder / "report.html").read_text()
    with np.load(tmp_path / "faces.landmarks.npz") as kept:
        assert len(kept["keys"]) == 200, "those of the test part are kept with the others"


@pytest.mark.training
def test_an_mlp_ends_with_a_report_with_its_curves(
    dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, folder = tmp_path / "faces.npz", tmp_path / "mlp"
    dataset.save(data)
    recipe = ["--features", "pixels", "--recipe", "article", "--epochs", "2"]
    assert run(app, ["mlp", *recipe, "--data", str(data), "--run", str(folder)], name="train") == 0
    assert f"{folder / 'report.html'} shows how it went, on the validation part" in capsys.readouterr().out
    text = (folder / "report.html").read_text()
    assert "Measured on the 40 pictures of the <b>validation</b> part, after 2 epochs" in text
    assert "Learning curves" in text
    assert cv2.imread(str(folder / "report-curves.png")).std() > 10
    assert run(app, ["report", str(folder), "--data", str(data)], name="train") == 0
    assert "the <b>test</b> part" in (folder / "report.html").read_text()


@pytest.mark.slow("draws a whole report")
def test_a_program_reads_the_figures(
    finished: Path, dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset.save(tmp_path / "faces.npz")
    arguments = ["report", str(finished), "--data", str(tmp_path / "faces.npz"), "--json"]
    assert run(app, arguments) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["n"], told["balanced_accuracy"], told["recall"]["happy"]) == (40, 0.8, 0.0)
    assert Path(told["page"]).is_file()
    assert len(told["pictures"]) == 6


def test_the_surest_mistakes_come_first(dataset: Dataset) -> None:
    rows = dataset.select("test")
    images, labels = dataset.images[rows], dataset.labels[rows]
    figure = draw_mistakes(images, labels, mostly_right(images, dataset))
    titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
    assert len(titles) == 8, "the eight happy faces of the test part"
    assert all(title.startswith("happy, not\nsad ") for title in titles)
    shares = [int(title.split()[-1].rstrip("%")) for title in titles]
    assert shares == sorted(shares, reverse=True)


def test_bins_hold_every_picture_and_intervals_hold_the_share() -> None:
    confidence = np.array([0.21, 0.5, 0.51, 1.0], dtype=np.float32)
    bins = reliability(confidence, np.array([False, True, False, True]))
    assert sum(n for _, _, n in bins) == 4
    assert bins[-1] == (1.0, 1.0, 1)
    np.testing.assert_allclose(bins[1], (0.505, 0.5, 2), atol=1e-6)
    low, high = wilson(8, 10)
    assert (round(low, 3), round(high, 3)) == (0.490, 0.943)  # Newcombe 1998 gives these for 8 of 10


def test_no_run_and_no_pictures_are_one_line_each(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such run folder"):
        write_report(tmp_path / "none", dataset, part="test")
    (tmp_path / "empty").mkdir()
    with warnings.catch_warnings(), pytest.raises(DataError, match="neither a run folder"):
        write_report(tmp_path / "empty", dataset, part="test")


def test_curves_of_a_loss_alone_are_drawn_without_a_warning() -> None:
    left, right = draw_curves([{"epoch": 1, "loss": 2.0}, {"epoch": 2, "loss": 1.0}]).axes
    assert len(left.lines) == 1
    assert right.get_legend() is None
