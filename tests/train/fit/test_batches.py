"""What a step of training sees: which pictures, at what size, with which targets."""

import warnings
from pathlib import Path

import numpy as np
import pytest

from edge.errors import UsageError
from train.data.dataset import PARTS, Dataset
from train.fit.settings import FitSettings
from train.fit.targets import class_weights, match_shares, soft_targets
from train.networks.backend import choose_backend

choose_backend()
with warnings.catch_warnings():  # what TensorFlow's own imports deprecate is not ours to mend
    warnings.simplefilter("ignore")
    pytest.importorskip("keras", reason="needs the train extra")
    from train.fit.batches import Batches, trained_rows
    from train.fit.teacher import DistillationTargets
    from train.networks.device import DeviceCnnShape, device_cnn


@pytest.fixture
def voted(dataset: Dataset) -> Dataset:
    """Twenty training pictures are of other classes: half of them with votes for happy and sad, half without any."""
    labels = dataset.labels.copy()
    labels[:20] = -1
    votes = np.zeros((len(labels), 5), dtype=np.float32)
    votes[:10] = [0, 0.5, 0.5, 0, 0]
    votes[20:] = np.eye(5, dtype=np.float32)[4]
    return Dataset(dataset.images, labels, dataset.parts, votes, {})


def test_other_classes_join_only_with_votes_and_only_when_asked(voted: Dataset) -> None:
    train = np.flatnonzero(voted.parts == PARTS.index("train"))
    np.testing.assert_array_equal(trained_rows(voted, FitSettings()), train[20:])
    rows = trained_rows(voted, FitSettings(other_classes=True))
    np.testing.assert_array_equal(rows, np.concatenate([train[:10], train[20:]]))


def test_targets_mix_label_and_votes_and_take_votes_alone_where_no_label_fits(voted: Dataset) -> None:
    targets = soft_targets(voted, np.array([0, 20]), vote_share=0.25)
    np.testing.assert_allclose(targets[0], [0, 0.5, 0.5, 0, 0])
    label = int(voted.labels[20])
    np.testing.assert_allclose(targets[1], 0.75 * np.eye(5)[label] + 0.25 * np.eye(5)[4])


def test_scores_that_lean_to_one_emotion_are_brought_to_the_shares_of_the_labels() -> None:
    rng = np.random.default_rng(0)
    labels = np.array([0] * 100 + [1] * 50 + [4] * 50 + [-1] * 10, dtype=np.int8)
    scores = rng.dirichlet([1, 1, 0.5, 0.5, 4], size=len(labels)).astype(np.float32)
    matched = match_shares(scores, labels)
    np.testing.assert_allclose(matched.sum(axis=1), 1, atol=1e-5)
    shares = matched[:200].mean(axis=0)[[0, 1, 4]]
    np.testing.assert_allclose(shares / shares[1], [2, 1, 1], atol=0.01)
    # what a face is likelier to be than another face stays so
    assert (np.argsort(matched[:, 4] / matched[:, 0]) == np.argsort(scores[:, 4] / scores[:, 0])).mean() > 0.95


def test_shares_stay_where_no_face_has_a_label() -> None:
    scores = np.full((3, 5), 0.2, dtype=np.float32)
    np.testing.assert_array_equal(match_shares(scores, np.full(3, -1, dtype=np.int8)), scores)


def test_a_picture_without_a_class_weighs_one_and_a_rare_class_more_than_a_common_one() -> None:
    weights = class_weights(np.array([0] * 16 + [1] * 4 + [-1], dtype=np.int8), 0.5)
    assert weights[-1] == 1
    assert weights[:20].mean() == pytest.approx(1)
    assert weights[16] / weights[0] == pytest.approx(2)


def test_pictures_grow_with_the_epochs(dataset: Dataset) -> None:
    batches = Batches(dataset, FitSettings(epochs=4, batch=8, growing_sides=((0.5, 16), (0.75, 32))))
    sides = []
    for epoch in range(4):
        batches.start_epoch(epoch)
        sides.append(batches[0][0].shape[1:])
    assert sides == [(16, 16, 1), (16, 16, 1), (32, 32, 1), (48, 48, 1)]


@pytest.mark.parametrize("taught", [False, True])
def test_batches_that_threads_make_ahead_are_those_of_the_epoch_in_its_order(
    dataset: Dataset, tmp_path: Path, *, taught: bool
) -> None:
    """As Keras asks for them: it looks at the first one before the epoch, and an epoch may break off."""
    settings = FitSettings(batch=8, teacher_share=0.5, views=2, mix_share=0.5)
    rows = trained_rows(dataset, settings)
    taught_by = None
    if taught:
        teacher = tmp_path / "teacher.keras"
        device_cnn(DeviceCnnShape(stem=4, stages=(4,), blocks=(1,))).save(teacher)
        taught_by = DistillationTargets([teacher], dataset, rows, settings, tmp_path)
    alone, ahead = (Batches(dataset, settings, taught_by, threads=threads) for threads in (1, 4))
    assert ahead.workers == 1, "Keras's own queue would carry batches over into the next epoch"
    every = range(len(alone))
    for epoch, asked in enumerate([[0, *every], every, list(every)[: len(alone) // 2], every]):
        for batches in (alone, ahead):
            batches.start_epoch(epoch)
        for index in asked:
            ours, due = ahead[index], alone[index]
            for part in range(3):  # pictures, targets, weights
                np.testing.assert_array_equal(ours[part], due[part])


@pytest.mark.parametrize("sides", [((0.5, 64),), ((0.5, 4),), ((0.8, 32), (0.5, 40)), ((1.2, 32),)])
def test_sides_that_make_no_sense_are_refused(sides: tuple[tuple[float, int], ...]) -> None:
    with pytest.raises(UsageError, match="growing_sides"):
        FitSettings(growing_sides=sides)
