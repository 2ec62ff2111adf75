"""A camera that returns what a test has scripted."""

import threading
from collections import deque
from dataclasses import dataclass

import numpy as np

from edge.errors import CameraError
from edge.frames import Frame


@dataclass(frozen=True, slots=True)
class Hang:
    """A read that ignores its timeout and `close` until the event is set."""

    until: threading.Event


Step = Frame | threading.Event | Hang | Exception | None
"""A frame is returned, an event is waited for up to the read's timeout, an exception is raised, None is the end."""


class FakeCamera:
    """A `FrameSource` that follows a script; the end of the script is the end of the stream."""

    def __init__(self, *steps: Step, live: bool = True) -> None:
        self.live = live
        self.closed = threading.Event()
        self._steps = deque(steps)

    def read(self, timeout_s: float) -> Frame | None:
        while self._steps and not self.closed.is_set():
            step = self._steps.popleft()
            if isinstance(step, Hang):
                step.until.wait()
            elif isinstance(step, threading.Event):
                self._wait(step, timeout_s)
            elif isinstance(step, Exception):
                raise step
            else:
                return step
        return None

    def close(self) -> None:
        self.closed.set()

    def _wait(self, event: threading.Event, timeout_s: float) -> None:
        for _ in range(max(1, int(timeout_s * 100))):
            if event.wait(0.01) or self.closed.is_set():
                return
        raise CameraError(f"no frame within {timeout_s:g} s")


def make_frame(index: int = 0, *, time_s: float | None = None, width: int = 64, height: int = 48) -> Frame:
    """A uniformly gray frame; 15 frames are a second."""
    luma = np.full((height, width), index % 256, np.uint8)
    return Frame(luma, index / 15 if time_s is None else time_s, index)
