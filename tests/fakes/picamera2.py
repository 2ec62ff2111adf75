"""The parts of picamera2's API that `edge.cameras.picamera2` calls, with the same names, checks and shapes.

After raspberrypi/picamera2: ``picamera2.py`` (configurations, streams), ``job.py``, ``request.py`` (arrays).
"""

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

STRIDE_BYTES = 64


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
    busy: ClassVar[bool] = False

    def __init__(self, camera_num: int = 0) -> None:
        if self.busy:
            raise RuntimeError("Camera __init__ sequence did not complete.")
        self.number = camera_num
        self.state = "open"
        self.config: dict[str, Any] | None = None
        self.jobs: list[Job] = []
        self.captures = 0
        self.script = list(self.frames)
        Picamera2.opened.append(self)

    @staticmethod
    def global_camera_info() -> list[dict[str, Any]]:
        return Picamera2.cameras

    def create_video_configuration(
        self,
        main: dict[str, Any],
        lores: dict[str, Any] | None = None,
        *,
        buffer_count: int = 6,
        controls: dict[str, Any] | None = None,
        display: str | None = "main",
        encode: str | None = "main",
        transform: Any = None,
    ) -> dict[str, Any]:
        return {
            "use_case": "video", "main": dict(main), "lores": dict(lores) if lores else None, "display": display,
            "encode": encode, "buffer_count": buffer_count, "controls": dict(controls or {}),
            "transform": transform,
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
        width = lores["size"][0]
        lores["stride"] = -(-width // STRIDE_BYTES) * STRIDE_BYTES
        self.config = camera_config

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
        self.jobs.pop(0).finish(result)

    def stop(self) -> None:
        if self.state == "started":
            self.state = "stopped"

    def close(self) -> None:
        self.state = "closed"


def yuv420(width: int, height: int, luma: int) -> NDArray[np.uint8]:
    """An array like the camera's: luma rows, then chroma, both padded to the stride with 255."""
    stride = -(-width // STRIDE_BYTES) * STRIDE_BYTES
    array = np.full((height * 3 // 2, stride), 255, np.uint8)
    array[:height, :width] = luma
    return array
