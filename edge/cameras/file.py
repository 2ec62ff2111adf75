"""A clip from disk, through OpenCV's FFmpeg."""

import logging
import math
import threading
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edge.cameras.address import Address
from edge.cameras.container import bytes_missing
from edge.cameras.playback import play
from edge.cameras.quiet import quiet_opencv
from edge.errors import CameraError
from edge.frames import Frame, FrameSource

_DEFAULT_FPS = 25.0
"""Where a clip says nothing sensible about its rate."""
_COUNT_TOLERANCE = 0.1
"""Where a clip is as long as it says: a count from duration and rate is off by some, as is that of a trimmed clip."""

log = logging.getLogger(__name__)


def open_file(address: Address) -> FrameSource:
    """Open ``file:CLIP`` with its pace and loop.

    Raises
    ------
    CameraError
        There is no such file, or it holds no video.
    """
    return play(partial(FileClip, Path(address.target)), address)


class FileClip:
    """Every frame of a clip in order, each with the clip's own time. Raises `CameraError` where it holds no video.

    ``time_s`` is the container's timestamp; where that is missing or does not grow, it is the last one and a frame
    more, so that it always grows. A clip that was cut gives what decodes, then ends with a warning in the log.
    """

    live = False

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._clip: Any = _open(path)
        fps = float(self._clip.get(cv2.CAP_PROP_FPS))
        self._frame_s = 1.0 / (fps if math.isfinite(fps) and 0.1 <= fps <= 1000 else _DEFAULT_FPS)
        self._announced = _whole(self._clip.get(cv2.CAP_PROP_FRAME_COUNT))
        self._index = 0
        self._time_s = 0.0

    def read(self, timeout_s: float) -> Frame | None:  # noqa: ARG002  # a file answers at once
        """Return the next frame with luma and colour, None at the end of the clip or once closed.

        Raises
        ------
        CameraError
            Not one frame of the clip can be decoded.
        """
        with self._lock:
            if self._clip is None:
                return None
            read, bgr = self._clip.read()
            if not read or bgr is None:
                self._release()
                self._judge_end()
                return None
            frame = Frame(_luma(bgr), self._next_time_s(), self._index, bgr if bgr.ndim == 3 else None)
            self._index += 1
            return frame

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._release()

    def _next_time_s(self) -> float:
        stamp_s = float(self._clip.get(cv2.CAP_PROP_POS_MSEC)) / 1000
        grows = math.isfinite(stamp_s) and (stamp_s > self._time_s or (self._index == 0 and stamp_s >= 0))
        if not grows:
            stamp_s = 0.0 if self._index == 0 else self._time_s + self._frame_s
        self._time_s = stamp_s
        return stamp_s

    def _judge_end(self) -> None:
        if self._index == 0:
            raise CameraError(f"{self._path}: none of its frames can be decoded; the clip is damaged")
        missing = self._announced - self._index
        if missing > 0 and _cut_off_bytes(self._path):
            log.warning("%s: the clip is cut: %d of %d frames came", self._path, self._index, self._announced)
        elif missing > max(2.0, self._announced * _COUNT_TOLERANCE):
            log.warning(
                "%s: %d of %d frames came: the clip is damaged, or was trimmed without being encoded again",
                self._path,
                self._index,
                self._announced,
            )

    def _release(self) -> None:
        if self._clip is not None:
            self._clip.release()
            self._clip = None


def _open(path: Path) -> Any:
    try:
        if not path.exists():
            raise CameraError(f"{path}: no such clip")
        if not path.is_file():
            raise CameraError(f"{path}: is no file; for a folder of pictures there is photos:{path}")
        if path.stat().st_size == 0:
            raise CameraError(f"{path}: is empty")
        with path.open("rb"):
            pass
    except OSError as error:
        raise CameraError(f"{path}: cannot be read: {error.strerror}") from error
    quiet_opencv()
    # FFmpeg takes "concat:…" or "http:…" for a protocol; a path from the root is always a file.
    clip = cv2.VideoCapture(str(path.absolute()), cv2.CAP_FFMPEG)
    if not clip.isOpened():
        clip.release()
        raise CameraError(f"{path}: holds no video that can be read: no clip, or one whose end was cut off")
    return clip


def _cut_off_bytes(path: Path) -> int:
    try:
        return bytes_missing(path)
    except OSError:
        return 0


def _luma(bgr: np.ndarray[Any, np.dtype[np.uint8]]) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return bgr if bgr.ndim == 2 else np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY))


def _whole(value: float) -> int:
    return int(value) if math.isfinite(value) and 0 < value < 1e9 else 0
