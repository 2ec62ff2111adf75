"""How a clip is played: once or in a loop, as fast as possible or at its own pace."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace

from edge.cameras.address import Address
from edge.errors import CameraError
from edge.frames import Frame, FrameSource

_LONE_FRAME_S = 0.04
"""Seconds for which the only frame of a clip is shown."""


class Warnings:
    """Logs each warning once; repetitions are counted, and the count is logged by `close`."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._times: dict[str, int] = {}

    def warn(self, message: str) -> None:
        """Log a warning, unless it has been logged before."""
        self._times[message] = self._times.get(message, 0) + 1
        if self._times[message] == 1:
            self._log.warning("%s", message)

    def close(self) -> None:
        """Log how often each warning came, if more than once."""
        for message, times in self._times.items():
            if times > 1:
                self._log.warning("%s (%d times)", message, times)
        self._times.clear()


def play(open_clip: Callable[[], FrameSource], address: Address, warnings: Warnings | None = None) -> FrameSource:
    """Open a clip and play it according to the options ``pace`` and ``loop`` of its address.

    ``open_clip``: opens the clip at its start; called once per round. Its sources are not live.
    ``warnings``: where the clip's warnings go; closed with a looped clip.
    """
    clip: FrameSource = Looped(open_clip, warnings) if address.options["loop"] == "1" else open_clip()
    return Paced(clip) if address.options["pace"] == "realtime" else clip


class Looped:
    """A clip that starts again at its end; ``index`` and ``time_s`` keep growing."""

    live = False

    def __init__(self, open_clip: Callable[[], FrameSource], warnings: Warnings | None = None) -> None:
        self._open_clip = open_clip
        self._warnings = warnings
        self._clip = open_clip()
        self._lock = threading.Lock()
        self._closed = False
        self._first_index = 0
        self._first_s = 0.0
        self._last: Frame | None = None
        self._step_s = _LONE_FRAME_S

    def read(self, timeout_s: float) -> Frame | None:
        """Return the next frame; None only once closed.

        Raises `CameraError`: a round gave no frame, or the clip cannot be opened again.
        """
        with self._lock:
            if self._closed:
                return None
            frame = self._clip.read(timeout_s)
            if frame is None:
                frame = self._restart(timeout_s)
            frame = replace(frame, index=self._first_index + frame.index, time_s=self._first_s + frame.time_s)
            if self._last is not None and frame.time_s > self._last.time_s:
                self._step_s = frame.time_s - self._last.time_s
            self._last = frame
            return frame

    def close(self) -> None:
        """Close the clip."""
        with self._lock:
            self._closed = True
            self._clip.close()
            if self._warnings is not None:
                self._warnings.close()

    def _restart(self, timeout_s: float) -> Frame:
        self._clip.close()
        if self._last is None:
            raise CameraError("the clip gives no frames, so it cannot be looped")
        self._first_index = self._last.index + 1
        self._first_s = self._last.time_s + self._step_s
        self._clip = self._open_clip()
        frame = self._clip.read(timeout_s)
        if frame is None:
            raise CameraError("the clip gave no frames when it was started again")
        return frame


class Paced:
    """A clip that gives each frame at its time, as a camera would; live, so the newest frame wins.

    ``monotonic``: a clock in seconds that never goes back.
    """

    live = True

    def __init__(self, clip: FrameSource, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._clip = clip
        self._monotonic = monotonic
        self._closed = threading.Event()
        self._began_s: float | None = None
        self._early: Frame | None = None

    def read(self, timeout_s: float) -> Frame | None:
        """Return the next frame at its time, or at once if that has passed; None at the end or once closed.

        Raises `CameraError`: the next frame is not due within ``timeout_s``; it is kept for the next call.
        """
        frame = self._early or (None if self._closed.is_set() else self._clip.read(timeout_s))
        if frame is None:
            return None
        if self._began_s is None:
            self._began_s = self._monotonic() - frame.time_s
        wait_s = self._began_s + frame.time_s - self._monotonic()
        self._early = frame if wait_s > timeout_s else None
        if self._closed.wait(max(0.0, min(wait_s, timeout_s))):
            return None
        if self._early is not None:
            raise CameraError(f"no frame within {timeout_s:g} s: the clip pauses for {wait_s:.1f} s")
        return frame

    def close(self) -> None:
        """Close the clip; a read that waits returns None."""
        self._closed.set()
        self._clip.close()
