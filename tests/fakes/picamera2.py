"""The parts of picamera2's API that `edge.cameras.picamera2` calls, with the same names, checks and shapes.

After raspberrypi/picamera2 0.3.38: ``picamera2.py`` (configurations, streams), ``job.py``, ``request.py`` (arrays).
`scripts/test-picamera2` shows that the real one behaves like this.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

STRIDE_BYTES = 64


def _modes(bit_depth: int, *rows: tuple[int, int, float, int, int, int, int]) -> list[dict[str, Any]]:
    return [
        {"size": (width, height), "bit_depth": bit_depth, "fps": fps, "crop_limits": tuple(crop)}
        for width, height, fps, *crop in rows
    ]


_IMX219 = (
    (640, 480, 103.33, 1000, 752, 1280, 960),
    (1640, 1232, 41.85, 0, 0, 3280, 2464),
    (1920, 1080, 47.57, 680, 692, 1920, 1080),
    (3280, 2464, 21.19, 0, 0, 3280, 2464),
)
SENSORS: dict[str, list[dict[str, Any]]] = {
    "ov5647": _modes(
        10,
        (640, 480, 58.92, 16, 0, 2560, 1920),
        (1296, 972, 46.34, 0, 0, 2592, 1944),
        (1920, 1080, 32.81, 348, 434, 1928, 1080),
        (2592, 1944, 15.63, 0, 0, 2592, 1944),
    ),
    "imx219": _modes(10, *_IMX219) + _modes(8, *_IMX219),
    "imx708": _modes(
        10,
        (1536, 864, 120.13, 768, 432, 3072, 1728),
        (2304, 1296, 56.03, 0, 0, 4608, 2592),
        (4608, 2592, 14.35, 0, 0, 4608, 2592),
    ),
    "imx477": _modes(10, (1332, 990, 120.05, 696, 528, 2664, 1980))
    + _modes(
        12,
        (2028, 1080, 50.03, 0, 440, 4056, 2160),
        (2028, 1520, 40.01, 0, 0, 4056, 3040),
        (4056, 3040, 10.0, 0, 0, 4056, 3040),
    ),
    "imx296": _modes(10, (1456, 1088, 60.38, 0, 0, 1456, 1088)),
}
"""Modes of the sensors that Raspberry Pi sells, as ``rpicam-hello --list-cameras`` and ``sensor_modes`` print them."""


class Job:
    """What ``capture_array(wait=False)`` returns."""

    def __init__(self, signal_function: Callable[["Job"], None] | None) -> None:
        self._future: Future[Any] = Future()
        self._signal_function = signal_function

    def get_result(self, timeout: float | None = None) -> Any:
        return self._future.result(timeout=timeout)

    def finish(self, result: Any) -> None:
        if isinstance(result, Exception):
            self._future.set_exception(result)
        else:
            self._future.set_result(result)
        if self._signal_function:
            self._signal_function(self)


class Picamera2:
    """One camera; the captures get ``frames`` in turn, later ones wait for `deliver`."""

    cameras: ClassVar[list[dict[str, Any]]] = [{"Model": "imx219", "Num": 0, "Id": "/base/i2c/imx219@10"}]
    opened: ClassVar[list["Picamera2"]] = []
    frames: ClassVar[list[Any]] = []

    def __init__(self, camera_num: int = 0) -> None:
        if any(other.number == camera_num and other.state != "closed" for other in self.opened):
            raise RuntimeError("Camera __init__ sequence did not complete.")
        self.number: int = camera_num
        self.state: str = "open"
        self.queue_moved = threading.Condition()
        self.config: dict[str, Any] | None = None
        self.mode: dict[str, Any] | None = None
        self.jobs: list[Job] = []
        self.captures = 0
        self.script = list(self.frames)
        Picamera2.opened.append(self)

    @staticmethod
    def global_camera_info() -> list[dict[str, Any]]:
        return Picamera2.cameras

    @property
    def sensor_modes(self) -> list[dict[str, Any]]:
        if self.state == "started":
            raise RuntimeError("Camera must be stopped before configuring")
        return SENSORS.get(self.cameras[self.number]["Model"], [{"format": "YUYV"}])

    def create_video_configuration(
        self,
        main: dict[str, Any],
        lores: dict[str, Any] | None = None,
        *,
        buffer_count: int = 6,
        controls: dict[str, Any] | None = None,
        display: str | None = "main",
        encode: str | None = "main",
        sensor: dict[str, Any] | None = None,
        transform: Any = None,
    ) -> dict[str, Any]:
        return {
            "use_case": "video", "main": dict(main), "lores": dict(lores) if lores else None, "display": display,
            "encode": encode, "buffer_count": buffer_count, "controls": dict(controls or {}),
            "transform": transform, "sensor": dict(sensor or {}),
        }  # fmt: skip

    def configure(self, camera_config: dict[str, Any]) -> None:
        main, lores = camera_config["main"], camera_config["lores"]
        for stream in (main, lores):
            if not isinstance(stream["size"], tuple) or stream["size"][0] % 2 or stream["size"][1] % 2:
                raise RuntimeError("width and height should be even")
        if lores["size"][0] > main["size"][0] or lores["size"][1] > main["size"][1]:
            raise RuntimeError("lores stream dimensions may not exceed main stream")
        if lores["format"] != "YUV420":
            raise RuntimeError("lores stream must be YUV")
        for name in camera_config["controls"]:
            if name not in ("FrameDurationLimits", "NoiseReductionMode"):
                raise RuntimeError(f"Control {name} is not advertised by libcamera")
        if set(camera_config["sensor"]) - {"bit_depth", "output_size"}:
            raise RuntimeError("Unexpected keys in sensor configuration")
        self.mode = self._select_mode(camera_config)
        width = lores["size"][0]
        lores["stride"] = -(-width // STRIDE_BYTES) * STRIDE_BYTES
        self.config = camera_config

    def _select_mode(self, camera_config: dict[str, Any]) -> dict[str, Any] | None:
        """Score the sensor's modes as picamera2 and libcamera do; the lowest score wins."""
        modes = [mode for mode in self.sensor_modes if "size" in mode]
        if not modes:
            return None
        native = max(modes, key=lambda mode: (mode["size"][0] * mode["size"][1], mode["bit_depth"]))
        bit_depth = camera_config["sensor"].get("bit_depth", native["bit_depth"])
        width, height = camera_config["sensor"].get("output_size", camera_config["main"]["size"])

        def distance(desired: float, actual: float) -> float:
            return (actual - desired) / 4 if actual > desired else 2 * (desired - actual)

        def score(mode: dict[str, Any]) -> float:
            across, down = mode["size"]
            shape = 1500 * distance(width / height, across / down)
            depth = 500 * abs(bit_depth - mode["bit_depth"])
            return distance(width, across) + distance(height, down) + shape + float(depth)

        return min(modes, key=score)

    def stream_configuration(self, name: str = "main") -> dict[str, Any]:
        assert self.config is not None
        return dict(self.config[name])

    def start(self) -> None:
        if self.config is None:
            raise RuntimeError("Camera has not been configured")
        self.state = "started"

    def capture_array(
        self, name: str = "main", wait: bool | None = None, signal_function: Callable[[Job], None] | None = None
    ) -> Job:
        assert name == "lores"
        assert wait is False
        assert self.state == "started"
        job = Job(signal_function)
        self.captures += 1
        if self.script:
            job.finish(self.script.pop(0))
        else:
            self.jobs.append(job)
        return job

    def deliver(self, result: Any) -> None:
        with self.queue_moved:
            job = self.jobs.pop(0)
            self.queue_moved.notify_all()
        job.finish(result)

    def stop(self) -> None:
        """Stop once all jobs before this one are done, as the real one's event loop does."""
        with self.queue_moved:
            self.queue_moved.wait_for(lambda: not self.jobs)
        if self.state == "started":
            self.state = "stopped"

    def close(self) -> None:
        """End the event loop, so that nothing waits for its jobs, then stop."""
        self.state = "closed"


def yuv420(width: int, height: int, luma: int) -> NDArray[np.uint8]:
    """An array like the camera's: luma rows, then chroma, both padded to the stride with 255."""
    stride = -(-width // STRIDE_BYTES) * STRIDE_BYTES
    array = np.full((height * 3 // 2, stride), 255, np.uint8)
    array[:height, :width] = luma
    return array
