"""What a step of training sees: which pictures, with which targets."""

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from train.data.augment import Augmentation, Warp, disturb
from train.data.dataset import PARTS, Dataset
from train.fit.settings import FitSettings
from train.fit.targets import class_weights, match_shares, soft_targets
from train.networks.backend import choose_backend
from train.scoring import score

choose_backend()
with warnings.catch_warnings():  # what TensorFlow's own imports deprecate is not ours to mend
    warnings.simplefilter("ignore")
    pytest.importorskip("keras", reason="needs the train extra")
    from train.fit.batches import Batches, trained_rows
    from train.fit.teacher import Teachers
    from train.networks.plain import plain_cnn

STILL = Augmentation(
    shift=0.0, rotation_deg=0.0, scale=0.0, aspect=0.0, shear=0.0, brightness=0.0, contrast=0.0, erase_probability=0.0
)
PLAIN = FitSettings(batch=8, seed=3, label_smoothing=0.0, mix_share=0.0, degrade_share=0.0, augmentation=STILL)


@pytest.fixture
def voted(dataset: Dataset) -> Dataset:
    """The first thirty training pictures: ten of disgust, ten of fear, ten of a class that nobody knows."""
    labels = dataset.labels.copy()
    labels[:10], labels[10:20], labels[20:30] = 5, 6, -1
    votes = np.zeros((len(labels), 7), dtype=np.float32)
    votes[:10, 5], votes[:10, 1] = 6, 2
    votes[30:, 4] = 9
    return Dataset(dataset.images, labels, dataset.parts, votes, {})


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp("teacher") / "teacher.keras"
    plain_cnn((4, 4)).save(path)
    return path


def test_seven_classes_are_trained_on_and_unknown_ones_are_not(voted: Dataset) -> None:
    train = np.flatnonzero(voted.parts == PARTS.index("train"))
    np.testing.assert_array_equal(trained_rows(voted), np.concatenate([train[:20], train[30:]]))
    assert (voted.labels[voted.select("train")] < 5).all(), "only the five emotions are measured"


def test_targets_mix_label_and_votes(voted: Dataset) -> None:
    targets = soft_targets(voted, np.array([0, 10, 40]), vote_share=0.25, match=False)
    np.testing.assert_allclose(targets[0], [0, 0.25 * 0.25, 0, 0, 0, 0.75 + 0.25 * 0.75, 0])
    np.testing.assert_allclose(targets[1], np.eye(7)[6], err_msg="nobody voted: the label alone")
    np.testing.assert_allclose(targets[2], 0.75 * np.eye(7)[voted.labels[40]] + 0.25 * np.eye(7)[4])
    five = soft_targets(voted, np.array([40]), vote_share=0.25, match=False, classes=5)
    np.testing.assert_allclose(five[0], targets[2][:5])


def test_scores_that_lean_are_brought_to_the_shares_of_labels() -> None:
    rng = np.random.default_rng(0)
    labels = np.array([0] * 100 + [1] * 50 + [4] * 50, dtype=np.int8)
    scores = rng.dirichlet([1, 1, 0.5, 0.5, 4], size=len(labels)).astype(np.float32)
    matched = match_shares(scores, labels)
    np.testing.assert_allclose(matched.sum(axis=1), 1, atol=1e-5)
    shares = matched.mean(axis=0)[[0, 1, 4]]
    np.testing.assert_allclose(shares / shares[1], [2, 1, 1], atol=0.01)
    # what a face is likelier to be than another face stays so
    assert (np.argsort(matched[:, 4] / matched[:, 0]) == np.argsort(scores[:, 4] / scores[:, 0])).mean() > 0.95


def test_a_rare_class_weighs_more_and_other_classes_less() -> None:
    labels = np.array([0] * 16 + [1] * 4 + [5] * 2, dtype=np.int8)
    weights = class_weights(labels, 0.5)
    assert weights.mean() == pytest.approx(1)
    assert weights[16] / weights[0] == pytest.approx(2)
    assert weights[-1] < weights[16]
    np.testing.assert_allclose(class_weights(labels[:20], 0.0), 1)


@pytest.mark.parametrize("taught", [False, True])
def test_batches_made_ahead_are_those_of_the_epoch_in_order(
    voted: Dataset, teacher: Path, tmp_path: Path, *, taught: bool
) -> None:
    """As Keras asks for them: it looks at the first one before the epoch, and an epoch may break off."""
    settings = FitSettings(batch=8, teacher_share=0.5, views=2)
    images = voted.images[trained_rows(voted)]
    teachers = Teachers([teacher], images, tmp_path) if taught else None
    points = np.random.default_rng(0).uniform(5, 43, (len(images), 68, 2)).astype(np.float32)
    alone, ahead = (Batches(voted, settings, teachers, points, threads=threads) for threads in (1, 4))
    assert ahead.workers == 1, "Keras's own queue would carry batches over into the next epoch"
    every = range(len(alone))
    for epoch, asked in enumerate([[0, *every], every, list(every)[: len(alone) // 2], every]):
        for batches in (alone, ahead):
            batches.start_epoch(epoch)
        for index in asked:
            ours, due = ahead[index], alone[index]
            assert ours[0].shape == (8, 48, 48, 1)
            np.testing.assert_allclose(ours[1].sum(axis=1), 1, rtol=1e-5)
            for part in range(3):  # pictures, targets, weights
                np.testing.assert_array_equal(ours[part], due[part])


def test_workers_augment_their_own_share_of_each_batch_alone(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    import train.fit.batches as module

    augmented: list[int] = []

    def counting(images: NDArray[np.uint8], *more: Any) -> NDArray[np.float32]:
        augmented.append(len(images))
        return disturb(images, *more)

    monkeypatch.setattr(module, "disturb", counting)
    chosen = FitSettings(batch=40, seed=3, degrade_share=0.0)
    workers = [Batches(dataset, chosen, threads=1, shares=2, share=share) for share in range(2)]
    parts = [worker[1] for worker in workers]
    assert augmented == [20, 20]
    whole = Batches(dataset, chosen, threads=1, shares=2)[1]
    for of_one, of_two in zip(whole, zip(*parts, strict=True), strict=True):
        np.testing.assert_array_equal(of_one, np.concatenate(of_two))
    assert not np.array_equal(parts[0][0], parts[1][0])


def test_teachers_score_emotions_and_labels_the_other_classes(voted: Dataset, teacher: Path, tmp_path: Path) -> None:
    rows = trained_rows(voted)
    settings = replace(PLAIN, batch=len(rows), teacher_share=0.75, vote_share=0.25)
    batches = Batches(voted, settings, Teachers([teacher], voted.images[rows], tmp_path))
    for epoch in range(2):
        batches.start_epoch(epoch)
        order = np.random.default_rng([settings.seed, epoch]).permutation(len(rows))
        images, targets, _ = batches[0]
        shown = voted.images[rows[order]].astype(np.float32)
        for mine, face in zip(images[..., 0], shown, strict=True):
            assert np.allclose(mine, face) or np.allclose(mine, face[:, ::-1])
        own = soft_targets(voted, rows[order], vote_share=0.25)
        due = 0.25 * own
        due[:, :5] += 0.75 * own[:, :5].sum(axis=1, keepdims=True) * score(teacher, voted.images[rows[order]])
        due[:, 5:] += 0.75 * own[:, 5:]
        np.testing.assert_allclose(targets, due, atol=1e-5)


def test_teachers_are_asked_once_a_view_and_views_repeat(
    voted: Dataset, teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = voted.images[trained_rows(voted)]
    settings = replace(PLAIN, views=2, augmentation=Augmentation(), teacher_share=1.0)

    def targets() -> list[np.ndarray]:  # type: ignore[type-arg]
        batches = Batches(voted, replace(settings, batch=len(images)), Teachers([teacher], images, tmp_path))
        found = []
        for epoch in range(3):
            batches.start_epoch(epoch)
            found.append(batches[0][1][np.argsort(np.random.default_rng([3, epoch]).permutation(len(images)))])
        return found

    first, second, third = targets()
    np.testing.assert_array_equal(first, third)
    assert not np.allclose(first, second)
    assert len(list(tmp_path.glob("view-*.npy"))) == 2
    monkeypatch.setattr("train.fit.teacher.open_scorer", lambda _model: pytest.fail("the teacher is asked again"))
    np.testing.assert_array_equal(targets()[1], second)


def test_no_face_chips_have_flat_targets(voted: Dataset) -> None:
    rows = trained_rows(voted)
    points = np.full((len(rows), 68, 2), 24, np.float32)
    settings = replace(PLAIN, batch=len(rows), degrade_share=1e-9, vote_share=0.0)
    batches = Batches(voted, settings, None, points)
    flat, pictures = 0, 0
    for epoch in range(8):
        batches.start_epoch(epoch)
        targets = batches[0][1]
        pictures += len(targets)
        flat += int(np.isclose(targets, 1 / 7).all(axis=1).sum())
    assert 0.02 < flat / pictures < 0.09


def test_scores_of_another_teacher_are_not_taken_for_this_ones(dataset: Dataset, teacher: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.keras"
    plain_cnn((4, 4)).save(other)
    warp = Warp.draw(20, np.random.default_rng(0), Augmentation())
    first, second = (
        Teachers([model], dataset.images[:20], tmp_path / "kept").scores(0, warp) for model in (teacher, other)
    )
    assert not np.allclose(first, second)
