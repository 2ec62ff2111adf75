"""Training: a tiny network learns, and an interruption changes nothing."""

import json
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.errors import DataError, UsageError
from train.data.augment import Augmentation
from train.data.dataset import PARTS, Dataset
from train.fit.settings import FitSettings
from train.metrics import summarise
from train.networks.backend import choose_backend
from train.run_folder import read_curves
from train.scoring import score

choose_backend()
with warnings.catch_warnings():  # what TensorFlow's own imports deprecate is not ours to mend
    warnings.simplefilter("ignore")
    keras = pytest.importorskip("keras", reason="needs the train extra")
    from train.fit.loop import fit
    from train.fit.result import predict
    from train.networks.plain import VGG16_CHANNELS, VGG16_POOLS, VGG_CHANNELS, count_macs, plain_cnn

pytestmark = pytest.mark.training

GENTLE = Augmentation(
    shift=0.0, rotation_deg=5.0, scale=0.0, aspect=0.0, shear=0.0, brightness=0.05, contrast=0.1, erase_probability=0.1
)
SETTINGS = FitSettings(
    epochs=2, batch=5, seed=3, average_momentum=0.8, mix_share=0.0, degrade_share=0.0, augmentation=GENTLE
)


def tiny(classes: int) -> Any:
    return plain_cnn((8, 8, 8), pools=(0, 1), classes=classes, dropout=0.2)


class Killed(BaseException):
    """Stands for a signal: nothing catches it."""


def stop_before(replaced: str, *, time: int) -> Callable[[pytest.MonkeyPatch], None]:
    """Break off before a file of this name is put in place for the given time."""

    def arm(patch: pytest.MonkeyPatch) -> None:
        seen = 0
        really = Path.replace

        def replace(self: Path, target: Path) -> Path:
            nonlocal seen
            seen += Path(target).name == replaced
            if seen == time and Path(target).name == replaced:
                raise Killed
            return really(self, target)

        patch.setattr(Path, "replace", replace)

    return arm


@pytest.fixture(scope="module")
def uninterrupted(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    run = tmp_path_factory.mktemp("runs") / "whole"
    return run, fit(tiny, dataset, run, SETTINGS)


def test_a_network_learns_and_leaves_its_result(uninterrupted: tuple[Path, Any], dataset: Dataset) -> None:
    run, model = uninterrupted
    rows = dataset.select("test")
    figures = summarise(predict(model, dataset, "test"), dataset.labels[rows])
    assert figures.balanced_accuracy > 0.5, "chance is 0.2"
    result = json.loads((run / "result.json").read_text())
    assert result["validation"]["n"] == 40
    assert result["data_fingerprint"] == dataset.fingerprint()
    assert [line["epoch"] for line in read_curves(run)] == [1, 2]
    np.testing.assert_allclose(score(run, dataset.images[rows]), predict(model, dataset, "test"), atol=1e-6)


def test_tensorboard_reads_the_curves_back(uninterrupted: tuple[Path, Any]) -> None:
    tf = pytest.importorskip("tensorflow", reason="reads the event files")
    run, _ = uninterrupted
    read: dict[tuple[str, int], float] = {}
    for file in sorted((run / "tensorboard").iterdir()):
        for event in tf.compat.v1.train.summary_iterator(str(file)):
            read |= {(value.tag, event.step): value.simple_value for value in event.summary.value}
    curves = read_curves(run)
    noted = {(name, line["epoch"]): line[name] for line in curves for name in line if name != "epoch"}
    assert read.keys() == noted.keys()
    for key, value in noted.items():
        assert read[key] == pytest.approx(value, rel=1e-4, abs=1e-4)


def test_the_result_holds_averaged_weights_and_no_optimizer(uninterrupted: tuple[Path, Any]) -> None:
    run, _ = uninterrupted
    result = keras.models.load_model(run / "model.keras")
    last = keras.models.load_model(run / "checkpoint.keras")
    assert not result.compiled
    assert (run / "model.keras").stat().st_size < (run / "checkpoint.keras").stat().st_size
    averaged, raw = (np.asarray(model.get_layer("conv1").kernel) for model in (result, last))
    assert not np.allclose(averaged, raw, atol=1e-6)


@pytest.mark.parametrize(
    "arm",
    [
        pytest.param(stop_before("checkpoint.keras", time=2), id="after the curves, before the checkpoint"),
        pytest.param(stop_before("model.keras", time=1), id="after the last epoch"),
    ],
)
def test_a_run_that_was_interrupted_ends_like_one_that_was_not(
    arm: Callable[[pytest.MonkeyPatch], None],
    uninterrupted: tuple[Path, Any],
    dataset: Dataset,
    tmp_path: Path,
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        arm(patch)
        with pytest.raises(Killed):
            fit(tiny, dataset, tmp_path / "run", SETTINGS)
    said: list[str] = []
    resumed = fit(tiny, dataset, tmp_path / "run", SETTINGS, resume=True, report=said.append)
    assert "epochs are done, going on from there" in said[0]
    for ours, theirs in zip(resumed.get_weights(), uninterrupted[1].get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4)
    assert [line["epoch"] for line in read_curves(tmp_path / "run")] == [1, 2]
    assert not list((tmp_path / "run").glob("*partial*"))


def test_a_complete_run_is_not_trained_again(
    uninterrupted: tuple[Path, Any], dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, model = uninterrupted
    monkeypatch.setattr(keras.Model, "fit", lambda *_args, **_more: pytest.fail("trained again"))
    again = fit(tiny, dataset, run, SETTINGS, resume=True)
    for ours, theirs in zip(again.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_run_is_never_mixed_with_another(uninterrupted: tuple[Path, Any], dataset: Dataset, tmp_path: Path) -> None:
    run, _ = uninterrupted
    before = {path: path.read_bytes() for path in run.rglob("*.*")}
    with pytest.raises(UsageError, match="already holds a run: --resume goes on with it"):
        fit(tiny, dataset, run, SETTINGS)
    other = replace(SETTINGS, epochs=4)
    with pytest.raises(UsageError, match=r"another settings \(epochs was 2, is 4\)"):
        fit(tiny, dataset, run, other, resume=True)
    with pytest.raises(UsageError, match="another network"):
        fit(lambda classes: plain_cnn((4,), classes=classes), dataset, run, SETTINGS, resume=True)
    changed = Dataset(dataset.images[::-1].copy(), dataset.labels, dataset.parts, None, {})
    with pytest.raises(UsageError, match="another data fingerprint"):
        fit(tiny, changed, run, SETTINGS, resume=True)
    assert {path: path.read_bytes() for path in run.rglob("*.*")} == before


def test_damage_is_one_clear_line(dataset: Dataset, uninterrupted: tuple[Path, Any], tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "settings.json").write_bytes((uninterrupted[0] / "settings.json").read_bytes())
    whole = (uninterrupted[0] / "checkpoint.keras").read_bytes()
    (run / "checkpoint.keras").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"checkpoint.keras: damaged") as caught:
        fit(tiny, dataset, run, SETTINGS, resume=True)
    assert "\n" not in str(caught.value)
    (run / "settings.json").write_text("{")
    with pytest.raises(DataError, match=r"settings.json: damaged"):
        fit(tiny, dataset, run, SETTINGS, resume=True)


def test_an_empty_part_is_refused(dataset: Dataset, tmp_path: Path) -> None:
    only_test = Dataset(dataset.images, dataset.labels, np.full_like(dataset.parts, PARTS.index("test")), None, {})
    with pytest.raises(DataError, match="the train part of the data set is empty"):
        fit(tiny, only_test, tmp_path / "run", SETTINGS)
    assert not list(tmp_path.iterdir())


def test_networks_have_the_sizes_that_the_docs_name() -> None:
    device = plain_cnn()
    assert (device.input_shape, device.output_shape) == ((None, 48, 48, 1), (None, 5))
    assert device.count_params() == pytest.approx(660_000, rel=0.01)
    assert count_macs(device) == pytest.approx(66e6, rel=0.01)
    assert count_macs(plain_cnn(VGG_CHANNELS)) == pytest.approx(468e6, rel=0.01)
    full = plain_cnn(VGG16_CHANNELS, pools=VGG16_POOLS)
    assert 14_500_000 < full.count_params() < 15_000_000
    assert count_macs(full) == pytest.approx(702e6, rel=0.01)


def test_scoring_refuses_what_is_no_model_for_faces(tmp_path: Path) -> None:
    faces = np.zeros((2, 48, 48), dtype=np.uint8)
    with pytest.raises(DataError, match=r"none: no such run folder, .keras file or bundle folder"):
        score(tmp_path / "none", faces)
    with pytest.raises(DataError, match="neither a run folder"):
        score(tmp_path, faces)
    (tmp_path / "broken.keras").write_bytes(b"no model")
    with pytest.raises(DataError, match=r"broken.keras: not a Keras model"):
        score(tmp_path / "broken.keras", faces)
    wide = keras.Sequential([keras.Input((64, 64, 1)), keras.layers.Flatten(), keras.layers.Dense(5)])
    wide.save(tmp_path / "wide.keras")
    with pytest.raises(DataError, match=r"turns \[64, 64, 1\] into \[5\]"):
        score(tmp_path / "wide.keras", faces)
    (tmp_path / "settings.json").write_text("{}")
    with pytest.raises(DataError, match=r"not complete; give the command that started it again, with --resume"):
        score(tmp_path, faces)


def test_mirrored_pictures_count_as_much_as_the_pictures(uninterrupted: tuple[Path, Any], dataset: Dataset) -> None:
    run, _ = uninterrupted
    images = dataset.images[:6]
    plain, mirrored = score(run, images), score(run, images[:, :, ::-1].copy())
    np.testing.assert_allclose(score(run, images, flip=True), (plain + mirrored) / 2, atol=1e-6)
