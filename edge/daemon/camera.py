"""The daemon's camera: watched, reopened when it fails, closed during a privacy pause."""

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
"""Seconds without a frame after which a clip counts as broken."""
STEADY_S = 10.0
"""Seconds of work after which a camera has recovered: the count of failures in a row starts at zero."""
MAX_HANGING = 3
"""Threads hanging in a driver at which the program ends; only a new process gets rid of them."""
_STAYS_OPEN = "the camera hangs and does not close; the program ends so that the system closes it"

log = logging.getLogger(__name__)


class WatchedCamera:
    """A camera that is reopened when it fails; used by one thread.

    A camera that is silent, frozen or gone is closed and reopened in the background, with growing pauses between
    attempts; a black one too, with longer pauses. If it hangs while closing, it is reopened once; if that fails too,
    only a new process helps. A clip is neither watched nor reopened.

    ``open_source``: opens it, and may block: every opening but the first runs in a thread of its own.
    ``settings``: what counts as a failure, and how many in a row end the program.
    ``endless``: True for a camera, False for a clip or a folder.
    ``backoff``: pauses between attempts to open it.
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
        """True once a clip has ended"""
        self.failures = 0
        """failures since the start"""
        self.fault: str | None = None
        """what is wrong now, in a few words; None if nothing is"""
        self._open_source = open_source
        self._settings = settings
        self._endless = endless
        self._clock = clock
        self._backoff = backoff or Backoff(first_s=0.5, most_s=30.0)
        # Night looks like a broken camera, but reopening does not help: try ever more seldom.
        self._night_backoff = Backoff(first_s=0.5, most_s=300.0)
        self._capture: Capture | None = None
        self._opener = Opener(self._open, clock)
        self._signs = Signs(settings, clock.monotonic())
        self._paused = self._seen = self._black = self._delivers = False
        self._attempts = self._nights = 0
        self._retry_at_s = self._night_retry_at_s = clock.monotonic()
        self._failed_s = clock.monotonic()
        self._dropped = 0

    @property
    def is_open(self) -> bool:
        """True while frames may come; otherwise `next` returns at once."""
        return self._capture is not None and not self.ended

    @property
    def state(self) -> CameraState:
        """State of the camera, as published to subscribers."""
        if self._paused:
            return "paused"
        if self.fault is not None:
            return "black" if self._black else "failed"
        return "ok" if self._seen else "starting"

    @property
    def dropped(self) -> int:
        """Number of frames that a newer one replaced before they were taken."""
        return self._dropped + (self._capture.dropped if self._capture is not None else 0)

    def newest_age_s(self) -> float | None:
        """Seconds since the last frame arrived; None before the first and while the camera is closed."""
        return self._capture.newest_age_s() if self._capture is not None else None

    def open(self) -> None:
        """Open the camera for the first time, and wait until it is open.

        Raises `CameraError` or `ConfigError`: it cannot be opened. At the start an error helps more than silent
        attempts.
        """
        try:
            self._begin(self._open())
        except CameraError as error:
            self.fault = str(error)
            raise

    def next(self, wait_s: float) -> Frame | None:
        """Return the next new frame, or None if none came within ``wait_s``.

        Raises `CameraError`: it failed too often in a row, or hangs so that only a new process helps; or a clip failed.
        """
        if self.ended:
            return None
        if self._capture is None:
            if self._is_closed() and not self._paused:
                self._reopen()
            return None
        read = self._next_of_camera if self._endless else self._next_of_clip
        return read(self._capture, wait_s)

    def pause(self) -> None:
        """Begin to close the camera, so that its light goes off, and keep it closed.

        It closes in the background, so that a stop need not wait for it.

        Raises `CameraError`: it hangs, so that only a new process gets it closed; raised by `next` where that is not
        known yet.
        """
        self._paused, self.fault, self._black = True, None, False
        self._opener.cancel()
        self._close()
        self._is_closed()

    def resume(self) -> None:
        """End the pause: reopen the camera at once, in the background."""
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
        except Exception as error:  # noqa: BLE001  # whatever a driver raises, the camera is reopened
            self._fail(str(error))
            return None
        if frame is None:
            self._fail("it has ended")
            return None
        self._seen = self._delivers = True
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
        """Look for signs of a failure or of a recovery."""
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
        cannot_reopen = self._opener.hanging > 0 and not self._delivers
        self._close()
        if not self._endless:
            raise CameraError(fault)
        if self._attempts >= self._settings.attempts:
            raise CameraError(f"the camera failed {self._attempts} times in a row; the last time: {fault}")
        if cannot_reopen:
            raise CameraError(f"a thread that hangs in the camera's driver keeps it from being reopened: {fault}")
        pause_s = self._backoff.delay_s(self._attempts)
        self._retry_at_s = now_s + pause_s
        log.warning("the camera has failed (%s); it is reopened in %.1f s", fault, pause_s)

    def _wait_for_light(self, now_s: float) -> None:
        """Reopen a black camera now and then. Its frames are used in the meantime: it may just be night."""
        if not self._black:
            self.failures += 1
            self.fault, self._black = "the picture is black", True
            self._night_retry_at_s = now_s
            log.warning("the camera's picture is black; is it night, or is something in front of the lens?")
        self._failed_s = now_s
        if now_s >= self._night_retry_at_s:
            self._nights += 1
            self._night_retry_at_s = now_s + self._night_backoff.delay_s(self._nights + 3)
            self._close()
            self._retry_at_s = now_s

    def _reopen(self) -> None:
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

    def _is_closed(self) -> bool:
        """Return True once every camera that was being closed is closed, so that it can be reopened."""
        is_closed = self._opener.all_closed()
        hanging = self._opener.hanging
        if self._paused and hanging:
            raise CameraError(_STAYS_OPEN)
        if hanging >= MAX_HANGING:
            raise CameraError(f"{hanging} threads hang in the camera's driver; the last fault: {self.fault}")
        return is_closed

    def _begin(self, capture: Capture) -> None:
        self._capture = capture
        self._failed_s = self._clock.monotonic()
        self._signs = Signs(self._settings, self._failed_s)

    def _close(self) -> None:
        capture, self._capture, self._delivers = self._capture, None, False
        if capture is not None:
            self._dropped += capture.dropped
            self._opener.close(capture)
