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
from edge.errors import DataError, UsageError
from train.cli import app
from train.data.chips import Chips
from train.data.dataset import PARTS, Dataset
from train.networks.backend import choose_backend
from train.scoring import score

choose_backend()
with warnings.catch_warnings():  # what TensorFlow's own imports deprecate is not ours to mend
    warnings.simplefilter("ignore")
    keras = pytest.importorskip("keras", reason="needs the train extra")
    from train.fit.adapt import AdaptSettings, adapt, restyle
    from train.networks.plain import plain_cnn

pytestmark = pytest.mark.training

FEW = AdaptSettings(epochs=6, copies=8, rehearsal=200, rate=0.01)


def gratings(n: int, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.int8]]:
    """Pictures whose class shows as the width of soft stripes."""
    rng = np.random.default_rng(seed)
    labels = (np.arange(n) % 5).astype(np.int8)
    phase, width = rng.uniform(0, 6, (n, 1, 1)), 1.2 * 1.7 ** labels[:, None, None]
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


def test_adapted_network_knows_the_camera_and_forgets_nothing(
    source: Path, faces: Dataset, household: Chips, tmp_path: Path
) -> None:
    images, labels = gratings(200, seed=2)
    before = right(source, other_camera(images), labels)
    found = adapt(source, household, faces, tmp_path / "run", FEW)
    assert right(tmp_path / "run", other_camera(images), labels) > before + 0.1
    assert found.held_out[0].n == 10 < found.held_out[1].n + 1
    assert found.held_out[1].balanced_accuracy >= found.held_out[0].balanced_accuracy
    rows = faces.select("test")
    kept = right(tmp_path / "run", faces.images[rows], faces.labels[rows])
    assert kept >= right(source, faces.images[rows], faces.labels[rows]) - 0.01
    noted = json.loads((tmp_path / "run/result.json").read_text())
    assert noted["adapted"]["held_out"]["after"]["n"] == 10
    assert noted["data_fingerprint"] == faces.fingerprint()
    with pytest.raises(UsageError, match="already holds a run"):
        adapt(source, household, faces, tmp_path / "run", FEW)


def test_restyled_pictures_look_like_the_other_cameras(faces: Dataset, household: Chips) -> None:
    images = faces.images[:60]
    made = restyle(images, household.images, np.random.default_rng(0))
    assert made.mean() == pytest.approx(household.images.mean(), abs=4)
    assert made.std(axis=(1, 2)).mean() == pytest.approx(household.images.std(axis=(1, 2)).mean(), rel=0.2)
    again = restyle(images, images, np.random.default_rng(0))
    assert np.abs(again.astype(int) - images).mean() < 12, "its own look changes little"


@pytest.mark.parametrize(
    ("turned", "smoothing", "said"),
    [(0, 1.25, "on the 10 held-out pictures"), (1, 0.1, "on the test part, and may lose a point")],
    ids=["taught the opposite", "other names"],
)
def test_adapting_refuses_what_would_lose(
    turned: int, smoothing: float, said: str, source: Path, faces: Dataset, tmp_path: Path
) -> None:
    images, labels = gratings(60, seed=3)
    chips = Chips(images, (labels + turned).astype(np.int8) % 5)
    settings = replace(FEW, smoothing=smoothing, rehearsal=1, rate=0.05)
    with pytest.raises(DataError, match=f"not adapted: it falls from .* {said}"):
        adapt(source, chips, faces, tmp_path / "run", settings)
    assert not (tmp_path / "run").exists()


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


def test_adapt_command_reads_a_folder_and_writes_a_run(
    source: Path, faces: Dataset, household: Chips, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    faces.save(tmp_path / "faces.npz")
    names = ("angry", "happiness", "Sad", "surprise", "neutral")
    for index, (image, label) in enumerate(zip(household.images, household.labels, strict=True)):
        (tmp_path / "home" / names[label]).mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(tmp_path / "home" / names[label] / f"{index}.png"), image)
    (tmp_path / "home/angry/broken.png").write_bytes(b"nothing")
    wall = np.full((90, 120), 128, np.uint8)
    assert cv2.imwrite(str(tmp_path / "home/angry/wall.png"), wall)
    words: list[Any] = ["adapt", tmp_path / "home", "--data", tmp_path / "faces.npz", "--model", source]
    assert run(app, [str(word) for word in [*words, "--run", tmp_path / "run", "--epochs", "4"]]) == 0
    told = capsys.readouterr().out
    assert "wall.png: no face found; left out" in told
    assert "broken.png" in told
    assert "held-out (10 pictures), balanced:" in told
    assert (tmp_path / "run/model.keras").is_file()
    assert run(app, [str(word) for word in [*words, "--run", tmp_path / "run"]]) == 2
    assert "already holds a run" in capsys.readouterr().err
