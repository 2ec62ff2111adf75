"""Takes frames from a source: the newest one from a live source, every one from any other."""

import logging
import threading
import time

from edge.errors import CameraError
from edge.frames import Frame, FrameSource

READ_TIMEOUT_S = 10.0
"""Seconds without a frame after which a live source has failed."""
CLOSE_TIMEOUT_S = 2.0
"""Seconds that `Capture.close` waits for a read that hangs."""

log = logging.getLogger(__name__)


class NoFrameYetError(CameraError):
    """No new frame came in time; the source itself has not failed."""


class Capture:
    """Takes frames from a source, which it owns and closes.

    A live source is read in a thread as fast as it gives frames. A frame that has not been taken when the next one
    arrives is dropped and counted. Any other source is read by `get` itself, without a thread, and nothing is dropped.
    """

    dropped: int
    """frames replaced by a newer one before they were taken"""

    def __init__(self, source: FrameSource) -> None:
        self.dropped = 0
        self._source = source
        self._changed = threading.Condition()
        self._newest: Frame | None = None
        self._arrived_s: float | None = None
        self._failure: Exception | None = None
        self._ended = False
        self._closed = False
        self._thread: threading.Thread | None = None
        if source.live:
            self._thread = threading.Thread(target=self._run, name="capture", daemon=True)
            self._thread.start()

    def get(self, timeout_s: float) -> Frame | None:
        """Return a frame that has not been returned before; None if the source has ended or was closed.

        Raises `CameraError`: the source failed, and its last frame has been taken. `NoFrameYetError`: no frame came
        within ``timeout_s``.
        """
        if self._thread is None:
            return self._pull(timeout_s)
        with self._changed:
            self._changed.wait_for(self._has_news, timeout_s)
            if self._closed:
                return None
            if self._newest is not None:
                frame, self._newest = self._newest, None
                return frame
            if self._failure is not None:
                raise self._failure
            if self._ended:
                return None
            raise NoFrameYetError(f"the camera gave no frame within {timeout_s:g} s")

    def newest_age_s(self) -> float | None:
        """Seconds since the newest frame arrived, None before the first."""
        arrived_s = self._arrived_s
        return None if arrived_s is None else time.monotonic() - arrived_s

    def close(self) -> bool:
        """Close the source and end the thread; a waiting `get` returns None. May be called twice.

        Returns False if a thread still hangs in the driver. It is abandoned, and may keep the device open.
        """
        with self._changed:
            if self._closed:
                return self._thread is None or not self._thread.is_alive()
            self._closed = True
            self._newest = None
            self._changed.notify_all()
        self._source.close()
        if self._thread is not None:
            self._thread.join(CLOSE_TIMEOUT_S)
            if self._thread.is_alive():
                log.warning("thread %s: hangs in a read of the camera; it is abandoned", self._thread.name)
                return False
        # Sources with a thread of their own report here that it hangs.
        return not getattr(self._source, "left_behind", False)

    def _pull(self, timeout_s: float) -> Frame | None:
        if self._closed:
            return None
        frame = self._source.read(timeout_s)
        if frame is not None:
            self._arrived_s = time.monotonic()
        return frame

    def _has_news(self) -> bool:
        return self._closed or self._ended or self._newest is not None or self._failure is not None

    def _run(self) -> None:
        while not self._closed:
            try:
                frame = self._source.read(READ_TIMEOUT_S)
            except Exception as error:  # noqa: BLE001  # `get` raises it in the caller's thread
                with self._changed:
                    self._failure = error
                    self._changed.notify_all()
                return
            with self._changed:
                if self._closed:
                    return
                self._store(frame)
                self._changed.notify_all()
                if frame is None:
                    return

    def _store(self, frame: Frame | None) -> None:
        if frame is None:
            self._ended = True
            return
        self.dropped += self._newest is not None
        self._newest = frame
        self._arrived_s = time.monotonic()
