"""Capture: the newest frame wins, and a source that hangs does not block its reader."""

import threading
from collections.abc import Callable
from contextlib import closing

import pytest

from edge.cameras import Capture
from edge.errors import CameraError
from edge.frames import Frame
from tests.fakes.camera import FakeCamera, Hang, make_frame

pytestmark = pytest.mark.usefixtures("no_thread_stays")

TIMEOUT_S = 20.0


def wait_until(condition: Callable[[], bool]) -> None:
    tick = threading.Event()
    for _ in range(2000):
        if condition():
            return
        tick.wait(0.01)
    raise AssertionError("it did not come to pass")


def index_of(frame: Frame | None) -> int | None:
    return None if frame is None else frame.index


def test_the_newest_frame_wins_and_the_others_are_counted() -> None:
    hold = threading.Event()
    with closing(Capture(FakeCamera(*(make_frame(i) for i in range(5)), hold, make_frame(5)))) as capture:
        wait_until(lambda: capture.dropped == 4)

        assert index_of(capture.get(TIMEOUT_S)) == 4
        assert capture.dropped == 4
        hold.set()
        assert index_of(capture.get(TIMEOUT_S)) == 5
        assert capture.dropped == 4


def test_no_frame_is_given_twice() -> None:
    with closing(Capture(FakeCamera(make_frame(0), threading.Event()))) as capture:
        assert index_of(capture.get(TIMEOUT_S)) == 0
        with pytest.raises(CameraError, match=r"no frame within 0\.05 s"):
            capture.get(0.05)


def test_it_goes_on_after_a_silence() -> None:
    hold = threading.Event()
    with closing(Capture(FakeCamera(hold, make_frame(0)))) as capture:
        with pytest.raises(CameraError):
            capture.get(0.01)
        hold.set()

        assert index_of(capture.get(TIMEOUT_S)) == 0


def test_the_last_frame_comes_before_the_end() -> None:
    capture = Capture(FakeCamera(make_frame(0), make_frame(1)))
    wait_until(lambda: capture.dropped == 1)

    assert index_of(capture.get(TIMEOUT_S)) == 1
    assert capture.get(TIMEOUT_S) is None
    assert capture.get(TIMEOUT_S) is None
    capture.close()


@pytest.mark.parametrize("error", [CameraError("the cable is out"), ValueError("a fault")])
def test_the_last_frame_comes_before_the_failure(error: Exception) -> None:
    with closing(Capture(FakeCamera(make_frame(0), error))) as capture:
        assert index_of(capture.get(TIMEOUT_S)) == 0
        for _ in range(2):
            with pytest.raises(type(error), match=str(error)):
                capture.get(TIMEOUT_S)


def test_the_age_is_that_of_the_newest_frame() -> None:
    hold = threading.Event()
    with closing(Capture(FakeCamera(hold, make_frame(0), threading.Event()))) as capture:
        assert capture.newest_age_s() is None
        hold.set()
        wait_until(lambda: capture.newest_age_s() is not None)

        age_s = capture.newest_age_s()
        assert age_s is not None
        assert age_s >= 0


def test_a_read_that_hangs_hangs_neither_get_nor_close(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.cameras.capture.CLOSE_TIMEOUT_S", 0.05)
    never = threading.Event()
    camera = FakeCamera(Hang(never))
    capture = Capture(camera)

    with pytest.raises(CameraError, match="no frame"):
        capture.get(0.01)
    capture.close()

    assert camera.closed.is_set()
    assert capture.get(0.01) is None
    never.set()


def test_closing_wakes_a_get_that_waits() -> None:
    capture = Capture(FakeCamera(threading.Event()))
    got: list[Frame | None] = []
    waiting = threading.Thread(target=lambda: got.append(capture.get(TIMEOUT_S)))
    waiting.start()

    capture.close()
    capture.close()
    waiting.join(TIMEOUT_S)

    assert got == [None]


def test_a_source_that_is_not_live_is_pulled_without_a_thread() -> None:
    before = threading.active_count()
    camera = FakeCamera(*(make_frame(i) for i in range(20)), live=False)
    with closing(Capture(camera)) as capture:
        assert threading.active_count() == before
        got = [index_of(capture.get(TIMEOUT_S)) for _ in range(21)]

        assert got == [*range(20), None]
        assert capture.dropped == 0
    assert camera.closed.is_set()
    assert capture.get(TIMEOUT_S) is None
