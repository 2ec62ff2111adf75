"""Opens and closes a camera in the background, so that a driver that hangs does not block the daemon."""

from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import dataclass
from typing import TypeVar

from edge.background import Worker
from edge.cameras import Capture
from edge.clock import Clock
from edge.errors import CameraError

OPEN_TIMEOUT_S = 30.0
"""Seconds after which an opening counts as hanging; every kind of camera has a shorter limit of its own."""
CLOSE_TIMEOUT_S = 9.0
"""The same for closing: picamera2 is given 5 s, the thread that reads 2 s."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Closing:
    closed: "Future[bool]"
    by_s: float


class Opener:
    """Opens and closes one camera; used by one thread, which waits for `all_closed` before it opens again.

    ``open_camera``: may block.
    """

    def __init__(self, open_camera: Callable[[], Capture], clock: Clock) -> None:
        self.hanging = 0
        """openings and closings that hang: the camera may still be open"""
        self._open_camera = open_camera
        self._clock = clock
        self._opening: Future[Capture] | None = None
        self._open_by_s = 0.0
        self._closings: list[_Closing] = []

    @property
    def is_opening(self) -> bool:
        """True while the camera is being opened; `opened` has the result."""
        return self._opening is not None

    def open(self) -> None:
        """Start opening the camera."""
        self._open_by_s = self._clock.monotonic() + OPEN_TIMEOUT_S
        self._opening = _in_background("camera opening", self._open_camera)

    def opened(self) -> Capture | None:
        """Return the camera once it is open, None until then.

        Raises `CameraError`: it takes too long and is abandoned. Also raises whatever the opening raised.
        """
        opening = self._opening
        if opening is None:
            return None
        if opening.done():
            self._opening = None
            return opening.result()
        if self._clock.monotonic() < self._open_by_s:
            return None
        self.cancel()
        self.hanging += 1
        raise CameraError(f"it does not open within {OPEN_TIMEOUT_S:g} s")

    def cancel(self) -> None:
        """Close the camera that is being opened as soon as it is open."""
        opening, self._opening = self._opening, None
        if opening is not None:
            self._close(lambda: opening.exception() is not None or opening.result().close(), self._open_by_s)

    def close(self, capture: Capture) -> None:
        """Start closing the camera."""
        self._close(capture.close, self._clock.monotonic())

    def all_closed(self) -> bool:
        """Return True once nothing is being closed; what fails to close or takes too long counts as `hanging`."""
        now_s = self._clock.monotonic()
        waiting = []
        for one in self._closings:
            if not one.closed.done() and now_s < one.by_s:
                waiting.append(one)
            elif not one.closed.done() or one.closed.exception() is not None or not one.closed.result():
                self.hanging += 1
        self._closings = waiting
        return not waiting

    def wait(self, timeout_s: float) -> None:
        """Wait until everything is closed, or the time is up."""
        wait([one.closed for one in self._closings], timeout_s)

    def _close(self, call: Callable[[], bool], may_begin_by_s: float) -> None:
        self._closings.append(_Closing(_in_background("camera closing", call), may_begin_by_s + CLOSE_TIMEOUT_S))


def _in_background(name: str, call: Callable[[], T]) -> "Future[T]":
    worker = Worker(name)
    future = worker.submit(call)
    worker.leave()
    return future
