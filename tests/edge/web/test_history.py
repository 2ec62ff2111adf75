"""The last hour: spans of faces and of the camera, bounded in time and number."""

from edge.events.payloads import EventType, FaceReading
from edge.events.visits import Moment
from edge.web.history import CAMERA, LENGTH_S, MOST_SPANS, History

SCORES = {"angry": 0.0, "happy": 1.0, "sad": 0.0, "surprise": 0.0, "neutral": 0.0}


def moment(event_type: EventType, face: int, emotion: str = "happy") -> Moment:
    reading = FaceReading(
        face=face, box=(0, 0, 9, 9), emotion=emotion, confidence=0.9, scores=SCORES, duration_s=0.0,  # type: ignore[arg-type]
    )  # fmt: skip
    return Moment(event_type, reading, 0.0)


def shown(history: History) -> list[tuple[int, str, float, float | None]]:
    return [(span.face, span.what, span.from_s, span.to_s) for span in history.since(-1)[1]]


def test_history_has_a_span_for_each_emotion_of_a_visit() -> None:
    history = History()
    history.add([moment("face_appeared", 1), moment("face_appeared", 2, "sad")], 10.0)
    history.add([moment("emotion_changed", 1, "neutral")], 15.0)
    history.add([moment("face_left", 1, "neutral")], 20.0)
    assert sorted(shown(history)) == [(1, "happy", 10.0, 15.0), (1, "neutral", 15.0, 20.0), (2, "sad", 10.0, None)]


def test_history_tells_only_what_changed() -> None:
    history = History()
    history.add([moment("face_appeared", 1)], 10.0)
    version, _ = history.since(-1)
    assert history.since(version) == (version, [])
    history.add([moment("face_left", 1)], 12.0)
    assert [(span.face, span.to_s) for span in history.since(version)[1]] == [(1, 12.0)]


def test_history_of_the_camera_has_its_states_once() -> None:
    history = History()
    for state, now_s in (("ok", 1.0), ("ok", 2.0), ("paused", 3.0), ("ok", 4.0)):
        history.add_camera(state, now_s)  # type: ignore[arg-type]
    assert sorted(shown(history), key=lambda span: span[2]) == [
        (CAMERA, "ok", 1.0, 3.0), (CAMERA, "paused", 3.0, 4.0), (CAMERA, "ok", 4.0, None)
    ]  # fmt: skip


def test_history_forgets_what_ended_an_hour_ago_and_keeps_what_lasts() -> None:
    history = History()
    history.add_camera("ok", 0.0)
    history.add([moment("face_appeared", 1), moment("face_appeared", 2)], 1.0)
    history.add([moment("face_left", 2)], 2.0)
    history.add([moment("face_appeared", 3)], 3.0 + LENGTH_S)
    assert {span[0] for span in shown(history)} == {CAMERA, 1, 3}


def test_history_is_bounded_though_faces_and_camera_change_all_the_time() -> None:
    history = History()
    history.add([moment("face_appeared", 1)], 0.0)
    for number in range(2, MOST_SPANS + 500):
        history.add([moment("face_appeared", number), moment("face_left", number)], number / 10)
        history.add_camera("failed" if number % 2 else "ok", number / 10)
    spans = shown(history)
    assert len(spans) <= MOST_SPANS
    assert (1, "happy", 0.0, None) in spans
