"""A face's own baseline: what is learned as rest, and what that changes."""

from typing import Any

import msgspec
import numpy as np
import pytest

from edge.events.baseline import Baseline
from edge.events.payloads import FaceReading
from edge.events.smoothing import EmotionSmoother
from edge.events.visits import Visits
from edge.faces.types import Box, TrackedFace
from edge.settings import SmoothingSettings

NEUTRAL = np.array([0.05, 0.03, 0.1, 0.02, 0.8])
SAD_AT_REST = np.array([0.05, 0.02, 0.48, 0.01, 0.44])
LAUGHING = np.array([0.01, 0.95, 0.01, 0.02, 0.01])


def learn(scores: list[Any], seconds: int) -> Baseline:
    baseline = Baseline()
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
    baseline = Baseline()
    for time_s in (0.0, 3600.0, 3500.0, 7200.0):
        baseline.update(SAD_AT_REST, time_s)
    assert not baseline.is_applied


@pytest.mark.parametrize("on", [True, False])
def test_reading_says_when_the_baseline_was_applied(on: bool) -> None:
    visits = Visits(SmoothingSettings(baseline=on), forget_after_s=3.0)
    chip, points = np.zeros((48, 48), np.uint8), np.zeros((68, 2), np.float32)
    for step in range(400):
        face = TrackedFace(1, Box(0, 0, 90, 90), points, chip, SAD_AT_REST.astype(np.float32))
        visits.update([face], step / 5)
    (reading,) = visits.readings()
    assert ("baseline" in msgspec.to_builtins(reading)) is on
    assert msgspec.json.decode(msgspec.json.encode(reading), type=FaceReading) == reading


def test_baseline_is_forgotten_with_the_visit() -> None:
    smoother = EmotionSmoother(SmoothingSettings(baseline=True))
    assert not smoother.update(SAD_AT_REST, 0.0).baseline
