"""Drive the Pi camera's adapter with the real picamera2 and libcamera's virtual pipeline; called by test-picamera2.

This machine has no sensor and no DMA heaps, so five things of picamera2 are replaced: its buffers are plain memory, its
raw stream is left out, a completed request counts as a good one (libcamera 0.4 leaves the second stream's status
unset), frames come every 1/30 s, and the camera can be made silent as by a loose cable.
"""

import logging
import os
import signal
import subprocess
import sys
import threading
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import libcamera

SILENT = threading.Event()
FRAME_S = 1 / 30


def replace_hardware() -> None:
    """Make picamera2 run without a sensor."""
    for name in ("pidng", "pidng.core", "pidng.camdefs", "prctl", "piexif", "pykms"):
        sys.modules[name] = MagicMock()  # what writes raw pictures and shows them on a screen
    from picamera2 import Picamera2, picamera2
    from picamera2.allocators import dmaallocator

    class Unsynchronised(dmaallocator.DmaAllocator.DmaSync):  # type: ignore[misc]
        def __enter__(self) -> Any:
            return self.get_buffer()

        def __exit__(self, *_: object) -> None:
            pass

    handle = picamera2.CameraManager.handle_request

    def paced(manager: Any, flush: int | None = None) -> None:
        if flush is None:
            time.sleep(FRAME_S)
            if SILENT.is_set():
                return
        handle(manager, flush)

    dmaallocator.DmaHeap, dmaallocator.DmaAllocator.DmaSync = Heap, Unsynchronised
    dmaallocator.libcamera = types.SimpleNamespace(FrameBuffer=two_planes)
    picamera2.libcamera, picamera2.CameraManager.handle_request = Libcamera(), paced
    Picamera2._get_raw_modes = lambda _self: [{"format": "SRGGB10", "size": (3280, 2464)}]  # noqa: SLF001
    Picamera2.sensor_modes = property(lambda _self: [{"format": "NV12"}])


class Heap:
    """Stands for the kernel's DMA heap."""

    isValid = True  # noqa: N815

    def alloc(self, name: str, size: int) -> Any:
        from picamera2.dma_heap import UniqueFD

        descriptor = os.memfd_create(name)
        os.ftruncate(descriptor, size)
        return UniqueFD(descriptor)

    def close(self) -> None:
        pass


def two_planes(planes: list[Any]) -> Any:
    """Split a buffer into luma and chroma: the virtual pipeline gives NV12."""
    luma, chroma, size = planes[0], libcamera.FrameBuffer.Plane(), planes[0].length
    chroma.fd, chroma.offset, chroma.length, luma.length = luma.fd, size * 2 // 3, size // 3, size * 2 // 3
    return libcamera.FrameBuffer([luma, chroma])


two_planes.Plane = libcamera.FrameBuffer.Plane  # type: ignore[attr-defined]


class Anything:
    """Equals everything."""

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        return True


class Libcamera:
    """libcamera, but every status is a good one."""

    FrameMetadata = types.SimpleNamespace(Status=types.SimpleNamespace(Success=Anything()))

    def __getattr__(self, name: str) -> Any:
        return getattr(libcamera, name)


def refused(work: Callable[[], Any]) -> str:
    """Return the error that the adapter raises, one line."""
    from edge.errors import EmotionEdgeError

    try:
        work()
    except EmotionEdgeError as error:
        return str(error)
    raise SystemExit("it was not refused")


def check() -> None:
    """Open, read, close, open again; silent, two openers, wrong sizes."""
    from edge.cameras import open_camera

    def first_frame(address: str) -> str:
        began_s = time.monotonic()
        camera = open_camera(address)
        opened_s = time.monotonic() - began_s
        frame = camera.read(5.0)
        assert frame is not None
        for _ in range(20):
            assert camera.read(5.0) is not None
        began_s = time.monotonic()
        camera.close()
        height, width = frame.luma.shape
        assert not getattr(camera, "left_behind", False)
        return f"{width}x{height}, opened in {opened_s:.2f} s, closed in {time.monotonic() - began_s:.2f} s"

    print("healthy:", first_frame("picamera2:0"))
    print("opened again:", first_frame("picamera2:0"))
    camera = open_camera("picamera2:0")
    assert camera.read(5.0) is not None
    print("two openers:", refused(lambda: open_camera("picamera2:0")))
    SILENT.set()
    time.sleep(2 * FRAME_S)
    while True:  # frames that were under way
        try:
            camera.read(0.5)
        except Exception as error:  # noqa: BLE001
            print("silent:", error)
            break
    began_s = time.monotonic()
    camera.close()
    assert not getattr(camera, "left_behind", False), "the silent camera hangs while it is closed"
    print(f"silent camera closed in {time.monotonic() - began_s:.2f} s")
    SILENT.clear()
    print("opened after silence:", first_frame("picamera2:0"))
    print("another size:", first_frame("picamera2:0?size=320x240&fps=30"))
    print("no such camera:", refused(lambda: open_camera("picamera2:7")))
    print("larger than the sensor:", end=" ")
    try:
        print(first_frame("picamera2:0?size=1920x1080"))
    except Exception as error:  # noqa: BLE001
        print("refused:", error)


def check_sigterm() -> None:
    """SIGTERM while a capture of a silent camera waits: the daemon ends in order, and the camera is free."""
    command = [sys.executable, __file__, "daemon"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as daemon:
        assert daemon.stderr is not None
        for line in daemon.stderr:
            if "broker" in line:
                break
        time.sleep(3)
        began_s = time.monotonic()
        daemon.send_signal(signal.SIGTERM)
        rest = daemon.stderr.read()
    print(f"SIGTERM in a capture: exit code {daemon.returncode} after {time.monotonic() - began_s:.1f} s")
    assert daemon.returncode == 0, rest


def main() -> None:
    """Run all checks; with ``daemon``, run the daemon on the virtual camera, which falls silent after a second."""
    logging.disable(logging.INFO)
    replace_hardware()
    if sys.argv[1:] == ["daemon"]:
        logging.disable(logging.NOTSET)
        from edge.cli import app
        from edge.cli.support import run

        threading.Timer(4.0, SILENT.set).start()
        options = ["--camera", "picamera2:0", "--mqtt", "mqtt://127.0.0.1:9"]
        sys.exit(run(app, ["run", *options]))
    print(f"picamera2 on {sys.version.split()[0]}, libcamera {libcamera.CameraManager.singleton().version}")
    check()
    check_sigterm()
    print("all as it should be")


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    main()
