"""A network is adapted to another camera, or refused where something would be lost."""

import json
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edge.cli.support import run
from edge.errors import DataError
from train.cli import app
from train.data.chips import Chips
from train.data.dataset import PARTS, Dataset
from train.data.look import Look
from train.metrics import softmax
from train.networks.backend import choose_backend, logits
from train.scoring import score

choose_backend()
with warnings.catch_warnings():  # what TensorFlow's own imports deprecate is not ours to mend
    warnings.simplefilter("ignore")
    keras = pytest.importorskip("keras", reason="needs the train extra")
    from train.fit.adapt import AdaptSettings, Head, adapt, choose
    from train.networks.plain import plain_cnn

pytestmark = pytest.mark.training

SETTINGS = AdaptSettings(rehearsal=2000, rate=0.001, max_loss=0.05)
"""For a network of 8 channels and made pictures."""


def gratings(n: int, seed: int, wider: float = 1.0) -> tuple[NDArray[np.uint8], NDArray[np.int8]]:
    """Pictures whose class shows as the width of soft stripes."""
    rng = np.random.default_rng(seed)
    labels = (np.arange(n) % 5).astype(np.int8)
    phase, width = rng.uniform(0, 6, (n, 1, 1)), wider * 1.2 * 1.7 ** labels[:, None, None]
    waves = 128 + 90 * np.sin(np.arange(48)[None, :, None] / width + phase) + rng.normal(0, 12, (n, 48, 48))
    return waves.clip(0, 255).astype(np.uint8), labels


def other_camera(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Little contrast, a tint, and blur."""
    flat = [cv2.GaussianBlur((image.astype(np.float32) - 128) * 0.3 + 190, (0, 0), 1.2) for image in images]
    return np.rint(flat).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def faces() -> Dataset:
    images, labels = gratings(500, seed=0)
    parts = np.array([PARTS.index("train")] * 250 + [PARTS.index("validation")] * 50 + [PARTS.index("test")] * 200)
    return Dataset(images, labels, parts.astype(np.uint8), None, {"source": "made"})


@pytest.fixture(scope="module")
def source(faces: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    keras.utils.set_random_seed(0)
    model = plain_cnn((8, 8, 8, 8))
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), jit_compile=False)
    model.optimizer.learning_rate = 0.01
    rows = faces.select("train")
    model.fit(faces.images[rows][..., None], faces.labels[rows], epochs=25, batch_size=25, verbose=0)
    path: Path = tmp_path_factory.mktemp("source") / "source.keras"
    model.save(path)
    return path


@pytest.fixture(scope="module")
def household() -> Chips:
    images, labels = gratings(60, seed=1)
    return Chips(other_camera(images), labels)


def right(model: Path, images: NDArray[np.uint8], labels: NDArray[np.int8]) -> float:
    return float((score(model, images).argmax(axis=1) == labels).mean())


def test_look_is_measured_and_put_on_other_pictures(faces: Dataset) -> None:
    rng = np.random.default_rng(4)
    seen = other_camera(faces.images[:100]) + rng.normal(0, 6, (100, 48, 48))
    look = Look.measure(np.rint(seen).clip(0, 255).astype(np.uint8), faces.images[100:250])
    assert look.blur_px == pytest.approx(1.2, abs=0.3)
    assert look.noise == pytest.approx(6, abs=2)
    made = look.put_on(faces.images[:100], rng)
    assert made.mean() == pytest.approx(seen.mean(), abs=4)
    assert made.std(axis=(1, 2)).mean() == pytest.approx(seen.std(axis=(1, 2)).mean(), rel=0.2)


def test_look_of_the_data_sets_own_camera_changes_little(faces: Dataset) -> None:
    look = Look.measure(faces.images[:100], faces.images[100:250])
    assert look.blur_px <= 0.2
    assert look.noise <= 2


def test_dense_layer_learns_people_who_look_another_way(source: Path, faces: Dataset) -> None:
    model = keras.models.load_model(source)
    rehearsed = faces.images[:200]
    head = Head.of(model, rehearsed, softmax(logits(model, rehearsed)))
    images, labels = gratings(100, seed=3, wider=1.3)
    others, truth = gratings(200, seed=5, wider=1.3)
    before = (logits(model, others).argmax(axis=1) == truth).mean()
    model.layers[-1].set_weights(head.fit([head.features(images)], labels, 0.3))
    assert (logits(model, others).argmax(axis=1) == truth).mean() > before + 0.1
    shares = {
        share: head.cross_fitted([head.features(images)], labels, share, np.arange(100) % 5) for share in (0, 0.3)
    }
    assert choose({"before": shares[0], "0.3": shares[0.3]}, labels, np.arange(100) % 5) == "0.3"


def test_choice_refuses_labels_that_are_muddled() -> None:
    labels = (np.arange(60) % 5).astype(np.int8)
    sure = (6 * np.eye(5)[labels] + np.random.default_rng(0).normal(0, 3, (60, 5))).astype(np.float32)
    for muddled in ((labels + 1) % 5, np.random.default_rng(0).permutation(labels)):
        with pytest.raises(DataError, match=r"at most \d+% of the pictures are recognised.* right folders"):
            choose({"before": sure, "0": 1.1 * sure}, muddled.astype(np.int8), np.arange(60) % 5)


def test_choice_refuses_what_gains_nothing() -> None:
    labels = (np.arange(60) % 5).astype(np.int8)
    rng = np.random.default_rng(0)
    sure = (6 * np.eye(5)[labels] + rng.normal(0, 3, (60, 5))).astype(np.float32)
    same = (sure + rng.normal(0, 0.5, (60, 5))).astype(np.float32)
    with pytest.raises(DataError, match=r"gains nothing on the held-out pictures \(log-loss .* the network stays"):
        choose({"before": sure, "0": same}, labels, np.arange(60) % 5)


def test_adapting_refuses_a_loss_on_the_test_part(
    source: Path, faces: Dataset, household: Chips, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=r"not adapted: it falls from [\d.]+% to .* on the test part, and may lose"):
        adapt(source, household, faces, tmp_path / "run", replace(SETTINGS, max_loss=-1.0))
    assert not (tmp_path / "run").exists()


def test_being_less_sure_is_no_gain() -> None:
    labels = (np.arange(50) % 5).astype(np.int8)
    sure = (6 * np.eye(5)[labels] + np.random.default_rng(0).normal(0, 3, (50, 5))).astype(np.float32)
    with pytest.raises(DataError, match="gains nothing"):
        choose({"before": sure, "0": sure / 2}, labels, np.arange(50) % 3)
    better = (sure + np.eye(5)[labels] * 3).astype(np.float32)
    assert choose({"before": sure, "0": sure / 2, "0.1": better}, labels, np.arange(50) % 3) == "0.1"


@pytest.mark.parametrize(
    ("labels", "said"),
    [([0, 1, 2], "10 pictures with a face at least, found 3"), ([0] * 10 + [4], "neutral has one picture only")],
)
def test_too_few_pictures_are_refused(
    labels: list[int], said: str, source: Path, faces: Dataset, tmp_path: Path
) -> None:
    chips = Chips(np.zeros((len(labels), 48, 48), np.uint8), np.array(labels, np.int8))
    with pytest.raises(DataError, match=said):
        adapt(source, chips, faces, tmp_path / "run")


def test_adapt_command_learns_the_camera_of_a_folder(
    source: Path, faces: Dataset, household: Chips, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("train.fit.adapt.AdaptSettings", lambda seed: replace(SETTINGS, seed=seed))
    faces.save(tmp_path / "faces.npz")
    names = ("angry", "happiness", "Sad", "surprise", "neutral")
    for index, (image, label) in enumerate(zip(household.images, household.labels, strict=True)):
        (tmp_path / "home" / names[label]).mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(tmp_path / "home" / names[label] / f"{index}.png"), image)
    (tmp_path / "home/angry/broken.png").write_bytes(b"nothing")
    wall = np.full((90, 120), 128, np.uint8)
    assert cv2.imwrite(str(tmp_path / "home/angry/wall.png"), wall)
    words: list[Any] = ["adapt", tmp_path / "home", "--data", tmp_path / "faces.npz", "--model", source]
    assert run(app, [str(word) for word in [*words, "--run", tmp_path / "run"]]) == 0
    told = capsys.readouterr().out
    assert "wall.png: no face found; left out" in told
    assert "broken.png" in told
    assert "held-out (60 pictures), balanced:" in told

    images, labels = gratings(200, seed=2)
    assert right(tmp_path / "run", other_camera(images), labels) > right(source, other_camera(images), labels) + 0.1
    rows = faces.select("test")
    kept = right(tmp_path / "run", faces.images[rows], faces.labels[rows])
    assert kept >= right(source, faces.images[rows], faces.labels[rows]) - SETTINGS.max_loss
    noted = json.loads((tmp_path / "run/result.json").read_text())
    assert noted["adapted"]["held_out"]["after"]["n"] == 60, "each fifth is held out once"
    assert noted["data_fingerprint"] == faces.fingerprint()
    assert run(app, [str(word) for word in [*words, "--run", tmp_path / "run"]]) == 2
    assert "already holds a run" in capsys.readouterr().err
