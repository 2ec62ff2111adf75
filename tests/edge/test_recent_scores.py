"""Scores that are used again: for how long, for whom, and what ends it."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edge.faces.tracker import Track
from edge.faces.types import Box
from edge.inference.manifest import LogScores
from edge.pipeline import RecentScores

SMILE = np.random.default_rng(1).integers(0, 256, (48, 48)).astype(np.uint8)
FROWN = np.random.default_rng(2).integers(0, 256, (48, 48)).astype(np.uint8)


class Counting:
    """A classifier that is as sure as often as it was asked."""

    name = "counting"
    population: LogScores | None = None

    def __init__(self) -> None:
        self.asked: list[int] = []

    def scores(self, chips: NDArray[np.uint8], points: NDArray[np.float32]) -> NDArray[np.float32]:
        self.asked.append(len(chips))
        return np.full((len(chips), 5), len(self.asked), dtype=np.float32)


def seen(number: int, chip: NDArray[np.uint8] = SMILE) -> Track:
    return Track(Box(0, 0, 90, 90), np.zeros((68, 2), np.float32), chip, 0.0, 0.0, number=number)


@pytest.fixture
def classifier() -> Any:
    return Counting()


def test_unchanged_face_is_classified_a_few_times_a_second(classifier: Any) -> None:
    recent = RecentScores(0.06)
    told = [float(recent.of([seen(1)], frame / 25, classifier)[0, 0]) for frame in range(6)]
    assert told == [1, 1, 2, 2, 3, 3]


class Sure:
    """A classifier whose best score leads by this much."""

    name = "sure"

    def __init__(self, lead: float) -> None:
        self.row = np.array([[0, 0, 0, (1 + lead) / 2, (1 - lead) / 2]], np.float32)
        self.asked = 0

    def scores(self, chips: NDArray[np.uint8], points: NDArray[np.float32]) -> NDArray[np.float32]:
        self.asked += 1
        return self.row


@pytest.mark.parametrize(("lead", "asked"), [(0.9, 2), (0.7, 5), (0.0, 5)])
def test_clear_scores_are_kept_longer(lead: float, asked: int) -> None:
    sure: Any = Sure(lead)
    recent = RecentScores(0.06)
    for frame in range(9):
        recent.of([seen(1)], frame / 25, sure)
    assert sure.asked == asked


@pytest.mark.parametrize("lead", [0.9, 0.0])
def test_another_look_is_classified_however_clear_the_last_one_was(lead: float) -> None:
    sure: Any = Sure(lead)
    recent = RecentScores(10)
    for frame in range(4):
        recent.of([seen(1, (SMILE, FROWN)[frame % 2])], frame / 25, sure)
    assert sure.asked == 4


def test_another_look_is_classified_at_once(classifier: Any) -> None:
    recent = RecentScores(10)
    recent.of([seen(1)], 0.0, classifier)
    assert recent.of([seen(1, FROWN)], 0.01, classifier)[0, 0] == 2
    assert recent.of([seen(1, (FROWN // 2 + 20).astype(np.uint8))], 0.02, classifier)[0, 0] == 2  # less light


def test_faces_have_their_own_scores_and_only_due_are_classified(classifier: Any) -> None:
    recent = RecentScores(10)
    recent.of([seen(1)], 0.0, classifier)
    assert recent.of([seen(2), seen(1)], 0.01, classifier)[:, 0].tolist() == [2, 1]
    assert classifier.asked == [1, 1]
    recent.of([seen(2)], 0.02, classifier)
    recent.of([seen(1), seen(2)], 0.03, classifier)  # who was away is looked at anew
    assert classifier.asked == [1, 1, 1]


def test_another_classifier_is_asked_at_once(classifier: Any) -> None:
    recent = RecentScores(10)
    recent.of([seen(1)], 0.0, classifier)
    other = Counting()
    recent.of([seen(1)], 0.01, other)
    assert other.asked == [1]


def test_every_frame_is_classified_if_asked_or_time_goes_back(classifier: Any) -> None:
    every = RecentScores(0)
    for _ in range(3):
        every.of([seen(1)], 0.0, classifier)
    assert classifier.asked == [1, 1, 1]
    recent = RecentScores(10)
    recent.of([seen(1)], 5.0, classifier)
    recent.of([seen(1)], 1.0, classifier)
    assert classifier.asked == [1] * 5


class Sided:
    """A classifier that scores how bright the left half of a chip is."""

    name = "sided"

    def scores(self, chips: NDArray[np.uint8], points: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.repeat(chips[:, :, :24].mean(axis=(1, 2), dtype=np.float32)[:, np.newaxis], 5, axis=1)


def test_mirror_is_every_second_look_at_each_face() -> None:
    sided: Any = Sided()
    half = np.zeros((48, 48), np.uint8)
    half[:, :24] = 100
    recent, plain = RecentScores(0, mirror=True), RecentScores(0)
    told = [recent.of([seen(1, half), *([seen(2, half)] if look else [])], look, sided)[:, 0] for look in range(4)]
    assert [scores.tolist() for scores in told] == [[100], [0, 100], [100, 0], [0, 100]]
    assert [plain.of([seen(1, half)], look, sided)[0, 0] for look in range(3)] == [100, 100, 100]


def test_mirror_does_not_make_an_unchanged_face_due(classifier: Any) -> None:
    recent = RecentScores(10, mirror=True)
    for look in range(5):
        recent.of([seen(1)], look / 10, classifier)
    assert classifier.asked == [1]
