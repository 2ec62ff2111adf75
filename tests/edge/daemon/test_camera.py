"""A camera that fails is noticed, opened again, and given up in the end; a clip that ends has ended."""

import gc
import os
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from edge.backoff import Backoff
from edge.daemon.camera import STEADY_S, WatchedCamera
from edge.errors import CameraError
from edge.frames import Frame, FrameSource
from edge.settings import CameraWatchSettings
from tests.fakes.camera import FakeCamera, make_frame
from tests.fakes.clock import FakeClock

STEP_S = 0.25
FAULTS = ("hang", "end", "freeze", "black", "vanish")


class Device:
    """A camera that a test breaks; opening it again mends it unless it is ``gone``. Each opening holds a file."""

    live = True

    def __init__(self) -> None:
        self.opened = self.closed = 0
        self.gone: Exception | None = None
        self.fault: str | None = None
        self._wanted = threading.Semaphore(0)
        self._noise = np.random.default_rng(1)

    def open(self) -> FrameSource:
        if self.gone is not None:
            raise self.gone
        self.fault = None
        self.opened += 1
        return _Opened(self)

    def give(self) -> None:
        """Let one read return."""
        self._wanted.release()

    def take(self, timeout_s: float) -> bool:
        return self._wanted.acquire(timeout=timeout_s)

    def picture(self, index: int) -> Frame:
        luma = {"freeze": np.full((48, 64), 99, np.uint8), "black": np.zeros((48, 64), np.uint8)}.get(self.fault or "")
        if luma is None:
            luma = self._noise.integers(90, 110, (48, 64), np.uint8)
        return Frame(luma, index / 15, index)


class _Opened:
    live = True

    def __init__(self, device: Device) -> None:
        self._device = device
        self._closed = threading.Event()
        self._file = os.open(os.devnull, os.O_RDONLY)
        self._index = 0

    def read(self, timeout_s: float) -> Frame | None:
        while not self._closed.is_set():
            if not self._device.take(0.02):
                continue
            if self._device.fault == "hang":
                self._closed.wait()
            if self._device.fault == "vanish":
                raise CameraError("stopped giving frames")
            if self._device.fault == "end" or self._closed.is_set():
                return None
            self._index += 1
            return self._device.picture(self._index)
        return None

    def close(self) -> None:
        if not self._closed.is_set():
            self._closed.set()
            self._device.closed += 1
            os.close(self._file)


def settle() -> None:
    """Let the threads that open and close end: the clock stands still while this machine works."""
    for thread in threading.enumerate():
        if thread.name in ("camera opening", "camera closing"):
            thread.join(20)


class Site:
    """The device, watched, on a clock of the test's own; `step` is what the loop does every quarter of a second."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.device = Device()
        self.camera = WatchedCamera(
            lambda: self.device.open(),  # noqa: PLW0108  # a test may replace it
            settings=CameraWatchSettings(),
            endless=True,
            clock=self.clock,
        )
        self.states: list[str] = []

    def step(self) -> Frame | None:
        self.clock.pass_time(STEP_S)
        if self.camera.is_open and self.device.fault != "hang":
            self.device.give()
            frame = self.camera.next(20)
        else:
            frame = self.camera.next(0)
            settle()
        self._note()
        return frame

    def steps_until(self, done: Callable[[], bool], most: int = 1000) -> float:
        """Return the seconds of the fake clock that it took."""
        began_s = self.clock.monotonic()
        for _ in range(most):
            if done():
                return self.clock.monotonic() - began_s
            self.step()
        raise AssertionError("it did not come to pass")

    def run(self, seconds: float) -> None:
        for _ in range(int(seconds / STEP_S)):
            self.step()

    def _note(self) -> None:
        if self.states[-1:] != [self.camera.state]:
            self.states.append(self.camera.state)


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()
    site.camera.open()
    yield site
    site.camera.close()


def handles() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.slow("goes through a hundred faults")
def test_hundred_faults_each_end_within_5_s_and_leave_nothing(site: Site) -> None:
    site.run(STEADY_S)
    gc.collect()
    threads, files = threading.active_count(), handles()
    tracemalloc.start()
    memory = tracemalloc.get_traced_memory()[0]
    took_s: dict[str, list[float]] = {fault: [] for fault in FAULTS}
    for round_ in range(100):
        fault = FAULTS[round_ % len(FAULTS)]
        opened = site.device.opened
        site.device.fault = fault
        took_s[fault].append(site.steps_until(lambda before=opened: site.device.opened > before  # type: ignore[misc]
                                              and site.camera.state == "ok"))  # fmt: skip
        site.run(STEADY_S)
        assert site.camera.failures == round_ + 1
    assert max(max(times) for times in took_s.values()) <= 5.0
    assert site.device.opened == 101
    assert site.device.closed == 100
    gc.collect()
    grown = tracemalloc.get_traced_memory()[0] - memory
    tracemalloc.stop()
    assert grown < 200_000, "bytes; one frame kept a fault would be 307,200"
    assert threading.active_count() <= threads
    assert handles() <= files


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_told_and_so_is_its_end(site: Site, fault: str) -> None:
    site.run(1)
    site.device.fault = fault
    site.steps_until(lambda: site.camera.fault is not None)
    said = {
        "hang": "no frame for 3",
        "end": "it has ended",
        "freeze": "the same picture for 3",
        "black": "the picture is black",
        "vanish": "stopped giving frames",
    }
    assert str(site.camera.fault).startswith(said[fault])
    site.steps_until(lambda: site.camera.state == "ok")
    assert site.camera.fault is None
    assert site.states[0] == "ok"
    assert site.states[1] == ("black" if fault == "black" else "failed")


def test_a_camera_that_stays_away_is_given_up_for_systemd_to_try(site: Site) -> None:
    site.run(1)
    site.device.gone = CameraError("v4l2:/dev/video0: no such device")
    site.device.fault = "vanish"
    with pytest.raises(CameraError, match=r"failed 8 times in a row; the last time: v4l2:/dev/video0: no such") as told:
        site.run(600)
    assert told.value.exit_code == 69
    # Half to whole of 0.5 + 1 + 2 + 4 + 8 + 16 + 30 s of pauses.
    assert 30 < site.clock.monotonic() - 101 < 75


def test_the_pauses_between_attempts_grow() -> None:
    site = Site()
    site.camera.open()
    site.device.gone, site.device.fault = CameraError("gone"), "vanish"
    at_s: list[float] = []
    while len(at_s) < 7:  # the eighth ends the program
        before = site.camera.failures
        site.step()
        if site.camera.failures > before:
            at_s.append(site.clock.monotonic())
    waits = np.diff(at_s)
    assert waits[-1] > 8 * waits[0]


def test_a_night_is_waited_for_and_never_ends_the_program(site: Site) -> None:
    site.run(STEADY_S)
    night = site.device.open

    def dark() -> FrameSource:
        opened = night()
        site.device.fault = "black"
        return opened

    site.device.open = dark  # type: ignore[method-assign]
    site.device.fault = "black"
    site.run(3600)
    assert site.camera.state == "black"
    assert site.device.opened < 40, "opened again ever more seldom, every five minutes at the most"
    site.device.fault = None
    assert site.steps_until(lambda: site.camera.state == "ok") <= 1.0


def test_a_clip_that_ends_has_ended() -> None:
    clip = FakeCamera(make_frame(0), make_frame(1), live=False)
    camera = WatchedCamera(lambda: clip, settings=CameraWatchSettings(), endless=False, clock=FakeClock())
    camera.open()
    frames = [camera.next(1), camera.next(1), camera.next(1)]
    assert [frame is None for frame in frames] == [False, False, True]
    assert camera.ended
    assert camera.failures == 0
    camera.close()


def test_a_camera_that_is_not_there_at_the_start_is_said_at_once() -> None:
    site = Site()
    site.device.gone = CameraError("no such device")
    with pytest.raises(CameraError, match="no such device"):
        site.camera.open()


def test_a_pause_closes_the_camera_and_its_end_opens_it(site: Site) -> None:
    site.run(1)
    site.camera.pause()
    settle()
    assert (site.camera.state, site.camera.is_open, site.device.closed) == ("paused", False, 1)
    site.run(60)
    assert (site.device.opened, site.camera.failures) == (1, 0)
    site.camera.resume()
    assert site.steps_until(lambda: site.camera.state == "ok") <= 1.0
    assert site.device.opened == 2


def test_pause_during_an_opening_closes_the_camera_all_the_same(site: Site) -> None:
    opening, may_open, opened = threading.Event(), threading.Event(), site.device.open

    def slow() -> FrameSource:
        opening.set()
        may_open.wait(20)
        return opened()

    site.device.open = slow  # type: ignore[method-assign]
    site.device.fault = "vanish"
    site.device.give()
    site.camera.next(20)
    settle()
    site.clock.pass_time(1)
    site.camera.next(0)
    assert opening.wait(20)
    site.camera.pause()
    assert site.camera.next(0) is None
    may_open.set()
    settle()
    assert site.camera.next(0) is None
    assert site.device.closed == site.device.opened == 2


def test_camera_that_does_not_close_for_privacy_ends_the_program() -> None:
    class Stuck(FakeCamera):
        left_behind = True

    camera = WatchedCamera(
        lambda: Stuck(threading.Event()), settings=CameraWatchSettings(), endless=True, clock=FakeClock(),
        backoff=Backoff(0.1, 0.1),
    )  # fmt: skip
    camera.open()
    camera.pause()
    settle()
    with pytest.raises(CameraError, match="does not close; the program ends so that the system closes it"):
        camera.next(0)
    assert camera.state == "paused"
