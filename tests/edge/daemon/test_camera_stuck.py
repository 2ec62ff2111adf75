"""A camera that hangs in its driver, and heeds neither its time limits nor that it is closed."""

import threading
from collections.abc import Callable, Iterator

import pytest

from edge.cameras import capture
from edge.daemon.camera import MAX_HANGING, WatchedCamera
from edge.daemon.opener import CLOSE_TIMEOUT_S, OPEN_TIMEOUT_S
from edge.daemon.signs import FIRST_FRAME_S
from edge.errors import CameraError
from edge.frames import FrameSource
from edge.settings import CameraWatchSettings
from tests.edge.daemon.test_camera import settle
from tests.fakes.camera import FakeCamera, Hang, Step, make_frame
from tests.fakes.clock import FakeClock

SILENT_S = CameraWatchSettings().silent_s


class SlowToClose(FakeCamera):
    """Hangs in `close` until the event is set."""

    def __init__(self, *steps: Step, until: threading.Event) -> None:
        super().__init__(*steps)
        self._until = until

    def close(self) -> None:
        self._until.wait()
        super().close()


class Site:
    """Opens what a test has lined up, one after another; an exception is raised."""

    def __init__(self) -> None:
        self.free = threading.Event()
        self.clock = FakeClock()
        self.next: list[FrameSource | Exception | Callable[[], FrameSource]] = []
        self.opened = 0
        self.camera = WatchedCamera(self._open, settings=CameraWatchSettings(), endless=True, clock=self.clock)

    def hanging(self) -> FakeCamera:
        """A camera that gives a picture and then hangs."""
        return FakeCamera(make_frame(100 + self.opened), Hang(self.free))

    def working(self) -> FakeCamera:
        return FakeCamera(*(make_frame(index) for index in range(100, 103)), threading.Event())

    def start(self, *cameras: "FrameSource | Exception | Callable[[], FrameSource]") -> None:
        self.next = list(cameras)
        self.camera.open()
        assert self.camera.next(20) is not None

    def fall_silent(self) -> None:
        self.clock.pass_time(SILENT_S)
        assert self.camera.next(0) is None
        assert self.camera.state == "failed"

    def go_on(self) -> None:
        """Close, and after the pause open: two steps of the loop."""
        settle()
        for _ in range(2):
            self.clock.pass_time(1.0)
            self.camera.next(0)
            settle()

    def _open(self) -> FrameSource:
        self.opened += 1
        camera = self.next.pop(0)
        if isinstance(camera, Exception):
            raise camera
        return camera() if callable(camera) else camera


def threads(name: str) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == name]


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setattr(capture, "CLOSE_TIMEOUT_S", 0.02)  # real seconds, for which a close waits for a read
    site = Site()
    yield site
    site.free.set()
    site.camera.close()
    for thread in threading.enumerate():
        if thread.name in {"camera opening", "camera closing", "capture"}:
            thread.join(20)


def test_loop_goes_on_during_a_closing_with_no_second_camera(site: Site) -> None:
    may_close = threading.Event()
    site.start(SlowToClose(make_frame(), Hang(may_close), until=may_close), site.working())
    site.fall_silent()  # returned, though the close still hangs
    for _ in range(10):
        site.clock.pass_time(0.25)
        assert site.camera.next(0) is None
    assert (site.opened, site.camera.state) == (1, "failed")
    may_close.set()
    site.go_on()
    assert site.camera.next(20) is not None
    assert (site.opened, site.camera.state, site.camera.failures) == (2, "ok", 1)


def test_a_close_that_never_ends_counts_as_hanging(site: Site) -> None:
    site.start(SlowToClose(make_frame(), Hang(site.free), until=site.free), CameraError("device busy"))
    site.fall_silent()
    site.clock.pass_time(CLOSE_TIMEOUT_S)
    site.camera.next(0)
    for thread in threads("camera opening"):
        thread.join(20)
    with pytest.raises(CameraError, match="keeps it from being reopened: device busy"):
        site.camera.next(0)


def test_one_that_hangs_does_not_keep_another_from_working(site: Site) -> None:
    site.start(site.hanging(), site.working())
    site.fall_silent()
    site.go_on()
    assert site.camera.next(20) is not None
    assert (len(threads("capture")), site.camera.state) == (2, "ok")


def test_hanging_camera_and_a_failed_attempt_end_the_program(site: Site) -> None:
    site.start(site.hanging(), CameraError("device busy"))
    site.fall_silent()
    with pytest.raises(CameraError, match="keeps it from being reopened: device busy") as told:
        site.go_on()
    assert told.value.exit_code == 69
    assert site.opened == 2


def test_the_same_where_it_opens_and_gives_nothing(site: Site) -> None:
    site.start(site.hanging(), FakeCamera(Hang(site.free)))
    site.fall_silent()
    site.go_on()
    site.clock.pass_time(FIRST_FRAME_S)
    with pytest.raises(CameraError, match="keeps it from being reopened: no frame for"):
        site.camera.next(0)


def test_three_that_hang_end_the_program(site: Site) -> None:
    site.start(*(site.hanging() for _ in range(MAX_HANGING)))
    for _ in range(MAX_HANGING - 1):
        site.fall_silent()
        site.go_on()
        assert site.camera.next(20) is not None
    site.fall_silent()
    with pytest.raises(CameraError, match="3 threads hang in the camera's driver; the last fault: no frame for"):
        site.go_on()
    assert site.opened == MAX_HANGING


def test_an_opening_that_hangs_ends_the_program(site: Site) -> None:
    def hang() -> FrameSource:
        site.free.wait()
        return site.working()

    site.start(FakeCamera(make_frame(), CameraError("gone")), hang)
    assert site.camera.next(20) is None
    settle()
    site.clock.pass_time(0.5)
    site.camera.next(0)
    site.clock.pass_time(OPEN_TIMEOUT_S)
    with pytest.raises(CameraError, match="keeps it from being reopened: it does not open within 30 s"):
        site.camera.next(0)


def test_pause_ends_the_program_if_an_earlier_camera_may_be_open(site: Site) -> None:
    site.start(site.hanging(), site.working())
    site.fall_silent()
    site.go_on()
    assert site.camera.next(20) is not None
    with pytest.raises(CameraError, match="does not close; the program ends so that the system closes it"):
        site.camera.pause()


def test_pause_ends_the_program_if_what_opens_does_not_close(site: Site) -> None:
    may_open = threading.Event()

    class Stuck(FakeCamera):
        left_behind = True

    def slow() -> FrameSource:
        may_open.wait()
        return Stuck(threading.Event())

    site.start(FakeCamera(make_frame(), CameraError("gone")), slow)
    assert site.camera.next(20) is None
    settle()
    site.clock.pass_time(0.5)
    site.camera.next(0)
    site.camera.pause()
    assert site.camera.next(0) is None
    may_open.set()
    settle()
    with pytest.raises(CameraError, match="does not close; the program ends so that the system closes it"):
        site.camera.next(0)


def test_a_camera_that_is_not_there_at_the_start_has_failed(site: Site) -> None:
    site.next = [CameraError("no such device")]
    with pytest.raises(CameraError):
        site.camera.open()
    assert (site.camera.state, site.camera.fault) == ("failed", "no such device")
