"""A pupil learns from teachers, a result is calibrated, and weights move from one network to another."""

import json
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.errors import DataError, UsageError
from edge.inference import open_bundle
from train.data.augment import Augmentation, Warp
from train.data.dataset import Dataset
from train.files import write_json
from train.fit.settings import FitSettings
from train.metrics import softmax
from train.networks.backend import choose_backend
from train.scoring import score

choose_backend()
with warnings.catch_warnings():  # what TensorFlow's own imports deprecate is not ours to mend
    warnings.simplefilter("ignore")
    keras = pytest.importorskip("keras", reason="needs the train extra")
    from train.fit.loop import fit
    from train.fit.teacher import Teachers
    from train.networks.from_bundle import copy_bundle
    from train.networks.plain import VGG16_CHANNELS, VGG16_POOLS, plain_cnn
    from train.networks.residual import ResidualShape, residual_cnn
    from train.networks.transfer import HALF_RANGE, copy_vgg16, copy_weights

pytestmark = pytest.mark.training

GENTLE = Augmentation(0.02, 2.0, 0.02, 0.0, 0.0, 0.05, 0.1, erase_probability=0.0)
SETTINGS = FitSettings(
    epochs=2, batch=20, seed=3, average_momentum=0.5, views=2, teacher_share=1.0, label_smoothing=0.0, mix_share=0.0,
    degrade_share=0.0, augmentation=GENTLE,
)  # fmt: skip


def tiny(classes: int = 5) -> Any:
    return residual_cnn(ResidualShape(stem=8, stages=(8,), blocks=(1,)), classes=classes)


def vgg16() -> Any:
    return plain_cnn(VGG16_CHANNELS, pools=VGG16_POOLS)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that nobody trained, and that is nevertheless sure of something."""
    keras.utils.set_random_seed(1)
    model = tiny()
    model.layers[-1].set_weights([8 * weights for weights in model.layers[-1].get_weights()])
    path: Path = tmp_path_factory.mktemp("teacher") / "teacher.keras"
    model.save(path)
    return path


def test_damaged_scores_are_noticed(teacher: Path, dataset: Dataset, tmp_path: Path) -> None:
    warp = Warp.draw(20, np.random.default_rng(0), GENTLE)
    Teachers([teacher], dataset.images[:20], tmp_path / "kept").scores(0, warp)
    (kept,) = (tmp_path / "kept").glob("view-0-*.npy")
    kept.write_bytes(b"\x93NUMPY cut short")
    with pytest.raises(DataError, match=r"view-0-[0-9a-f]+\.npy: damaged"):
        Teachers([teacher], dataset.images[:20], tmp_path / "kept").scores(0, warp)


def test_pupil_agrees_with_a_teacher_that_contradicts_labels(teacher: Path, dataset: Dataset, tmp_path: Path) -> None:
    fit(tiny, dataset, tmp_path / "run", replace(SETTINGS, epochs=8), teachers=[teacher])
    held_out = dataset.images[dataset.select("test")]
    told = score(teacher, held_out)
    pupil, stranger = score(tmp_path / "run", held_out), np.full_like(told, 0.2)
    assert -(told * np.log(pupil)).sum() < -(told * np.log(stranger)).sum()


def test_a_run_does_not_go_on_with_other_teachers(teacher: Path, dataset: Dataset, tmp_path: Path) -> None:
    fit(tiny, dataset, tmp_path / "run", replace(SETTINGS, epochs=1), teachers=[teacher])
    with pytest.raises(UsageError, match="teachers"):
        fit(tiny, dataset, tmp_path / "run", replace(SETTINGS, epochs=1), resume=True)


def test_a_bundles_int8_network_can_be_trained_on(dataset: Dataset) -> None:
    """The one that ships, given back its BatchNorm: it answers as the bundle does, also while it is trained."""
    shipped = Path(__file__).resolve().parents[3] / "models" / "default"
    model = residual_cnn() if open_bundle(shipped).manifest.models["cnn"].parameters < 500_000 else plain_cnn()
    copy_bundle(shipped, model, dataset.images[:100])
    faces = dataset.images[100:160]
    told = score(shipped, faces)
    assert np.abs(softmax(model.predict(faces[..., None], verbose=0)) - told).max() < 0.1
    trained = softmax(np.asarray(model(dataset.images[:100, ..., None], training=True)))
    assert np.abs(trained - score(shipped, dataset.images[:100])).mean() < 0.1
    with pytest.raises(DataError, match=r"(_conv|conv0) must hold"):
        copy_bundle(shipped, tiny(), dataset.images[:10])


def test_network_of_five_emotions_can_be_trained_on_seven(dataset: Dataset, tmp_path: Path) -> None:
    channels = (4, 4, 6, 6)
    plain_cnn(channels).save(tmp_path / "start.keras")
    seven = plain_cnn(channels, classes=7)
    copy_weights(tmp_path / "start.keras", seven)
    faces = dataset.images[:6]
    logits = seven.predict(faces[..., None], verbose=0)
    np.testing.assert_allclose(softmax(logits[:, :5]), score(tmp_path / "start.keras", faces), atol=1e-5)
    assert (logits[:, 5:].max(axis=1) < logits[:, :5].max(axis=1)).all()
    fit(
        lambda classes: plain_cnn(channels, classes=classes, dropout=0.1), dataset, tmp_path / "run",
        SETTINGS, start=tmp_path / "start.keras",
    )  # fmt: skip
    assert json.loads((tmp_path / "run/result.json").read_text())["network"]["name"] == "device_cnn"
    assert score(tmp_path / "run", faces).shape == (6, 5)


def test_weights_of_another_shape_are_refused(teacher: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="stem_conv must hold"):
        copy_weights(teacher, residual_cnn(ResidualShape(stem=12, stages=(8,), blocks=(1,))))
    with pytest.raises(DataError, match="no such run folder"):
        copy_weights(tmp_path / "absent", tiny())


def test_weights_files_of_vgg16s_layout_compute_the_same_here(dataset: Dataset, tmp_path: Path) -> None:
    keras.utils.set_random_seed(2)
    theirs = keras.applications.VGG16(weights=None, include_top=False)
    for layer in theirs.layers:
        if layer.get_weights():
            kernel, bias = layer.get_weights()
            layer.set_weights([kernel, bias + 0.1])
    file = tmp_path / "vgg.weights.h5"
    theirs.save_weights(file)
    ours = vgg16()
    copy_vgg16(file, ours, dataset.images[:8])
    chips = dataset.images[8:10, ..., None].astype(np.float32)
    coloured = chips - np.array([103.939, 116.779, 123.68], dtype=np.float32)
    first = keras.Model(theirs.inputs, theirs.get_layer("block1_conv1").output).predict(coloured, verbose=0)
    mine = keras.Model(ours.inputs, ours.get_layer("conv0_relu").output).predict(chips, verbose=0)
    scale = np.abs(first).max()
    np.testing.assert_allclose(mine[:, 1:-1, 1:-1], first[:, 1:-1, 1:-1], atol=1e-4 * scale)
    deep = keras.Model(theirs.inputs, theirs.get_layer("block3_conv3").output).predict(coloured, verbose=0)
    mine = keras.Model(ours.inputs, ours.get_layer("conv6_relu").output).predict(chips, verbose=0)
    middle = slice(4, 8)  # further from the border than what the borders' different padding reaches to first order
    np.testing.assert_allclose(mine[:, middle, middle], deep[:, middle, middle], atol=0.05 * np.abs(deep).max())
    assert pytest.approx(127.5) == HALF_RANGE


def test_a_file_that_holds_no_such_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such weights file"):
        copy_vgg16(tmp_path / "absent.h5", vgg16(), np.zeros((1, 48, 48), np.uint8))
    bad = tmp_path / "bad.weights.h5"
    bad.write_bytes(b"no weights")
    with pytest.raises(DataError, match="not weights of Keras's VGG16"):
        copy_vgg16(bad, vgg16(), np.zeros((1, 48, 48), np.uint8))


def test_imagenet_weights_that_cannot_be_had_are_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_args: object, **_kwargs: object) -> None:
        raise OSError("URL fetch failure")

    monkeypatch.setattr(keras.applications, "VGG16", offline)
    with pytest.raises(DataError, match=r"ImageNet weights cannot be had .*--weights FILE"):
        copy_vgg16("imagenet", vgg16(), np.zeros((1, 48, 48), np.uint8))


def test_a_settings_file_of_an_earlier_version_still_resumes(dataset: Dataset, tmp_path: Path) -> None:
    """A run whose settings name no teachers and no start had none."""
    settings = replace(SETTINGS, epochs=1, teacher_share=0.0)
    fit(tiny, dataset, tmp_path / "run", settings)
    noted = json.loads((tmp_path / "run/settings.json").read_text())
    del noted["teachers"], noted["start"]
    write_json(tmp_path / "run/settings.json", noted)
    fit(tiny, dataset, tmp_path / "run", settings, resume=True)
