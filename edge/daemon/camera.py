"""The daemon's camera: watched, opened again when it fails, closed while privacy is asked for."""

import logging
from collections.abc import Callable
from concurrent.futures import Future

from edge.backoff import Backoff
from edge.cameras import Capture, NoFrameYetError
from edge.clock import Clock
from edge.daemon.signs import Signs
from edge.errors import CameraError
from edge.events.payloads import CameraState
from edge.frames import Frame, FrameSource
from edge.settings import CameraWatchSettings
from edge.worker import Worker

CLIP_TIMEOUT_S = 5.0
"""A clip that gives nothing for this long is broken."""
OPEN_TIMEOUT_S = 30.0
"""Every adapter has its own, shorter limit; whatever takes longer hangs in the driver."""
STEADY_S = 10.0
"""A camera that has worked for this long has recovered: the next failure is a first one again."""
LEFT_BEHIND = 3
"""Threads that may hang in a driver before only a new process helps."""

log = logging.getLogger(__name__)


class WatchedCamera:
    """Gives frames for as long as there are any; used by one thread.

    A camera that is silent, frozen or gone is closed and, in the background, opened again with growing pauses; so is
    one that is black, for which they grow longer. A clip is neither watched nor opened again: its end is its end.

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
        self._opening: Future[Capture] | None = None
        self._opening_by_s = 0.0
        self._signs = Signs(settings, clock.monotonic())
        self._paused = self._seen = self._black = False
        self._attempts = self._nights = 0
        self._retry_at_s = self._night_retry_at_s = clock.monotonic()
        self._failed_s = clock.monotonic()
        self._dropped = self._left_behind = 0

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
        self._begin(Capture(self._open_source()))

    def next(self, wait_s: float) -> Frame | None:
        """Return a frame that has not been returned before, None where none came within ``wait_s``.

        Raises
        ------
        CameraError
            It has failed too often in a row, or hangs so that only the end of the process frees it; or a clip failed.
        """
        if self._paused or self.ended:
            return None
        if self._capture is None:
            self._go_on_opening()
            return None
        read = self._next_of_camera if self._endless else self._next_of_clip
        return read(self._capture, wait_s)

    def pause(self) -> None:
        """Close the camera, so that its light goes off, and keep it closed.

        Raises
        ------
        CameraError
            It hangs and cannot be closed: only the end of the process does that.
        """
        self._paused, self.fault, self._black = True, None, False
        if self._opening is not None:
            self._opening.add_done_callback(_close_when_open)
            self._opening = None
        if not self._close():
            raise CameraError("the camera hangs and does not close; the program ends so that it is let go of")

    def resume(self) -> None:
        """Open the camera again, at once, in the background."""
        if self._paused:
            self._paused = self._seen = False
            self._attempts = 0
            self._retry_at_s = self._clock.monotonic()

    def close(self) -> None:
        """Let go of the camera for good."""
        self._paused = True
        if self._opening is not None:
            self._opening.add_done_callback(_close_when_open)
        self._close()

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
        self._seen = True
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
        self._close()
        if not self._endless:
            raise CameraError(fault)
        if self._attempts >= self._settings.attempts:
            raise CameraError(f"the camera failed {self._attempts} times in a row; the last time: {fault}")
        if self._left_behind > LEFT_BEHIND:
            raise CameraError(f"{self._left_behind} threads hang in the camera's driver; the last fault: {fault}")
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
        now_s = self._clock.monotonic()
        if self._opening is None:
            if now_s >= self._retry_at_s:
                self._opening_by_s = now_s + OPEN_TIMEOUT_S
                worker = Worker("camera opening")
                self._opening = worker.submit(lambda: Capture(self._open_source()))
                worker.leave()
        elif self._opening.done():
            opening, self._opening = self._opening, None
            try:
                self._begin(opening.result())
            except Exception as error:  # noqa: BLE001  # as above
                self._fail(str(error))
        elif now_s >= self._opening_by_s:
            self._opening.add_done_callback(_close_when_open)
            self._opening = None
            self._left_behind += 1
            self._fail(f"it does not open within {OPEN_TIMEOUT_S:g} s")

    def _begin(self, capture: Capture) -> None:
        self._capture = capture
        self._failed_s = self._clock.monotonic()
        self._signs = Signs(self._settings, self._failed_s)

    def _close(self) -> bool:
        capture, self._capture = self._capture, None
        if capture is None:
            return True
        self._dropped += capture.dropped
        closed = capture.close()
        self._left_behind += not closed
        return closed


def _close_when_open(opening: "Future[Capture]") -> None:
    """Close what was opened too late for anybody to want it; runs in the thread that opened it."""
    if opening.exception() is None:
        opening.result().close()
