"""USB and network cameras, with a device that a test scripts, and with addresses where nothing answers."""

import socket
import subprocess
import sys
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.cameras import open_camera, opencv
from edge.cameras.opencv import OpenCvCamera
from edge.errors import CameraError
from edge.frames import Frame

pytestmark = pytest.mark.usefixtures("no_thread_stays")

TIMEOUT_S = 20.0
IMAGE = np.full((48, 64, 3), (10, 20, 30), np.uint8)


class FakeDevice:
    """The three methods of ``cv2.VideoCapture`` that are called; notes every thread that comes."""

    def __init__(self, *reads: object, opened: bool = True) -> None:
        self.reads = list(reads)
        self.opened = opened
        self.released = threading.Event()
        self.threads: set[int] = set()

    def isOpened(self) -> bool:  # noqa: N802  # OpenCV's name
        self.threads.add(threading.get_ident())
        return self.opened

    def read(self) -> tuple[bool, object]:
        self.threads.add(threading.get_ident())
        step = self.reads.pop(0) if self.reads else None
        if isinstance(step, threading.Event):
            step.wait()
            return self.read()
        if isinstance(step, Exception):
            raise step
        return step is not None, step

    def release(self) -> None:
        self.threads.add(threading.get_ident())
        self.released.set()


def camera(device: FakeDevice) -> OpenCvCamera:
    return OpenCvCamera("v4l2:/dev/video9", lambda: device, hint="look at the plug")


def test_frames_come_with_luma_colour_and_the_clock() -> None:
    device = FakeDevice(IMAGE, IMAGE)
    source = camera(device)

    first, second = source.read(TIMEOUT_S), source.read(TIMEOUT_S)
    source.close()
    source.close()

    assert source.live
    assert first is not None
    assert second is not None
    assert (first.index, second.index) == (0, 1)
    assert second.time_s >= first.time_s
    assert first.luma.shape == (48, 64)
    assert first.bgr is not None
    assert source.read(TIMEOUT_S) is None
    assert device.released.is_set()
    assert len(device.threads) == 1


def test_a_broken_frame_now_and_then_is_passed_over() -> None:
    source = camera(FakeDevice(None, None, IMAGE))

    assert source.read(TIMEOUT_S) is not None
    source.close()


def test_a_camera_that_is_pulled_out_is_an_error() -> None:
    source = camera(FakeDevice(IMAGE))
    source.read(TIMEOUT_S)

    with pytest.raises(CameraError, match=r"v4l2:/dev/video9: stopped giving frames"):
        source.read(TIMEOUT_S)
    source.close()


def test_opencvs_own_error_is_one_line() -> None:
    source = camera(FakeDevice(cv2.error("bad")))

    with pytest.raises(CameraError, match="cannot decode"):
        source.read(TIMEOUT_S)
    source.close()


def test_a_read_is_bounded_and_the_frame_is_not_lost() -> None:
    hold = threading.Event()
    source = camera(FakeDevice(hold, IMAGE))

    for _ in range(2):
        with pytest.raises(CameraError, match=r"no frame within 0\.01 s"):
            source.read(0.01)
    hold.set()
    frame = source.read(TIMEOUT_S)
    source.close()

    assert frame is not None
    assert frame.index == 0


def test_closing_a_camera_that_hangs_wakes_its_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opencv, "CLOSE_TIMEOUT_S", 0.05)
    hold = threading.Event()
    device = FakeDevice(hold, IMAGE)
    source = camera(device)
    got: list[Frame | None] = []
    waiting = threading.Thread(target=lambda: got.append(source.read(TIMEOUT_S)))
    waiting.start()

    source.close()
    waiting.join(TIMEOUT_S)

    assert got == [None]
    assert not device.released.is_set()
    hold.set()
    assert device.released.wait(TIMEOUT_S)


def test_what_does_not_open_is_an_error_with_a_hint() -> None:
    device = FakeDevice(opened=False)

    with pytest.raises(CameraError, match=r"v4l2:/dev/video9: cannot be opened; look at the plug"):
        camera(device)
    assert device.released.is_set()


def test_opening_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opencv, "CLOSE_TIMEOUT_S", 0.05)
    hold = threading.Event()
    device = FakeDevice()

    def open_late() -> FakeDevice:
        hold.wait()
        return device

    with pytest.raises(CameraError, match=r"did not open within 0\.01 s"):
        OpenCvCamera("it", open_late, hint="", open_timeout_s=0.01)
    hold.set()
    assert device.released.wait(TIMEOUT_S)


class V4l2Device(FakeDevice):
    """A USB camera that notes what it is asked for, in order, and gives YUYV unless it has MJPG."""

    def __init__(self, *, has_mjpg: bool) -> None:
        super().__init__(IMAGE)
        self.asked: list[tuple[int, float]] = []
        self.has_mjpg = has_mjpg

    def set(self, key: int, value: float) -> bool:
        self.asked.append((key, value))
        return True

    def get(self, key: int) -> float:
        if key == cv2.CAP_PROP_FOURCC:
            return int.from_bytes(b"MJPG" if self.has_mjpg else b"YUYV", "little")
        return dict(self.asked)[key]


@pytest.mark.parametrize("has_mjpg", [True, False])
def test_usb_camera_is_asked_for_its_format_before_size_and_rate(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, has_mjpg: bool
) -> None:
    device = V4l2Device(has_mjpg=has_mjpg)
    monkeypatch.setattr(cv2, "VideoCapture", lambda _path, _backend: device)
    caplog.set_level("INFO")

    source = open_camera("v4l2:/dev/null?format=mjpg&size=1280x720&fps=30")
    assert source.read(TIMEOUT_S) is not None
    source.close()

    assert device.asked == [
        (cv2.CAP_PROP_FOURCC, int.from_bytes(b"MJPG", "little")), (cv2.CAP_PROP_FRAME_WIDTH, 1280),
        (cv2.CAP_PROP_FRAME_HEIGHT, 720), (cv2.CAP_PROP_FPS, 30), (cv2.CAP_PROP_BUFFERSIZE, 1),
    ]  # fmt: skip
    warned = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert warned == ([] if has_mjpg else ["v4l2:/dev/null: does not have the format MJPG; it gives YUYV"])
    assert "v4l2:/dev/null: 1280x720" in caplog.text


def test_what_is_no_device_is_refused(tmp_path: Path) -> None:
    clip = tmp_path / "a.mp4"
    clip.touch()

    with pytest.raises(CameraError, match="no such device"):
        open_camera("v4l2:/dev/video-that-is-not-there")
    with pytest.raises(CameraError, match=f"there is file:{clip}"):
        open_camera(f"v4l2:{clip}")
    with pytest.raises(CameraError, match="v4l2:/dev/null: cannot be opened; is it a camera"):
        open_camera("v4l2:/dev/null")


@pytest.mark.parametrize("answers", [False, True])
def test_a_network_camera_that_is_not_there_tells_no_password(answers: bool) -> None:
    code = "import sys; from edge.cameras import open_camera; open_camera(sys.argv[1])"
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        threading.Thread(target=hang_up, args=(server,), daemon=True).start() if answers else server.close()

        # In a process of its own, as FFmpeg writes its messages past Python.
        done = subprocess.run(
            [sys.executable, "-c", code, f"rtsp://admin:hunter2@127.0.0.1:{port}/live"],
            capture_output=True, text=True, check=False, cwd=Path(__file__).parents[3],
        )  # fmt: skip

    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        f"edge.errors.CameraError: rtsp://***@127.0.0.1:{port}/live: cannot be opened; "
        "check host, port, path, user and password"
    )
    assert "hunter2" not in done.stderr + done.stdout


def hang_up(server: socket.socket) -> None:
    """Take one call, listen to what is asked, and hang up."""
    connection, _ = server.accept()
    connection.recv(1000)
    connection.close()
