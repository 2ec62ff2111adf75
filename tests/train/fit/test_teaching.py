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
from train.data.augment import Augmentation
from train.data.dataset import Dataset
from train.files import write_json
from train.fit.settings import FitSettings
from train.fit.targets import class_weights, match_shares
from train.metrics import softmax
from train.networks.backend import choose_backend
from train.scoring import score

choose_backend()
with warnings.catch_warnings():  # what TensorFlow's own imports deprecate is not ours to mend
    warnings.simplefilter("ignore")
    keras = pytest.importorskip("keras", reason="needs the train extra")
    from train.fit.batches import Batches, trained_rows
    from train.fit.loop import fit
    from train.fit.teacher import DistillationTargets
    from train.fit.vgg import VggPlan, train_vgg
    from train.networks.device import DeviceCnnShape, device_cnn
    from train.networks.from_bundle import copy_bundle
    from train.networks.plain import plain_cnn
    from train.networks.transfer import HALF_RANGE, copy_imagenet_layout, copy_weights
    from train.networks.vgg import vgg16

pytestmark = pytest.mark.training

GENTLE = Augmentation(0.02, 2.0, 0.02, 0.0, 0.05, 0.1, erase_probability=0.0)
SETTINGS = FitSettings(
    epochs=2, batch=20, seed=3, average_momentum=0.5, views=2, teacher_share=1.0, label_smoothing=0.0,
    augmentation=GENTLE,
)  # fmt: skip


def tiny() -> Any:
    return device_cnn(DeviceCnnShape(stem=8, stages=(8,), blocks=(1,)))


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that nobody trained, and that is nevertheless sure of something."""
    keras.utils.set_random_seed(1)
    model = tiny()
    model.layers[-1].set_weights([8 * weights for weights in model.layers[-1].get_weights()])
    path: Path = tmp_path_factory.mktemp("teacher") / "teacher.keras"
    model.save(path)
    return path


def targets_of(teacher: Path, dataset: Dataset, folder: Path, settings: FitSettings = SETTINGS) -> DistillationTargets:
    return DistillationTargets([teacher], dataset, trained_rows(dataset, settings), settings, folder)


@pytest.mark.parametrize("mix_share", [0.0, 0.5])
def test_each_view_is_scored_as_the_pupil_sees_it(
    teacher: Path, dataset: Dataset, tmp_path: Path, mix_share: float
) -> None:
    taught_by = targets_of(teacher, dataset, tmp_path, replace(SETTINGS, epochs=3, mix_share=mix_share))
    rows = trained_rows(dataset, SETTINGS)
    first, second, again = (taught_by.view(epoch) for epoch in range(3))
    assert first.images.shape == (len(rows), 48, 48)
    assert not np.array_equal(first.images, second.images)
    assert again is first, "there are two views, and they come again"
    assert (first.own_shares < 1).any() == bool(mix_share)
    due = match_shares(score(teacher, second.images), dataset.labels[rows])
    np.testing.assert_allclose(second.scores, due, atol=1e-5)


def test_as_many_views_as_epochs_are_made_as_they_come_and_not_held(
    teacher: Path, dataset: Dataset, tmp_path: Path
) -> None:
    taught_by = targets_of(teacher, dataset, tmp_path, replace(SETTINGS, epochs=3, views=3))
    assert not [*tmp_path.iterdir()]
    first = taught_by.view(0)
    assert taught_by.view(0) is first, "an epoch asks more than once"
    assert [kept.name[:7] for kept in tmp_path.iterdir()] == ["view-0-"]
    taught_by.view(1)
    assert taught_by.view(0) is not first


def test_teachers_are_asked_once_and_damage_is_noticed(
    teacher: Path, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = targets_of(teacher, dataset, tmp_path / "kept").view(0)
    monkeypatch.setattr("train.fit.teacher.open_scorer", lambda _model: pytest.fail("the teacher is asked again"))
    again = targets_of(teacher, dataset, tmp_path / "kept").view(0)
    np.testing.assert_array_equal(first.scores, again.scores)
    (kept,) = (tmp_path / "kept").glob("view-0-*.npy")
    kept.write_bytes(b"\x93NUMPY cut short")
    with pytest.raises(DataError, match=r"view-0-[0-9a-f]+\.npy: damaged"):
        targets_of(teacher, dataset, tmp_path / "kept").view(0)


def test_scores_of_another_teacher_are_not_taken_for_this_ones(teacher: Path, dataset: Dataset, tmp_path: Path) -> None:
    other = tmp_path / "other.keras"
    tiny().save(other)
    first, second = (targets_of(model, dataset, tmp_path / "kept").view(0) for model in (teacher, other))
    np.testing.assert_array_equal(first.images, second.images)
    assert not np.allclose(first.scores, second.scores)


def test_targets_are_the_teachers_share_and_the_labels_rest(teacher: Path, dataset: Dataset, tmp_path: Path) -> None:
    rows = trained_rows(dataset, SETTINGS)
    taught_by = targets_of(teacher, dataset, tmp_path)
    plain = replace(GENTLE, brightness=0.0, contrast=0.0)
    taught = Batches(dataset, replace(SETTINGS, batch=len(rows), teacher_share=0.75, augmentation=plain), taught_by)
    for epoch in range(2):
        taught.start_epoch(epoch)
        order = np.random.default_rng([SETTINGS.seed, epoch]).permutation(len(rows))
        labels = np.eye(5)[dataset.labels[rows[order]]]
        images, targets, _ = taught[0]
        np.testing.assert_allclose(targets, 0.25 * labels + 0.75 * taught_by.view(epoch).scores[order], atol=1e-5)
        for mine, seen in zip(images[..., 0], taught_by.view(epoch).images[order], strict=True):
            assert np.array_equal(mine, seen) or np.array_equal(mine, seen[:, ::-1])


def test_a_mixed_picture_has_a_share_of_both_labels_and_of_both_weights(
    teacher: Path, dataset: Dataset, tmp_path: Path
) -> None:
    settings = replace(SETTINGS, mix_share=0.5, teacher_share=0.0, balance=1.0)
    rows = trained_rows(dataset, settings)
    taught_by = targets_of(teacher, dataset, tmp_path, settings)
    targets, weights = Batches(dataset, replace(settings, batch=len(rows)), taught_by)[0][1:]
    order = np.random.default_rng([settings.seed, 0]).permutation(len(rows))
    view = taught_by.view(0)
    own, other = view.own_shares[order], view.partners[order]
    labels, alone = np.eye(5)[dataset.labels[rows]], class_weights(dataset.labels[rows], 1.0)
    np.testing.assert_allclose(targets, own[:, None] * labels[order] + (1 - own[:, None]) * labels[other], atol=1e-5)
    np.testing.assert_allclose(weights, own * alone[order] + (1 - own) * alone[other], atol=1e-5)
    assert 0.25 < (own == 1).mean() < 0.75


def test_a_pupil_comes_to_agree_with_a_teacher_that_contradicts_the_labels(
    teacher: Path, dataset: Dataset, tmp_path: Path
) -> None:
    fit(tiny, dataset, tmp_path / "run", replace(SETTINGS, epochs=8), teachers=[teacher])
    held_out = dataset.images[dataset.select("test")]
    told = score(teacher, held_out)
    pupil, stranger = score(tmp_path / "run", held_out), np.full_like(told, 0.2)
    assert -(told * np.log(pupil)).sum() < -(told * np.log(stranger)).sum()


def test_a_run_does_not_go_on_with_other_teachers(teacher: Path, dataset: Dataset, tmp_path: Path) -> None:
    fit(tiny, dataset, tmp_path / "run", replace(SETTINGS, epochs=1), teachers=[teacher])
    with pytest.raises(UsageError, match="teachers"):
        fit(tiny, dataset, tmp_path / "run", replace(SETTINGS, epochs=1), resume=True)


def test_a_wider_network_starts_as_the_same_function_with_channels_that_differ(teacher: Path, dataset: Dataset) -> None:
    wide = device_cnn(DeviceCnnShape(stem=24, stages=(24,), blocks=(1,)))
    copy_weights(teacher, wide)
    narrow = keras.models.load_model(teacher, compile=False)
    chips = dataset.images[:6, ..., None]
    np.testing.assert_allclose(wide.predict(chips, verbose=0), narrow.predict(chips, verbose=0), rtol=1e-3, atol=1e-3)
    kernel = np.asarray(wide.get_layer("stage0_block0_2_conv").kernel)
    assert not np.allclose(kernel[..., :8], kernel[..., 8:16])


def test_a_deeper_network_starts_as_the_same_function_and_can_learn_in_its_new_blocks(
    teacher: Path, dataset: Dataset
) -> None:
    deep = device_cnn(DeviceCnnShape(stem=8, stages=(8,), blocks=(3,)))
    copy_weights(teacher, deep)
    shallow = keras.models.load_model(teacher, compile=False)
    chips = dataset.images[:6, ..., None]
    np.testing.assert_allclose(deep.predict(chips, verbose=0), shallow.predict(chips, verbose=0), rtol=1e-4, atol=1e-4)
    assert np.abs(np.asarray(deep.get_layer("stage0_block2_1_conv").kernel)).max() > 0


def test_a_bundles_int8_network_can_be_trained_on(dataset: Dataset) -> None:
    """The one that ships, given back its BatchNorm: it answers as the bundle does, also while it is trained."""
    shipped = Path(__file__).resolve().parents[3] / "models" / "default"
    model = plain_cnn() if open_bundle(shipped).manifest.name.startswith("plain") else device_cnn()
    copy_bundle(shipped, model, dataset.images[:100])
    faces = dataset.images[100:160]
    told = score(shipped, faces)
    assert np.abs(softmax(model.predict(faces[..., None], verbose=0)) - told).max() < 0.1
    trained = softmax(np.asarray(model(dataset.images[:100, ..., None], training=True)))
    assert np.abs(trained - score(shipped, dataset.images[:100])).mean() < 0.1
    with pytest.raises(DataError, match=r"(_conv|conv0) must hold"):
        copy_bundle(shipped, tiny(), dataset.images[:10])


def test_an_imported_network_can_be_trained_further(dataset: Dataset, tmp_path: Path) -> None:
    channels = (4, 4, 6, 6)
    plain_cnn(channels).save(tmp_path / "start.keras")
    fit(lambda: plain_cnn(channels, dropout=0.1), dataset, tmp_path / "run", SETTINGS, start=tmp_path / "start.keras")
    assert json.loads((tmp_path / "run/result.json").read_text())["network"]["name"] == "plain_cnn"


def test_weights_of_another_shape_are_refused(teacher: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="stem_conv must hold"):
        copy_weights(teacher, device_cnn(DeviceCnnShape(stem=12, stages=(8,), blocks=(1,))))
    with pytest.raises(DataError, match="no such run folder"):
        copy_weights(tmp_path / "absent", tiny())


@pytest.mark.slow("trains the three stages of VGG16")
def test_vgg_goes_through_its_three_stages_and_resumes_at_the_one_that_is_missing(
    dataset: Dataset, tmp_path: Path
) -> None:
    plan = VggPlan(width=1 / 32, pretrain_epochs=2, frozen_epochs=1, epochs=1, batch=40)
    train_vgg(dataset, tmp_path / "vgg", plan)
    for stage in ("pretrain", "frozen", "."):
        assert (tmp_path / "vgg" / stage / "result.json").is_file()
    before = keras.models.load_model(tmp_path / "vgg/pretrain/model.keras").get_layer("block3_conv1").get_weights()
    frozen = keras.models.load_model(tmp_path / "vgg/frozen/model.keras").get_layer("block3_conv1").get_weights()
    tuned = keras.models.load_model(tmp_path / "vgg/model.keras").get_layer("block3_conv1").get_weights()
    np.testing.assert_array_equal(before[0], frozen[0])
    assert not np.array_equal(frozen[0], tuned[0])
    stamp = (tmp_path / "vgg/frozen/checkpoint.keras").stat().st_mtime_ns
    train_vgg(dataset, tmp_path / "vgg", plan, resume=True)
    assert (tmp_path / "vgg/frozen/checkpoint.keras").stat().st_mtime_ns == stamp


def test_vggs_teachers_are_asked_once_for_its_stages(teacher: Path, dataset: Dataset, tmp_path: Path) -> None:
    plan = VggPlan(width=1 / 32, pretrain_epochs=1, frozen_epochs=1, epochs=1, batch=40, teachers=(teacher,))
    train_vgg(dataset, tmp_path / "vgg", plan)
    assert len([*tmp_path.rglob("view-*.npy")]) == len([*(tmp_path / "vgg/teacher-scores").glob("view-*.npy")]) == 1
    noted = json.loads((tmp_path / "vgg/settings.json").read_text())
    assert [*noted["teachers"]] == [str(teacher)]
    assert noted["settings"]["teacher_share"] == 0.5


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
    copy_imagenet_layout(file, ours, dataset.images[:8])
    chips = dataset.images[8:10, ..., None].astype(np.float32)
    coloured = chips - np.array([103.939, 116.779, 123.68], dtype=np.float32)
    first = keras.Model(theirs.inputs, theirs.get_layer("block1_conv1").output).predict(coloured, verbose=0)
    mine = keras.Model(ours.inputs, ours.get_layer("block1_conv1_relu").output).predict(chips, verbose=0)
    scale = np.abs(first).max()
    np.testing.assert_allclose(mine[:, 1:-1, 1:-1], first[:, 1:-1, 1:-1], atol=1e-4 * scale)
    deep = keras.Model(theirs.inputs, theirs.get_layer("block3_conv3").output).predict(coloured, verbose=0)
    mine = keras.Model(ours.inputs, ours.get_layer("block3_conv3_relu").output).predict(chips, verbose=0)
    middle = slice(4, 8)  # further from the border than what the borders' different padding reaches to first order
    np.testing.assert_allclose(mine[:, middle, middle], deep[:, middle, middle], atol=0.05 * np.abs(deep).max())
    assert pytest.approx(127.5) == HALF_RANGE


def test_a_file_that_holds_no_such_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such weights file"):
        copy_imagenet_layout(tmp_path / "absent.h5", vgg16(), np.zeros((1, 48, 48), np.uint8))
    bad = tmp_path / "bad.weights.h5"
    bad.write_bytes(b"no weights")
    with pytest.raises(DataError, match="not weights of Keras's VGG16"):
        copy_imagenet_layout(bad, vgg16(), np.zeros((1, 48, 48), np.uint8))


def test_imagenet_weights_that_cannot_be_had_are_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_args: object, **_kwargs: object) -> None:
        raise OSError("URL fetch failure")

    monkeypatch.setattr(keras.applications, "VGG16", offline)
    with pytest.raises(DataError, match=r"ImageNet weights cannot be had .*--weights FILE"):
        copy_imagenet_layout("imagenet", vgg16(), np.zeros((1, 48, 48), np.uint8))


def test_weights_of_full_width_go_into_no_narrower_network() -> None:
    with pytest.raises(UsageError, match="--width 1"):
        VggPlan(weights="imagenet", width=0.5)


def test_a_settings_file_of_an_earlier_version_still_resumes(dataset: Dataset, tmp_path: Path) -> None:
    """A run whose settings name no teachers and no start had none."""
    settings = replace(SETTINGS, epochs=1, teacher_share=0.0)
    fit(tiny, dataset, tmp_path / "run", settings)
    noted = json.loads((tmp_path / "run/settings.json").read_text())
    del noted["teachers"], noted["start"]
    write_json(tmp_path / "run/settings.json", noted)
    fit(tiny, dataset, tmp_path / "run", settings, resume=True)
