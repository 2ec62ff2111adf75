"""The Pi's camera, against a fake of the parts of picamera2 that are called."""

import sys
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from edge.cameras import open_camera, picamera2
from edge.errors import CameraError
from edge.frames import Frame
from tests.fakes import picamera2 as fake

TIMEOUT_S = 20.0


@pytest.fixture(autouse=True)
def fake_picamera2(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[fake.Picamera2]]:
    monkeypatch.setitem(sys.modules, "picamera2", fake)
    monkeypatch.setattr(fake.Picamera2, "opened", [])
    before = set(threading.enumerate())
    yield fake.Picamera2
    for thread in set(threading.enumerate()) - before:
        thread.join(TIMEOUT_S)
        assert not thread.is_alive(), f"{thread.name} was left running"


def script(monkeypatch: pytest.MonkeyPatch, *frames: Any) -> None:
    monkeypatch.setattr(fake.Picamera2, "frames", list(frames))


def test_the_luma_plane_comes_without_the_padding(monkeypatch: pytest.MonkeyPatch) -> None:
    script(monkeypatch, fake.yuv420(650, 480, luma=7), fake.yuv420(650, 480, luma=8))
    source = open_camera("picamera2:0?width=650")

    first, second = source.read(TIMEOUT_S), source.read(TIMEOUT_S)
    source.close()

    assert source.live
    assert first is not None
    assert second is not None
    assert first.luma.shape == (480, 650)
    assert np.unique(first.luma).tolist() == [7]
    assert np.unique(second.luma).tolist() == [8]
    assert (first.index, second.index) == (0, 1)
    assert second.time_s >= first.time_s
    assert first.bgr is None


def test_size_and_rate_are_asked_for() -> None:
    source = open_camera("picamera2:0?width=320&height=240&fps=20")
    [camera] = fake.Picamera2.opened

    assert camera.number == 0
    assert camera.config is not None
    assert camera.config["lores"]["size"] == (320, 240)
    assert camera.config["controls"]["FrameDurationLimits"] == (50_000, 50_000)
    assert camera.config["encode"] is camera.config["display"] is None
    source.close()
    source.close()
    assert camera.state == "closed"
    assert source.read(TIMEOUT_S) is None


def test_a_silent_camera_is_an_error_and_its_job_is_waited_for_again() -> None:
    source = open_camera("picamera2:0")
    [camera] = fake.Picamera2.opened

    for _ in range(3):
        with pytest.raises(CameraError, match=r"picamera2:0: no frame within 0\.01 s; check the ribbon cable"):
            source.read(0.01)
    assert camera.captures == 1
    camera.deliver(fake.yuv420(640, 480, luma=9))
    frame = source.read(TIMEOUT_S)
    source.close()

    assert frame is not None
    assert frame.index == 0


def test_a_camera_that_breaks_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    script(monkeypatch, RuntimeError("Camera frontend has timed out"))
    source = open_camera("picamera2:0")

    with pytest.raises(CameraError, match="stopped giving frames: Camera frontend has timed out"):
        source.read(TIMEOUT_S)
    source.close()


def test_an_array_of_another_shape_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    script(monkeypatch, fake.yuv420(320, 240, luma=1))
    source = open_camera("picamera2:0")

    with pytest.raises(CameraError, match=r"\(360, 320\), expected uint8 YUV420 of 640x480"):
        source.read(TIMEOUT_S)
    source.close()


def test_closing_wakes_a_read_that_waits() -> None:
    source = open_camera("picamera2:0")
    got: list[Frame | None] = []
    waiting = threading.Thread(target=lambda: got.append(source.read(TIMEOUT_S)))
    waiting.start()

    source.close()
    waiting.join(TIMEOUT_S)

    assert got == [None]


def test_a_camera_that_hangs_in_stop_does_not_hang_close(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picamera2, "CLOSE_TIMEOUT_S", 0.05)
    hold = threading.Event()
    monkeypatch.setattr(fake.Picamera2, "stop", lambda _self: hold.wait())
    source = open_camera("picamera2:0")

    source.close()

    hold.set()


def test_a_camera_in_use_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fake.Picamera2, "busy", True)

    with pytest.raises(CameraError, match="picamera2:0: cannot be opened; does another program use it"):
        open_camera("picamera2:0")


def test_a_camera_that_refuses_its_configuration_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_self: fake.Picamera2, _config: dict[str, Any]) -> None:
        raise RuntimeError("Invalid camera configuration")

    monkeypatch.setattr(fake.Picamera2, "configure", refuse)

    with pytest.raises(CameraError, match="cannot be started with 640x480 at 15: Invalid camera configuration"):
        open_camera("picamera2:0")
    assert fake.Picamera2.opened[0].state == "closed"


def test_another_number_names_the_cameras_that_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CameraError, match=r"no such camera; there are picamera2:0 \(imx219\)"):
        open_camera("picamera2:1")
    monkeypatch.setattr(fake.Picamera2, "cameras", [])
    with pytest.raises(CameraError, match="none is connected"):
        open_camera("picamera2:0")


def test_without_picamera2_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "picamera2", None)

    with pytest.raises(CameraError, match=r"sudo apt install python3-picamera2, .*--system-site-packages") as caught:
        open_camera("picamera2:0")
    assert caught.value.exit_code == 69
