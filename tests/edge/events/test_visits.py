import numpy as np
from numpy.typing import NDArray

from edge.events.visits import Visits
from edge.faces.types import Box, TrackedFace
from edge.settings import SmoothingSettings

HAPPY = np.array([0.02, 0.9, 0.02, 0.02, 0.04], np.float32)
SAD = np.array([0.02, 0.02, 0.9, 0.02, 0.04], np.float32)


def a_face(track: int, scores: NDArray[np.float32], *, width: int = 100) -> TrackedFace:
    nothing = np.zeros((68, 2), np.float32), np.zeros((48, 48), np.uint8)
    return TrackedFace(track, Box(10, 20, width, width), *nothing, scores)


def make_visits() -> Visits:
    return Visits(SmoothingSettings(time_constant_s=0.1, hold_s=0.1), forget_after_s=2.0)


def test_a_visit_appears_changes_and_leaves() -> None:
    visits = make_visits()
    moments = []
    for index in range(60):
        scores = HAPPY if index < 20 else SAD
        moments += visits.update([a_face(1, scores)] if index < 40 else [], index * 0.1)
    told = [(m.event_type, m.reading.emotion) for m in moments]
    assert told == [("face_appeared", "happy"), ("emotion_changed", "sad")]
    moments = visits.update([], 5.95)
    assert [(m.event_type, m.reading.emotion, m.reading.duration_s) for m in moments] == [("face_left", "sad", 3.9)]
    assert visits.readings() == []


def test_a_face_that_is_hidden_for_a_moment_has_not_left() -> None:
    visits = make_visits()
    visits.update([a_face(1, HAPPY)], 0.0)
    assert visits.update([], 1.9) == []
    assert visits.update([a_face(1, HAPPY)], 2.0) == []


def test_two_faces_are_told_apart_and_the_largest_is_first() -> None:
    visits = make_visits()
    moments = visits.update([a_face(1, HAPPY), a_face(2, SAD, width=150)], 0.0)
    assert [m.reading.face for m in moments] == [1, 2]
    assert [(r.face, r.emotion) for r in visits.readings()] == [(2, "sad"), (1, "happy")]


def test_the_end_of_a_clip_ends_every_visit() -> None:
    visits = make_visits()
    visits.update([a_face(1, HAPPY), a_face(2, SAD)], 0.0)
    assert {m.reading.face for m in visits.close(1.0) if m.event_type == "face_left"} == {1, 2}
    assert visits.close(1.0) == []
