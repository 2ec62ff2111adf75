"""A face's own baseline: what is learned as rest, and what that changes."""

from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from edge.events.baseline import Baseline, mean_log_scores
from edge.events.payloads import FaceReading
from edge.events.visits import Visits
from edge.faces.types import Box, TrackedFace
from edge.inference.manifest import LogScores
from edge.settings import SmoothingSettings

POPULATION = (-3.2, -3.5, -2.5, -4.4, -0.75)
NEUTRAL = np.array([0.05, 0.03, 0.1, 0.02, 0.8])
SAD_AT_REST = np.array([0.05, 0.02, 0.48, 0.01, 0.44])
LAUGHING = np.array([0.01, 0.95, 0.01, 0.02, 0.01])


def learn(scores: list[Any], seconds: int) -> Baseline:
    baseline = Baseline(POPULATION)
    for step in range(seconds * 5):
        baseline.update(scores[step % len(scores)], step / 5)
    return baseline


def test_face_that_looks_sad_at_rest_becomes_neutral() -> None:
    baseline = learn([SAD_AT_REST], 240)
    changed = baseline.update(SAD_AT_REST, 240.2)
    assert baseline.is_applied
    assert changed.sum() == pytest.approx(1)
    assert changed.argmax() == 4


def test_baseline_waits_until_it_has_seen_enough_rest() -> None:
    baseline = learn([SAD_AT_REST], 5)
    assert not baseline.is_applied
    assert baseline.update(SAD_AT_REST, 5.2) == pytest.approx(SAD_AT_REST)


@pytest.mark.parametrize("minutes", [2, 10])
def test_long_laugh_is_not_learned_as_rest(minutes: int) -> None:
    baseline = learn([LAUGHING], 60 * minutes)
    assert not baseline.is_applied
    assert baseline.update(LAUGHING, 60 * minutes + 1)[1] > 0.9


def test_half_of_the_time_in_view_does_not_hide_a_laugh() -> None:
    baseline = learn([NEUTRAL, LAUGHING], 240)
    assert baseline.update(LAUGHING, 241)[1] > 0.9


def test_gap_in_time_counts_as_one_second_at_most() -> None:
    baseline = Baseline(POPULATION)
    for time_s in (0.0, 3600.0, 3500.0, 7200.0):
        baseline.update(SAD_AT_REST, time_s)
    assert not baseline.is_applied


def face(scores: NDArray[Any]) -> TrackedFace:
    chip, points = np.zeros((48, 48), np.uint8), np.zeros((68, 2), np.float32)
    return TrackedFace(1, Box(0, 0, 90, 90), points, chip, scores.astype(np.float32))


def visit(visits: Visits, population: LogScores | None, *, begin_s: float = 0.0) -> FaceReading:
    """Show a face that looks sad at rest for 80 s."""
    for step in range(400):
        visits.update([face(SAD_AT_REST)], begin_s + step / 5, population)
    (reading,) = visits.readings()
    return reading


@pytest.mark.parametrize(("on", "population", "applied"), [
    (True, POPULATION, True),
    (False, POPULATION, False),
    (True, None, False),
], ids=["on", "off", "no population"])  # fmt: skip
def test_reading_says_when_the_baseline_was_applied(on: bool, population: LogScores | None, applied: bool) -> None:
    reading = visit(Visits(SmoothingSettings(baseline=on), forget_after_s=3.0), population)
    assert ("baseline" in msgspec.to_builtins(reading)) is applied
    assert msgspec.json.decode(msgspec.json.encode(reading), type=FaceReading) == reading


def test_baseline_is_forgotten_with_the_visit() -> None:
    visits = Visits(SmoothingSettings(baseline=True), forget_after_s=3.0)
    assert visit(visits, POPULATION).baseline is True
    [left] = visits.update([], 90.0, POPULATION)
    assert (left.event_type, left.reading.baseline) == ("face_left", True)
    visits.update([face(SAD_AT_REST)], 91.0, POPULATION)
    assert visits.readings()[0].baseline is msgspec.UNSET


def test_baseline_begins_anew_with_another_network() -> None:
    visits = Visits(SmoothingSettings(baseline=True), forget_after_s=3.0)
    visit(visits, POPULATION)
    visits.update([face(SAD_AT_REST)], 80.0, (-1.0, -2.0, -3.0, -4.0, -5.0))
    assert visits.readings()[0].baseline is msgspec.UNSET
    assert visit(visits, POPULATION, begin_s=81.0).baseline is True
    visits.update([face(SAD_AT_REST)], 161.0, None)
    assert visits.readings()[0].baseline is msgspec.UNSET


def test_population_counts_faces_at_rest_and_each_emotion_alike() -> None:
    scores = np.stack([NEUTRAL, LAUGHING, LAUGHING, LAUGHING])
    told = mean_log_scores(scores, np.array([4, 1, 1, 1]))
    expected = (0.8 * np.log(NEUTRAL) + 0.01 * np.log(LAUGHING)) / 0.81
    assert told == pytest.approx(expected, abs=1e-3)


def test_population_of_scores_without_any_neutral_is_finite() -> None:
    told = mean_log_scores(np.array([[1.0, 0, 0, 0, 0]], np.float32), np.array([0]))
    assert told == pytest.approx((0, *4 * [np.log(1e-3)]), abs=1e-3)
