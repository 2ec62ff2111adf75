"""Cameras that OpenCV opens: USB (V4L2) and network (RTSP), and the live camera that all of them share."""

import logging
import stat
import threading
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.background import Worker
from edge.cameras.address import Address
from edge.cameras.quiet import quiet_opencv
from edge.errors import CameraError, printable, redacted
from edge.frames import Frame

OPEN_TIMEOUT_S = 10.0
READ_TIMEOUT_S = 5.0
"""Seconds after which a silent network camera is given up."""
CLOSE_TIMEOUT_S = 2.0
_FORMATS = {"mjpg": "MJPG", "yuyv": "YUYV"}
_BAD_READS = 5
"""Reads in a row that may fail: USB cameras send a broken JPEG now and then."""

log = logging.getLogger(__name__)


def open_v4l2(address: Address) -> "OpenCvCamera":
    """Open ``v4l2:/dev/video0`` and ask for format, size and rate; the camera may choose the nearest that it has.

    Raises `CameraError`: there is no such device, it may not be read, or it is no camera.
    """
    path = Path(address.target)
    _check_device(path)
    width, height = address.size

    code = _FORMATS.get(address.options["format"], "")

    def open_device() -> Any:
        device = cv2.VideoCapture(str(path), cv2.CAP_V4L2)
        if code:  # before the size: what sizes there are depends on it
            device.set(cv2.CAP_PROP_FOURCC, _fourcc(code))
        for key, value in (
            (cv2.CAP_PROP_FRAME_WIDTH, width),
            (cv2.CAP_PROP_FRAME_HEIGHT, height),
            (cv2.CAP_PROP_FPS, int(address.options["fps"])),
            # One buffer: with more, the driver hands out older frames.
            (cv2.CAP_PROP_BUFFERSIZE, 1),
        ):
            device.set(key, value)
        if device.isOpened():
            _log_mode(f"v4l2:{path}", device, code)
        return device

    return OpenCvCamera(f"v4l2:{path}", open_device, hint="is it a camera, and does no other program use it?")


def open_rtsp(address: Address) -> "OpenCvCamera":
    """Open a network camera, over TCP.

    Raises `CameraError`: it cannot be reached, refuses the password, or sends no video; never holds the password.
    """

    def open_stream() -> Any:
        limits = [
            cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, int(OPEN_TIMEOUT_S * 1000),
            cv2.CAP_PROP_READ_TIMEOUT_MSEC, int(READ_TIMEOUT_S * 1000),
        ]  # fmt: skip
        return cv2.VideoCapture(address.target, cv2.CAP_FFMPEG, limits)

    hint = "check host, port, path, user and password"
    return OpenCvCamera(redacted(address.target), open_stream, hint=hint)


class OpenCvCamera:
    """A live camera behind ``cv2.VideoCapture``, which is called in one thread only.

    OpenCV may block for longer than its own timeouts, and must not be called from two threads at once.

    ``name``: its name in errors, without a password.
    ``open_device``: returns an object with ``isOpened``, ``read`` and ``release`` like ``cv2.VideoCapture``.
    ``interrupt``, if it has that, is called before ``release``. A `CameraError` from here is raised as it is.
    ``hint``: what to check if it does not open.
    """

    live = True
    left_behind = False
    """a call hangs although the camera was closed, and keeps the device open"""

    def __init__(
        self, name: str, open_device: Callable[[], Any], *, hint: str, open_timeout_s: float = OPEN_TIMEOUT_S + 2
    ) -> None:
        self._name = name
        self._device: Any = None
        self._index = 0
        self._lock = threading.Lock()
        self._closed: Future[None] = Future()
        self._pending: Future[NDArray[np.uint8]] | None = None
        quiet_opencv()
        self._worker = Worker(f"camera {name}")
        opened = self._worker.submit(lambda: self._open(open_device))
        wait([opened], open_timeout_s)
        if not opened.done():
            self.close()
            raise CameraError(f"{name}: did not open within {open_timeout_s:g} s; {hint}")
        error = opened.exception()
        if error is not None or not opened.result():
            self.close()
            raise (
                error if isinstance(error, CameraError) else CameraError(f"{name}: cannot be opened; {hint}")
            ) from None

    def read(self, timeout_s: float) -> Frame | None:
        """Return the next frame with luma and colour, None once closed; ``time_s`` is the monotonic clock's.

        Raises `CameraError`: nothing came within ``timeout_s``, or the camera is gone.
        """
        with self._lock:
            if self._closed.done():
                return None
            pending = self._pending = self._pending or self._worker.submit(self._grab)
        either: list[Future[Any]] = [pending, self._closed]
        wait(either, timeout_s, return_when=FIRST_COMPLETED)
        if self._closed.done():
            return None
        if not pending.done():
            raise CameraError(f"{self._name}: no frame within {timeout_s:g} s")
        with self._lock:
            self._pending = None
            bgr = pending.result()
            luma = bgr if bgr.ndim == 2 else np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY))
            frame = Frame(luma, time.monotonic(), self._index, bgr if bgr.ndim == 3 else None)
            self._index += 1
            return frame

    def close(self) -> None:
        """Close the camera; one that hangs is released when its call returns."""
        with self._lock:
            if self._closed.done():
                return
            self._closed.set_result(None)
        if hasattr(self._device, "interrupt"):
            self._device.interrupt()
        if not self._worker.finish(self._release, CLOSE_TIMEOUT_S):
            self.left_behind = True
            log.warning("%s: hangs in a read of the camera; it is abandoned", self._name)

    def _open(self, open_device: Callable[[], Any]) -> bool:
        self._device = open_device()
        return bool(self._device.isOpened())

    def _grab(self) -> NDArray[np.uint8]:
        for _ in range(_BAD_READS):
            try:
                read, bgr = self._device.read()
            except cv2.error as error:
                raise CameraError(f"{self._name}: gives frames that OpenCV cannot decode: {error.err}") from error
            if read and bgr is not None:
                return np.asarray(bgr)
        raise CameraError(f"{self._name}: stopped giving frames; is it still connected?")

    def _release(self) -> None:
        if self._device is not None:
            self._device.release()


def _fourcc(code: str) -> int:
    return int.from_bytes(code.encode(), "little")


def _log_mode(name: str, device: Any, code: str) -> None:
    given = int(device.get(cv2.CAP_PROP_FOURCC)).to_bytes(4, "little").decode("latin-1")
    width, height = int(device.get(cv2.CAP_PROP_FRAME_WIDTH)), int(device.get(cv2.CAP_PROP_FRAME_HEIGHT))
    log.info("%s: %dx%d, %s, %g frames/s", name, width, height, printable(given), device.get(cv2.CAP_PROP_FPS))
    if code and given != code:
        log.warning("%s: does not have the format %s; it gives %s", name, code, printable(given))


def _check_device(path: Path) -> None:
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        there = ", ".join(f"v4l2:{found}" for found in sorted(Path("/dev").glob("video*")))
        raise CameraError(
            f"v4l2:{path}: no such device; {f'there are {there}' if there else 'none is connected'}"
        ) from None
    except OSError as error:
        raise CameraError(f"v4l2:{path}: cannot be opened: {error.strerror}") from error
    if not stat.S_ISCHR(mode):
        raise CameraError(f"v4l2:{path}: is no device; for a clip there is file:{path}")
    try:
        with path.open("rb"):
            pass
    except PermissionError:
        raise CameraError(f"v4l2:{path}: may not be read; add the user to the group video") from None
    except OSError as error:
        raise CameraError(f"v4l2:{path}: cannot be opened: {error.strerror}") from error
