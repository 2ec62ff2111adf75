"""The Pi's own camera through picamera2: the luma plane of its low-resolution stream.

API: raspberrypi/picamera2, ``picamera2.py``, ``job.py`` and ``request.py``. A YUV420 array is
``[height * 3 / 2, stride]``; its first ``height`` rows are the luma plane, padded to ``stride``.
"""

import importlib
import logging
import threading
import time
from typing import Any

import numpy as np

from edge.background import Worker
from edge.cameras.address import Address
from edge.errors import CameraError
from edge.frames import Frame

CLOSE_TIMEOUT_S = 5.0
_BUFFERS = 4
"""Enough that the sensor never waits for a free one; each takes its size of contiguous memory."""

log = logging.getLogger(__name__)


def open_picamera2(address: Address, *, upside_down: bool = False, flip: str = "none") -> "PiCamera":
    """Open ``picamera2:N`` and start it with the size and rate of its options, turned by the sensor itself.

    Raises `CameraError`: picamera2 is not installed, there is no such camera, or it cannot be started.
    """
    try:
        picamera2 = importlib.import_module("picamera2")
    except ImportError as error:
        raise CameraError(
            f"picamera2:{address.target}: the module picamera2 cannot be loaded ({error}): "
            "sudo apt install python3-picamera2, and make the venv with --system-site-packages"
        ) from error
    except Exception as error:  # a numpy newer than Pi OS's own makes simplejpeg, which it loads, raise ValueError
        raise CameraError(
            f"picamera2:{address.target}: the module picamera2 does not load with the installed packages "
            f"({type(error).__name__}: {' '.join(str(error).split())[:200]}): install emotion-edge again with "
            "-c constraints/python3.11.txt (Pi OS Bookworm) or -c constraints/python3.13.txt (Trixie)"
        ) from error
    number = int(address.target)
    found = picamera2.Picamera2.global_camera_info()
    if number >= len(found):
        there = ", ".join(
            f"picamera2:{n} ({camera.get('Model', 'unknown')})" for n, camera in enumerate(found) if not _is_usb(camera)
        )
        raise CameraError(
            f"picamera2:{number}: no such camera; "
            f"{f'there are {there}' if there else 'none is connected: check the ribbon cable, then rpicam-hello'}"
        )
    if _is_usb(found[number]):
        raise CameraError(
            f"picamera2:{number}: this is a USB camera ({found[number].get('Model') or 'unknown'}): "
            "open it as v4l2:/dev/video0, or whatever /dev/v4l/by-id names"
        )
    mirrored = upside_down != (flip == "horizontal"), upside_down != (flip == "vertical")
    return PiCamera(picamera2.Picamera2, number, size=address.size, fps=int(address.options["fps"]), mirrored=mirrored)


def _is_usb(camera: dict[str, Any]) -> bool:
    """True for a USB camera: libcamera numbers it among the Pi's own, but it gives no YUV420."""
    return "/usb" in str(camera.get("Id", ""))


def choose_mode(modes: list[dict[str, Any]], size: tuple[int, int], fps: int) -> dict[str, Any] | None:
    """Choose the mode in which a sensor sees as much as it can, fast enough, with as few pixels as ``size`` allows.

    libcamera by itself takes the mode closest in size to the largest stream: many small modes see the middle of the
    picture only, many large ones are slow.

    ``modes``: ``Picamera2.sensor_modes``; a USB camera's have no ``crop_limits``.
    ``size``: width and height of the frames, pixels. A mode of another shape is cropped to theirs.
    ``fps``: frames a second. If no mode with the whole view is fast enough, the fastest of them is returned.
    Returns None if no mode says what it sees.
    """

    def view(mode: dict[str, Any]) -> float:
        _, _, across, down = mode["crop_limits"]
        return float(min(across, down * size[0] / size[1]))

    known = [mode for mode in modes if "crop_limits" in mode]
    if not known:
        return None
    widest = max(map(view, known))
    whole = [mode for mode in known if view(mode) > 0.99 * widest]
    enough = [mode for mode in whole if round(mode["fps"]) >= fps]
    if not enough:
        return max(whole, key=lambda mode: float(mode["fps"]))

    def cost(mode: dict[str, Any]) -> tuple[bool, int, int]:
        across, down = mode["size"]
        small = across < size[0] or down < size[1]
        return small, -across * down if small else across * down, -mode["bit_depth"]

    return min(enough, key=cost)


class PiCamera:
    """A camera of the Pi, live; frames hold luma only, because colour would have to be converted.

    ``factory``: ``picamera2.Picamera2`` or a fake of it.
    ``size``: width and height of the low-resolution stream, pixels, even.
    ``mirrored``: left and right exchanged, top and bottom exchanged; both together turn the picture by 180 degrees.
    """

    live = True
    left_behind = False
    """closing hangs, and keeps the device open"""

    def __init__(
        self,
        factory: Any,
        number: int,
        *,
        size: tuple[int, int],
        fps: int,
        mirrored: tuple[bool, bool] = (False, False),
    ) -> None:
        self._name = f"picamera2:{number}"
        self._lock = threading.Lock()
        self._closed = False
        self._wake = threading.Event()
        self._pending: Any = None
        self._index = 0
        try:
            self._camera: Any = factory(number)
        except (RuntimeError, IndexError, OSError) as error:
            raise CameraError(f"{self._name}: cannot be opened; does another program use it? ({error})") from error
        try:
            self._width, self._height = self._start(size, fps, mirrored)
        except (RuntimeError, ValueError, OSError, KeyError, TypeError, ImportError) as error:
            self.close()
            raise CameraError(f"{self._name}: cannot be started with {size[0]}x{size[1]} at {fps}: {error}") from error

    def read(self, timeout_s: float) -> Frame | None:
        """Return the next frame, None once closed; ``time_s`` is the monotonic clock's.

        Raises `CameraError`: nothing came within ``timeout_s`` (a loose cable looks like this), or the camera broke.
        """
        with self._lock:
            if self._closed:
                return None
            # A job that timed out stays in picamera2's queue: the next read waits for it, it does not add another.
            if self._pending is None:
                self._wake.clear()
                self._pending = self._camera.capture_array("lores", wait=False, signal_function=self._on_done)
        woken = self._wake.wait(timeout_s)
        with self._lock:
            if self._closed:
                return None
            if not woken:
                raise CameraError(
                    f"{self._name}: no frame within {timeout_s:g} s; check the ribbon cable and `journalctl -k`"
                )
            job, self._pending = self._pending, None
            try:
                array = job.get_result(timeout=timeout_s)
            except Exception as error:
                raise CameraError(f"{self._name}: stopped giving frames: {error}") from error
            frame = Frame(self._luma(array), time.monotonic(), self._index)
            self._index += 1
            return frame

    def close(self) -> None:
        """Stop the camera and close it."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._wake.set()
        # Not stop(), which waits in picamera2's queue behind the capture that a silent camera never finishes.
        if not Worker(f"close {self._name}").finish(self._release, CLOSE_TIMEOUT_S):
            self.left_behind = True
            log.warning("%s: hangs while it is closed; it is abandoned", self._name)

    def _start(self, size: tuple[int, int], fps: int, mirrored: tuple[bool, bool]) -> tuple[int, int]:
        frame_us = round(1_000_000 / fps)
        options: dict[str, Any] = {}
        if any(mirrored):
            libcamera = importlib.import_module("libcamera")
            options["transform"] = libcamera.Transform(hflip=mirrored[0], vflip=mirrored[1])
        mode = choose_mode(self._camera.sensor_modes, size, fps)
        if mode is not None:
            options["sensor"] = {"output_size": mode["size"], "bit_depth": mode["bit_depth"]}
            if round(mode["fps"]) < fps:
                log.warning("%s: gives at most %d frames/s of its whole view, not %d", self._name, mode["fps"], fps)
        config = self._camera.create_video_configuration(
            main={"size": size, "format": "YUV420"},
            lores={"size": size, "format": "YUV420"},
            controls={"FrameDurationLimits": (frame_us, frame_us)},
            buffer_count=_BUFFERS,
            display=None,
            encode=None,
            **options,
        )
        self._camera.configure(config)
        given = self._camera.stream_configuration("lores")
        self._camera.start()
        given_width, given_height = given["size"]
        log.info("%s: %dx%d, stride %d, %d frames/s", self._name, given_width, given_height, given["stride"], fps)
        return int(given_width), int(given_height)

    def _on_done(self, _job: Any) -> None:
        self._wake.set()

    def _luma(self, array: Any) -> "np.ndarray[Any, np.dtype[np.uint8]]":
        if array.dtype != np.uint8 or array.ndim != 2 or array.shape[0] < self._height or array.shape[1] < self._width:
            raise CameraError(
                f"{self._name}: gave an array {array.dtype} {array.shape}, expected uint8 YUV420 "
                f"of {self._width}x{self._height}"
            )
        return np.ascontiguousarray(array[: self._height, : self._width])

    def _release(self) -> None:
        try:
            self._camera.close()
        except Exception as error:  # noqa: BLE001  # it is being closed
            log.warning("%s: while it was closed: %s", self._name, error)
