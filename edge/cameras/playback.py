"""How a clip is played: again and again, and at its own pace."""

import threading
import time
from collections.abc import Callable
from dataclasses import replace

from edge.cameras.address import Address
from edge.errors import CameraError
from edge.frames import Frame, FrameSource

_LONE_FRAME_S = 0.04
"""How long the only frame of a clip is shown, seconds."""


def play(open_clip: Callable[[], FrameSource], address: Address) -> FrameSource:
    """Open a clip and play it as the options ``pace`` and ``loop`` of its address say.

    Parameters
    ----------
    open_clip
        Opens the clip from its start; called once a round. The sources it gives are not live.
    """
    clip: FrameSource = Looped(open_clip) if address.options["loop"] == "1" else open_clip()
    return Paced(clip) if address.options["pace"] == "realtime" else clip


class Looped:
    """A clip that begins again at its end; ``index`` and ``time_s`` go on growing."""

    live = False

    def __init__(self, open_clip: Callable[[], FrameSource]) -> None:
        self._open_clip = open_clip
        self._clip = open_clip()
        self._lock = threading.Lock()
        self._closed = False
        self._first_index = 0
        self._first_s = 0.0
        self._last: Frame | None = None
        self._step_s = _LONE_FRAME_S

    def read(self, timeout_s: float) -> Frame | None:
        """Return the next frame; None only once closed.

        Raises
        ------
        CameraError
            A round gave no frame at all, or the clip cannot be opened again.
        """
        with self._lock:
            if self._closed:
                return None
            frame = self._clip.read(timeout_s)
            if frame is None:
                frame = self._begin_again(timeout_s)
            frame = replace(frame, index=self._first_index + frame.index, time_s=self._first_s + frame.time_s)
            if self._last is not None and frame.time_s > self._last.time_s:
                self._step_s = frame.time_s - self._last.time_s
            self._last = frame
            return frame

    def close(self) -> None:
        """Let go of the clip."""
        with self._lock:
            self._closed = True
            self._clip.close()

    def _begin_again(self, timeout_s: float) -> Frame:
        self._clip.close()
        if self._last is None:
            raise CameraError("the clip gives no frames, so it cannot be looped")
        self._first_index = self._last.index + 1
        self._first_s = self._last.time_s + self._step_s
        self._clip = self._open_clip()
        frame = self._clip.read(timeout_s)
        if frame is None:
            raise CameraError("the clip gave no frames when it was begun again")
        return frame


class Paced:
    """A clip that gives each frame when it is due, as a camera would; live, so the newest wins.

    Parameters
    ----------
    monotonic
        Seconds that only grow.
    """

    live = True

    def __init__(self, clip: FrameSource, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._clip = clip
        self._monotonic = monotonic
        self._closed = threading.Event()
        self._began_s: float | None = None
        self._early: Frame | None = None

    def read(self, timeout_s: float) -> Frame | None:
        """Return the next frame once it is due, at once where it is overdue; None at the end or once closed.

        Raises
        ------
        CameraError
            The next frame is not due within ``timeout_s``; it is kept for the next call.
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
        """Let go of the clip; a read that waits returns None."""
        self._closed.set()
        self._clip.close()
