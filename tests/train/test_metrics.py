"""Figures, held against scikit-learn's."""

import json

import numpy as np
import pytest
from numpy.typing import NDArray

from edge.emotions import EMOTIONS
from edge.errors import DataError
from train.metrics import softmax, summarise

metrics = pytest.importorskip("sklearn.metrics", reason="needs the train extra")


@pytest.fixture
def scored() -> tuple[NDArray[np.float32], NDArray[np.int8]]:
    rng = np.random.default_rng(7)
    labels = rng.choice(5, p=[0.1, 0.4, 0.2, 0.1, 0.2], size=800).astype(np.int8)
    logits = rng.normal(size=(800, 5)) + 1.5 * np.eye(5)[labels]
    return softmax(logits), labels


def test_figures_agree_with_scikit_learn(scored: tuple[NDArray[np.float32], NDArray[np.int8]]) -> None:
    scores, labels = scored
    predicted = scores.argmax(axis=1)
    ours = summarise(scores, labels)
    assert ours.n == 800
    assert ours.accuracy == pytest.approx(metrics.accuracy_score(labels, predicted))
    assert ours.balanced_accuracy == pytest.approx(metrics.balanced_accuracy_score(labels, predicted))
    assert ours.confusion == metrics.confusion_matrix(labels, predicted).tolist()
    recall = metrics.recall_score(labels, predicted, average=None)
    assert list(ours.recall.values()) == pytest.approx(list(recall))
    assert list(ours.recall) == list(ours.support) == [str(emotion) for emotion in EMOTIONS]
    assert list(ours.support.values()) == np.bincount(labels).tolist()


def test_calibration_error_agrees_with_scikit_learns_curve(
    scored: tuple[NDArray[np.float32], NDArray[np.int8]],
) -> None:
    from sklearn.calibration import calibration_curve

    scores, labels = scored
    confidence, right = scores.max(axis=1), scores.argmax(axis=1) == labels
    observed, claimed = calibration_curve(right, confidence, n_bins=15)
    counts, _ = np.histogram(confidence, bins=np.linspace(0, 1, 16))
    expected = float((counts[counts > 0] / len(labels) * np.abs(observed - claimed)).sum())
    assert summarise(scores, labels).expected_calibration_error == pytest.approx(expected, abs=1e-6)


def test_the_interval_is_that_of_resampling_the_pictures(
    scored: tuple[NDArray[np.float32], NDArray[np.int8]],
) -> None:
    scores, labels = scored
    ours = summarise(scores, labels)
    low, high = ours.balanced_accuracy_interval
    assert low < ours.balanced_accuracy < high
    rng = np.random.default_rng(1)
    right = scores.argmax(axis=1) == labels
    drawn = [
        np.mean([rng.choice(right[labels == c], size=(labels == c).sum()).mean() for c in range(5)])
        for _ in range(1000)
    ]
    assert (low, high) == pytest.approx(tuple(np.percentile(drawn, [2.5, 97.5])), abs=0.01)


def test_the_same_scores_give_the_same_figures(scored: tuple[NDArray[np.float32], NDArray[np.int8]]) -> None:
    assert summarise(*scored) == summarise(*scored)
    assert json.loads(json.dumps(summarise(*scored).as_dict()))["n"] == 800


def test_an_emotion_that_does_not_occur_counts_for_nothing() -> None:
    scores = np.eye(5, dtype=np.float32)[[0, 0, 1, 2]]
    ours = summarise(scores, np.array([0, 0, 1, 1], dtype=np.int8))
    assert ours.balanced_accuracy == pytest.approx(0.75)
    assert ours.recall == {"angry": 1.0, "happy": 0.5}
    assert ours.support["neutral"] == 0


@pytest.mark.parametrize(
    ("scores", "labels", "said"),
    [
        (np.zeros((0, 5)), np.zeros(0), "at least one row"),
        (np.zeros((2, 4)), np.zeros(2), r"scores must be \[2, 5\]"),
        (np.zeros((3, 5)), np.zeros(2), r"scores must be \[2, 5\]"),
        (np.full((2, 5), np.nan), np.zeros(2), "not finite"),
        (np.zeros((2, 5)), np.array([0, -1]), r"labels must be 0\.\.4, found -1\.\.0"),
        (np.zeros((2, 5)), np.array([0, 5]), r"labels must be 0\.\.4, found 0\.\.5"),
    ],
)
def test_what_cannot_be_compared_is_refused(scores: NDArray[np.float64], labels: NDArray[np.int64], said: str) -> None:
    with pytest.raises(DataError, match=said):
        summarise(scores.astype(np.float32), labels.astype(np.int8))


def test_softmax_survives_large_logits() -> None:
    scores = softmax(np.array([[1000.0, 0.0], [-1000.0, -1000.0]]))
    np.testing.assert_allclose(scores, [[1.0, 0.0], [0.5, 0.5]])
