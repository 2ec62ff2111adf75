from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge.emotions import EMOTIONS, UNCERTAIN
from edge.events.smoothing import EmotionSmoother
from edge.settings import SmoothingSettings

SETTINGS = SmoothingSettings(time_constant_s=0.5, confidence_floor=0.45, margin=0.1, hold_s=0.3)


def scores(**shares: float) -> NDArray[Any]:
    given = np.array([shares.get(emotion, 0.0) for emotion in EMOTIONS])
    rest = np.array([emotion not in shares for emotion in EMOTIONS])
    filled: NDArray[Any] = given + rest * (1 - given.sum()) / max(rest.sum(), 1)
    return filled


def feed(
    smoother: EmotionSmoother, frames: list[NDArray[Any]], *, start_s: float = 0.0, step_s: float = 0.1
) -> list[str]:
    return [smoother.update(frame, start_s + index * step_s).emotion for index, frame in enumerate(frames)]


def test_the_first_sure_frame_decides() -> None:
    assert EmotionSmoother(SETTINGS).update(scores(happy=0.9), 5.0).emotion == "happy"


def test_unsure_first_frame_is_uncertain_with_its_best_score() -> None:
    smoothed = EmotionSmoother(SETTINGS).update(scores(happy=0.4), 0.0)
    assert smoothed.emotion == UNCERTAIN
    assert smoothed.confidence == pytest.approx(0.4)


def test_one_odd_frame_changes_nothing() -> None:
    frames = [scores(neutral=0.9)] * 10 + [scores(surprise=1.0)] + [scores(neutral=0.9)] * 10
    assert set(feed(EmotionSmoother(SETTINGS), frames)) == {"neutral"}


def test_a_lasting_change_is_told_once_and_stays() -> None:
    told = feed(EmotionSmoother(SETTINGS), [scores(sad=0.9)] * 10 + [scores(happy=0.9)] * 20)
    assert told[9] == "sad"
    assert told[-1] == "happy"
    assert sum(a != b for a, b in pairwise(told)) == 1


def test_two_emotions_that_are_level_do_not_flicker() -> None:
    frames = [scores(sad=0.8)] * 5 + [scores(sad=0.47, neutral=0.5), scores(sad=0.5, neutral=0.47)] * 30
    assert set(feed(EmotionSmoother(SETTINGS), frames)) == {"sad"}


def test_the_lead_must_last_for_hold_s() -> None:
    smoother = EmotionSmoother(SmoothingSettings(time_constant_s=0, confidence_floor=0, margin=0, hold_s=1.0))
    told = feed(smoother, [scores(sad=0.9)] + [scores(happy=0.9)] * 15)
    assert told.index("happy") == 11  # the lead began with frame 1 and has lasted 1.0 s in frame 11


def test_confidence_fades_to_uncertain() -> None:
    told = feed(EmotionSmoother(SETTINGS), [scores(happy=0.9)] * 5 + [scores()] * 30)
    assert told[0] == "happy"
    assert told[-1] == UNCERTAIN


def test_the_frame_rate_does_not_matter() -> None:
    slow, fast = EmotionSmoother(SETTINGS), EmotionSmoother(SETTINGS)
    slow.update(scores(sad=0.9), 0.0)
    fast.update(scores(sad=0.9), 0.0)
    for index in range(1, 21):
        at_fast = fast.update(scores(happy=0.9), index * 0.05)
        if index % 2 == 0:
            at_slow = slow.update(scores(happy=0.9), index * 0.05)
    assert at_fast.scores == pytest.approx(at_slow.scores)


@given(
    st.lists(
        st.tuples(
            st.lists(st.floats(0.001, 1), min_size=5, max_size=5),
            st.floats(0, 2, allow_nan=False, allow_infinity=False),
        ),
        min_size=1,
        max_size=40,
    )
)
def test_scores_stay_shares_whatever_comes(frames: list[tuple[list[float], float]]) -> None:
    smoother = EmotionSmoother(SETTINGS)
    time_s = 0.0
    for raw, dt_s in frames:
        time_s += dt_s
        smoothed = smoother.update(np.array(raw) / sum(raw), time_s)
        assert smoothed.scores.sum() == pytest.approx(1)
        assert smoothed.emotion in {*EMOTIONS, UNCERTAIN}
        assert 0 <= smoothed.confidence <= 1
