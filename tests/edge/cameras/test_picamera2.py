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


def test_silent_camera_is_an_error_and_its_job_is_awaited_again() -> None:
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


def test_a_camera_that_hangs_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picamera2, "CLOSE_TIMEOUT_S", 0.05)
    hold = threading.Event()
    monkeypatch.setattr(fake.Picamera2, "close", lambda _self: hold.wait())
    source = open_camera("picamera2:0")

    source.close()

    assert source.left_behind  # type: ignore[attr-defined]
    hold.set()


def test_a_silent_camera_closes_and_opens_again() -> None:
    source = open_camera("picamera2:0")
    with pytest.raises(CameraError, match="no frame within"):
        source.read(0.01)

    source.close()

    assert not source.left_behind  # type: ignore[attr-defined]
    again = open_camera("picamera2:0")
    fake.Picamera2.opened[-1].script.append(fake.yuv420(640, 480, luma=3))
    assert again.read(TIMEOUT_S) is not None
    again.close()


def test_a_camera_in_use_is_an_error() -> None:
    source = open_camera("picamera2:0")

    with pytest.raises(CameraError, match="picamera2:0: cannot be opened; does another program use it"):
        open_camera("picamera2:0")
    source.close()


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


USB_CAMERAS = [
    {"Model": "HD Pro Webcam C920", "Num": 0, "Id": "/base/scb/pcie@7d500000/pci@0,0/usb@0,0-1.3:1.0-046d:082d"},
    {"Model": "USB Camera: USB Camera", "Num": 0, "Id": "/base/axi/pcie@120000/rp1/usb@200000-2:1.0-0c45:6366"},
    {"Model": "", "Num": 0, "Id": "/base/soc/usb@7e980000-1:1.0-1e4e:0109"},
]


@pytest.mark.parametrize("webcam", USB_CAMERAS, ids=["pi4", "pi5", "zero"])
def test_a_usb_camera_is_opened_by_v4l2(monkeypatch: pytest.MonkeyPatch, webcam: dict[str, Any]) -> None:
    monkeypatch.setattr(fake.Picamera2, "cameras", [webcam])

    with pytest.raises(CameraError, match=r"0: this is a USB camera.*: open it as v4l2:/dev/video0") as caught:
        open_camera("picamera2:0")
    assert caught.value.exit_code == 69
    assert not fake.Picamera2.opened


def test_a_usb_camera_is_not_listed_as_the_pis(monkeypatch: pytest.MonkeyPatch) -> None:
    sensor = {"Model": "imx219", "Num": 0, "Id": "/base/soc/i2c0mux/i2c@1/imx219@10"}
    monkeypatch.setattr(fake.Picamera2, "cameras", [USB_CAMERAS[0], sensor])

    with pytest.raises(CameraError, match=r"no such camera; there are picamera2:1 \(imx219\)$"):
        open_camera("picamera2:2")
    open_camera("picamera2:1").close()
    monkeypatch.setattr(fake.Picamera2, "cameras", USB_CAMERAS)
    with pytest.raises(CameraError, match="none is connected"):
        open_camera("picamera2:3")


def test_without_picamera2_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "picamera2", None)

    with pytest.raises(CameraError, match=r"sudo apt install python3-picamera2, .*--system-site-packages") as caught:
        open_camera("picamera2:0")
    assert caught.value.exit_code == 69


def _open_sensor(
    monkeypatch: pytest.MonkeyPatch, model: str, size: tuple[int, int], fps: int
) -> tuple[dict[str, Any], float]:
    """Open it; return the sensor's mode and which share of the width it could see is in the picture."""
    monkeypatch.setattr(fake.Picamera2, "cameras", [{"Model": model, "Num": 0}])
    open_camera(f"picamera2:0?width={size[0]}&height={size[1]}&fps={fps}").close()
    mode = fake.Picamera2.opened[-1].mode
    assert mode is not None

    def seen(crop: tuple[int, int, int, int]) -> float:
        return min(crop[2], crop[3] * size[0] / size[1])

    return mode, seen(mode["crop_limits"]) / max(seen(other["crop_limits"]) for other in fake.SENSORS[model])


@pytest.mark.parametrize("fps", [10, 15, 30])
@pytest.mark.parametrize("size", [(320, 240), (640, 360), (640, 480), (1280, 720), (1920, 1080)])
@pytest.mark.parametrize("model", sorted(fake.SENSORS))
def test_a_sensor_sees_all_it_can_fast_enough(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, model: str, size: tuple[int, int], fps: int
) -> None:
    mode, share = _open_sensor(monkeypatch, model, size, fps)

    assert share > 0.99
    assert mode["fps"] >= fps
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


@pytest.mark.parametrize(
    ("model", "size", "fps", "expected"),
    [
        ("ov5647", (640, 480), 15, (1296, 972)),
        ("imx219", (640, 480), 15, (1640, 1232)),
        ("imx219", (1920, 1080), 15, (3280, 2464)),
        ("imx219", (1920, 1080), 30, (1640, 1232)),
        ("imx708", (640, 480), 15, (2304, 1296)),
        ("imx477", (640, 360), 30, (2028, 1520)),
        ("imx477", (640, 480), 40, (2028, 1520)),
        ("imx296", (640, 480), 60, (1456, 1088)),
    ],
)
def test_a_sensor_uses_its_smallest_such_mode(
    monkeypatch: pytest.MonkeyPatch, model: str, size: tuple[int, int], fps: int, expected: tuple[int, int]
) -> None:
    mode, _ = _open_sensor(monkeypatch, model, size, fps)

    assert mode["size"] == expected
    assert mode["bit_depth"] > 8


@pytest.mark.parametrize(("model", "most"), [("ov5647", 46), ("imx219", 41), ("imx477", 40), ("imx708", 56)])
def test_a_rate_no_mode_gives_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, model: str, most: int
) -> None:
    _, share = _open_sensor(monkeypatch, model, (640, 480), 90)

    assert share > 0.99
    assert f"picamera2:0: gives at most {most} frames/s of its whole view, not 90" in caplog.text


def test_a_camera_without_sensor_modes_opens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fake.Picamera2, "cameras", [{"Model": "USB Camera", "Num": 0}])

    open_camera("picamera2:0").close()

    [camera] = fake.Picamera2.opened
    assert camera.config is not None
    assert camera.config["sensor"] == {}
