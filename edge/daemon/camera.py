"""The daemon's camera: watched, opened again when it fails, closed while privacy is asked for."""

import logging
from collections.abc import Callable

from edge.backoff import Backoff
from edge.cameras import Capture, NoFrameYetError
from edge.clock import Clock
from edge.daemon.opener import CLOSE_TIMEOUT_S, Opener
from edge.daemon.signs import Signs
from edge.errors import CameraError
from edge.events.payloads import CameraState
from edge.frames import Frame, FrameSource
from edge.settings import CameraWatchSettings

CLIP_TIMEOUT_S = 5.0
"""A clip that gives nothing for this long is broken."""
STEADY_S = 10.0
"""A camera that has worked for this long has recovered: the next failure is a first one again."""
LEFT_BEHIND = 3
"""Threads that hang in a driver are too many: only a new process gets rid of them."""
_STAYS_OPEN = "the camera hangs and does not close; the program ends so that it is let go of"

log = logging.getLogger(__name__)


class WatchedCamera:
    """Gives frames for as long as there are any; used by one thread.

    A camera that is silent, frozen or gone is closed and opened again, both in the background, with growing pauses; so
    is one that is black, for which they grow longer. One that does not let go of its device is opened again once: if
    that fails too, a new process is needed. A clip is neither watched nor opened again: its end is its end.

    Parameters
    ----------
    open_source
        Opens it; where it is opened again that happens in a thread of its own, and may block.
    settings
        What counts as a failure, and how many are too many.
    endless
        True for a camera, False for a clip or a folder.
    backoff
        Pauses between two attempts.
    """

    def __init__(
        self,
        open_source: Callable[[], FrameSource],
        *,
        settings: CameraWatchSettings,
        endless: bool,
        clock: Clock,
        backoff: Backoff | None = None,
    ) -> None:
        self.ended = False
        """a clip has come to its end"""
        self.failures = 0
        """faults of the camera since the start"""
        self.fault: str | None = None
        """what is wrong now, a phrase"""
        self._open_source = open_source
        self._settings = settings
        self._endless = endless
        self._clock = clock
        self._backoff = backoff or Backoff(first_s=0.5, most_s=30.0)
        # Night looks like a broken camera, and no new start makes it day.
        self._night_backoff = Backoff(first_s=0.5, most_s=300.0)
        self._capture: Capture | None = None
        self._opener = Opener(self._open, clock)
        self._signs = Signs(settings, clock.monotonic())
        self._paused = self._seen = self._black = self._works = False
        self._attempts = self._nights = 0
        self._retry_at_s = self._night_retry_at_s = clock.monotonic()
        self._failed_s = clock.monotonic()
        self._dropped = 0

    @property
    def is_open(self) -> bool:
        """Whether frames may come; while it is not, `next` returns at once."""
        return self._capture is not None and not self.ended

    @property
    def state(self) -> CameraState:
        """How the camera is, in the word that subscribers read."""
        if self._paused:
            return "paused"
        if self.fault is not None:
            return "black" if self._black else "failed"
        return "ok" if self._seen else "starting"

    @property
    def dropped(self) -> int:
        """Frames that a newer one replaced before they were taken."""
        return self._dropped + (self._capture.dropped if self._capture is not None else 0)

    def newest_age_s(self) -> float | None:
        """Seconds since a frame last came, None before the first and while the camera is closed."""
        return self._capture.newest_age_s() if self._capture is not None else None

    def open(self) -> None:
        """Open it for the first time, and wait for that.

        Raises
        ------
        CameraError, ConfigError
            It is not there. At the start nobody is helped by a program that tries in silence.
        """
        try:
            self._begin(self._open())
        except CameraError as error:
            self.fault = str(error)
            raise

    def next(self, wait_s: float) -> Frame | None:
        """Return a frame that has not been returned before, None where none came within ``wait_s``.

        Raises
        ------
        CameraError
            It has failed too often in a row, or hangs so that only the end of the process frees it; or a clip failed.
        """
        if self.ended:
            return None
        if self._capture is None:
            if self._has_let_go() and not self._paused:
                self._go_on_opening()
            return None
        read = self._next_of_camera if self._endless else self._next_of_clip
        return read(self._capture, wait_s)

    def pause(self) -> None:
        """Begin to close the camera, so that its light goes off, and keep it closed.

        It closes in the background, so that a stop need not wait for it.

        Raises
        ------
        CameraError
            It hangs, so that only a new process gets it closed; raised by `next` where that is not known yet.
        """
        self._paused, self.fault, self._black = True, None, False
        self._opener.cancel()
        self._close()
        self._has_let_go()

    def resume(self) -> None:
        """Open the camera again, at once, in the background."""
        if self._paused:
            self._paused = self._seen = False
            self._attempts = 0
            self._retry_at_s = self._clock.monotonic()

    def close(self, timeout_s: float = CLOSE_TIMEOUT_S) -> None:
        """Close the camera permanently, in the background, and wait for that no longer than ``timeout_s``."""
        self._paused = True
        self._opener.cancel()
        self._close()
        self._opener.wait(timeout_s)

    def _next_of_camera(self, capture: Capture, wait_s: float) -> Frame | None:
        try:
            frame = capture.get(wait_s)
        except NoFrameYetError:
            self._judge()
            return None
        except Exception as error:  # noqa: BLE001  # whatever a driver raises: it is opened again
            self._fail(str(error))
            return None
        if frame is None:
            self._fail("it has ended")
            return None
        self._seen = self._works = True
        self._signs.saw(frame.luma, self._clock.monotonic())
        self._judge()
        return frame if self.fault is None else None

    def _next_of_clip(self, capture: Capture, wait_s: float) -> Frame | None:
        try:
            frame = capture.get(wait_s)
        except NoFrameYetError:
            if self._clock.monotonic() - self._failed_s >= CLIP_TIMEOUT_S:
                raise CameraError(f"the clip gave no frame within {CLIP_TIMEOUT_S:g} s") from None
            return None
        self._seen, self.ended = True, frame is None
        self._failed_s = self._clock.monotonic()
        return frame

    def _judge(self) -> None:
        """Look for signs of a failure, or of recovery."""
        now_s = self._clock.monotonic()
        fault = self._signs.fault(now_s)
        if fault is not None:
            self._fail(fault)
            return
        if self._signs.is_black():
            self._wait_for_light(now_s)
            return
        if self.fault is not None and self._signs.is_seeing():
            log.info("the camera is back")
            self.fault, self._black = None, False
        if now_s - self._failed_s >= STEADY_S:
            self._attempts = self._nights = 0

    def _fail(self, fault: str) -> None:
        now_s = self._clock.monotonic()
        self.failures += 1
        self._attempts += 1
        self.fault, self._failed_s, self._black = fault, now_s, False
        stays_away = self._opener.left_behind > 0 and not self._works
        self._close()
        if not self._endless:
            raise CameraError(fault)
        if self._attempts >= self._settings.attempts:
            raise CameraError(f"the camera failed {self._attempts} times in a row; the last time: {fault}")
        if stays_away:
            raise CameraError(f"what hangs in the camera's driver keeps it from being opened again: {fault}")
        pause_s = self._backoff.delay_s(self._attempts)
        self._retry_at_s = now_s + pause_s
        log.warning("the camera has failed (%s); it is opened again in %.1f s", fault, pause_s)

    def _wait_for_light(self, now_s: float) -> None:
        """Open a black camera again now and then; at night that changes nothing, so frames are taken as they are."""
        if not self._black:
            self.failures += 1
            self.fault, self._black = "the picture is black", True
            self._night_retry_at_s = now_s
            log.warning("the picture of the camera is black; is it night, or is something before the lens?")
        self._failed_s = now_s
        if now_s >= self._night_retry_at_s:
            self._nights += 1
            self._night_retry_at_s = now_s + self._night_backoff.delay_s(self._nights + 3)
            self._close()
            self._retry_at_s = now_s

    def _go_on_opening(self) -> None:
        if not self._opener.is_opening:
            if self._clock.monotonic() >= self._retry_at_s:
                self._opener.open()
            return
        try:
            capture = self._opener.opened()
        except Exception as error:  # noqa: BLE001  # as above
            self._fail(str(error))
            return
        if capture is not None:
            self._begin(capture)

    def _open(self) -> Capture:
        return Capture(self._open_source())

    def _has_let_go(self) -> bool:
        """Whether what was closed is closed, so that it can be opened again."""
        has_let_go = self._opener.has_let_go()
        hanging = self._opener.left_behind
        if self._paused and hanging:
            raise CameraError(_STAYS_OPEN)
        if hanging >= LEFT_BEHIND:
            raise CameraError(f"{hanging} threads hang in the camera's driver; the last fault: {self.fault}")
        return has_let_go

    def _begin(self, capture: Capture) -> None:
        self._capture = capture
        self._failed_s = self._clock.monotonic()
        self._signs = Signs(self._settings, self._failed_s)

    def _close(self) -> None:
        capture, self._capture, self._works = self._capture, None, False
        if capture is not None:
            self._dropped += capture.dropped
            self._opener.close(capture)
