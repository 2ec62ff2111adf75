"""A clip from disk, decoded by OpenCV's FFmpeg."""

import logging
import math
import os
import threading
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.cameras.address import Address
from edge.cameras.playback import Warnings, play
from edge.cameras.quiet import quiet_opencv
from edge.cameras.turn import rotated
from edge.errors import CameraError, printable_path
from edge.frames import Frame, FrameSource

_DEFAULT_FPS = 25.0
"""For a clip that states no sensible rate."""
_TOLERANCE = 0.1
"""Share of a clip that may be missing without a warning: a stated length is an estimate in many formats."""
_LEAST_GAP_S = 1.0
_MOST_STRETCH = 8.0
"""Pixels are at most this many times wider than high, or the other way round; anything beyond is damage."""

log = logging.getLogger(__name__)


def open_file(address: Address) -> FrameSource:
    """Open ``file:CLIP`` with its pace and loop.

    Raises `CameraError`: there is no such file, or it holds no video.
    """
    warnings = Warnings(log)
    return play(partial(FileClip, Path(address.target), warnings), address, warnings)


class FileClip:
    """Every frame of a clip in order, upright, with square pixels, and with the clip's own time.

    What the file is, its content decides; its name may be any bytes. Rotation and pixel shape noted in the file are
    applied here, because OpenCV 4 and 5 differ in that. ``time_s`` is the container's timestamp; where that is missing
    or does not grow, it is one frame after the last. A clip that was cut off gives the frames that can be decoded, then
    ends with a warning. Raises `CameraError` if the file holds no video.
    """

    live = False

    def __init__(self, path: Path, warnings: "Warnings | None" = None) -> None:
        self._shown = printable_path(path)
        self._warnings = warnings or Warnings(log)
        self._lock = threading.Lock()
        self._clip: Any = _open(path, self._shown)
        fps = float(self._clip.get(cv2.CAP_PROP_FPS))
        self._frame_s = 1.0 / (fps if math.isfinite(fps) and 0.1 <= fps <= 1000 else _DEFAULT_FPS)
        count = self._clip.get(cv2.CAP_PROP_FRAME_COUNT)
        self._stated_frames = int(count) if math.isfinite(count) and 0 < count < 1e9 else 0
        self._rotation = int(self._clip.get(cv2.CAP_PROP_ORIENTATION_META))
        self._stretch = _stretch(self._clip)
        self._index = 0
        self._time_s = 0.0
        self._longest_gap_s = 0.0

    def read(self, timeout_s: float) -> Frame | None:  # noqa: ARG002  # a file answers at once
        """Return the next frame with luma and colour, None at the end of the clip or once closed.

        Raises `CameraError`: not one frame of the clip can be decoded.
        """
        with self._lock:
            if self._clip is None:
                return None
            read, image = self._clip.read()
            if not read or image is None:
                self._release()
                self._check_length()
                return None
            image = rotated(_stretched(image, self._stretch), self._rotation)
            luma = image if image.ndim == 2 else np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY))
            frame = Frame(luma, self._next_time_s(), self._index, image if image.ndim == 3 else None)
            self._index += 1
            return frame

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._release()

    def _next_time_s(self) -> float:
        stamp_s = float(self._clip.get(cv2.CAP_PROP_POS_MSEC)) / 1000
        grows = math.isfinite(stamp_s) and (stamp_s > self._time_s or (self._index == 0 and stamp_s >= 0))
        if not grows:
            stamp_s = 0.0 if self._index == 0 else self._time_s + self._frame_s
        self._longest_gap_s = max(self._longest_gap_s, stamp_s - self._time_s)
        self._time_s = stamp_s
        return stamp_s

    def _check_length(self) -> None:
        """Warn if the clip ended early or has a hole. Skipped frames alone are no damage: AVI leaves out repeats."""
        if self._index == 0:
            raise CameraError(f"{self._shown}: none of its frames can be decoded; the clip is damaged")
        if self._stated_frames - self._index <= max(2.0, self._stated_frames * _TOLERANCE):
            return
        stated_s = self._stated_frames * self._frame_s
        missing_s = stated_s - (self._time_s + self._frame_s)
        ended_early = missing_s > max(2 * self._frame_s, stated_s * _TOLERANCE)
        has_hole = self._longest_gap_s > max(_LEAST_GAP_S, stated_s * _TOLERANCE)
        if ended_early or has_hole:
            self._warnings.warn(
                f"{self._shown}: {self._index} of {self._stated_frames} frames came: the clip is damaged or cut off, "
                "or was trimmed without being encoded again"
            )

    def _release(self) -> None:
        if self._clip is not None:
            self._clip.release()
            self._clip = None


def _open(path: Path, shown: str) -> Any:
    try:
        if not path.exists():
            raise CameraError(f"{shown}: no such clip")
        if not path.is_file():
            raise CameraError(f"{shown}: is no file; for a folder of pictures there is photos:{shown}")
        if path.stat().st_size == 0:
            raise CameraError(f"{shown}: is empty")
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise CameraError(f"{shown}: cannot be read: {error.strerror}") from error
    except ValueError as error:  # a zero byte
        raise CameraError(f"{shown}: cannot be read: {error}") from error
    quiet_opencv()
    try:
        # FFmpeg opens the descriptor again, by a name without surprises: OpenCV crashes on a path that is not UTF-8,
        # and FFmpeg takes "concat:…" for a protocol and "%d" for a number.
        clip = cv2.VideoCapture(f"/proc/self/fd/{descriptor}", cv2.CAP_FFMPEG)
    finally:
        os.close(descriptor)
    if not clip.isOpened():
        clip.release()
        raise CameraError(f"{shown}: holds no video that can be read: no clip, or one whose end was cut off")
    clip.set(cv2.CAP_PROP_ORIENTATION_AUTO, 0)
    return clip


def _stretch(clip: Any) -> float:
    """Return width over height of a pixel, 1 where the clip does not say."""
    across, down = clip.get(cv2.CAP_PROP_SAR_NUM), clip.get(cv2.CAP_PROP_SAR_DEN)
    shape = across / down if across > 0 and down > 0 else 1.0
    return shape if 1 / _MOST_STRETCH <= shape <= _MOST_STRETCH else 1.0


def _stretched(image: NDArray[np.uint8], stretch: float) -> NDArray[np.uint8]:
    height, width = image.shape[:2]
    shown_width = round(width * stretch)
    if shown_width == width or shown_width < 1:
        return image
    return np.asarray(cv2.resize(image, (shown_width, height), interpolation=cv2.INTER_LINEAR), np.uint8)
