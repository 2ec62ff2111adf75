"""The cameras of a machine and their modes, from a fake driver that answers the requests of videodev2.h."""

import errno
import os
import struct
import sys
from pathlib import Path

import pytest

from edge.cameras.listing import FoundCamera, list_cameras, list_picamera2, list_v4l2
from tests.fakes import picamera2 as fake

CAPTURE, METADATA, M2M, DEVICE_CAPS = 0x1, 0x0080_0000, 0x8000, 0x8000_0000
MJPG, YUYV, H264 = (int.from_bytes(code, "little") for code in (b"MJPG", b"YUYV", b"H264"))
QUERYCAP, ENUM_FMT, ENUM_FRAMESIZES, ENUM_FRAMEINTERVALS = 0, 2, 74, 75
SIZE_OF = {QUERYCAP: 104, ENUM_FMT: 64, ENUM_FRAMESIZES: 44, ENUM_FRAMEINTERVALS: 52}


class Driver:
    """Answers for the device files of a folder; ``modes`` is what each format offers."""

    def __init__(self, *, card: bytes = b"HD Webcam C270", driver: bytes = b"uvcvideo", caps: int = CAPTURE) -> None:
        self.card, self.driver, self.caps = card, driver, caps
        self.modes: dict[int, dict[tuple[int, int], list[tuple[int, int]]]] = {
            MJPG: {(1280, 720): [(1, 30), (1, 15)], (640, 480): [(1, 30)]},
            YUYV: {(640, 480): [(1, 30), (2, 15)], (1280, 720): [(1, 10), (1, 5)]},
        }

    def __call__(self, _device: int, request: int, answer: bytearray) -> int:
        number, size = request & 0xFF, request >> 16 & 0x3FFF
        assert request >> 8 & 0xFF == ord("V")
        assert request >> 30 == (2 if number == QUERYCAP else 3)
        assert size == SIZE_OF[number] == len(answer)
        getattr(self, f"_answer_{number}")(answer)
        return 0

    def _answer_0(self, answer: bytearray) -> None:
        struct.pack_into("16s32s32sIII", answer, 0, self.driver, self.card, b"usb-1", 1, DEVICE_CAPS | 0xFF, self.caps)

    def _answer_2(self, answer: bytearray) -> None:
        index, kind = struct.unpack_from("II", answer)
        if kind != 1 or index >= len(self.modes):
            raise OSError(errno.EINVAL, "no more")
        struct.pack_into("I", answer, 44, list(self.modes)[index])

    def _answer_74(self, answer: bytearray) -> None:
        index, code = struct.unpack_from("II", answer)
        sizes = list(self.modes[code])
        if index >= len(sizes):
            raise OSError(errno.EINVAL, "no more")
        struct.pack_into("III", answer, 8, 1, *sizes[index])

    def _answer_75(self, answer: bytearray) -> None:
        index, code, width, height = struct.unpack_from("IIII", answer)
        rates = self.modes[code][width, height]
        if index >= len(rates):
            raise OSError(errno.EINVAL, "no more")
        struct.pack_into("III", answer, 16, 1, *rates[index])


@pytest.fixture
def dev(tmp_path: Path) -> Path:
    (tmp_path / "video0").touch()
    return tmp_path


def test_modes_of_a_usb_camera_are_listed_by_format(dev: Path) -> None:
    [camera] = list_v4l2(dev, ioctl=Driver())

    assert str(camera).splitlines() == [
        f"v4l2:{dev}/video0 (HD Webcam C270)",
        "  mjpg: 1280x720 30/15, 640x480 30",
        "  yuyv: 640x480 30/7.5, 1280x720 10/5",
    ]


def test_name_that_survives_a_restart_is_preferred(dev: Path) -> None:
    (dev / "v4l/by-id").mkdir(parents=True)
    (dev / "v4l/by-id/usb-046d_C270-video-index0").symlink_to("../../video0")
    (dev / "v4l/by-id/usb-gone").symlink_to("../../video9")

    [camera] = list_v4l2(dev, ioctl=Driver())

    assert camera.address == f"v4l2:{dev}/v4l/by-id/usb-046d_C270-video-index0"
    assert str(camera).splitlines()[0].endswith(f"(HD Webcam C270, {dev}/video0)")


@pytest.mark.parametrize(
    "driver", [Driver(caps=METADATA), Driver(caps=M2M), Driver(driver=b"unicam"), Driver(driver=b"rp1-cfe")]
)
def test_device_that_is_no_camera_of_its_own_is_left_out(dev: Path, driver: Driver) -> None:
    assert list_v4l2(dev, ioctl=driver) == []


def test_file_that_is_no_device_is_left_out(dev: Path) -> None:
    assert list_v4l2(dev) == []  # the real ioctl, on a plain file
    assert list_v4l2(dev / "none") == []


def test_sizes_in_steps_are_named_by_their_ends(dev: Path) -> None:
    class Stepwise(Driver):
        def _answer_74(self, answer: bytearray) -> None:
            struct.pack_into("IIIIIII", answer, 8, 3, 64, 1920, 16, 48, 1080, 8)

        def _answer_75(self, answer: bytearray) -> None:
            struct.pack_into("IIIII", answer, 16, 3, 1, 90, 1, 1)
            if struct.unpack_from("I", answer)[0]:
                raise OSError(errno.EINVAL, "no more")

    [camera] = list_v4l2(dev, ioctl=Stepwise())

    assert str(camera).splitlines()[1] == "  mjpg: 64x48 to 1920x1080 in steps of 16x8 90/1"


def test_driver_that_lists_nothing_is_a_camera_all_the_same(dev: Path) -> None:
    class Silent(Driver):
        def _answer_74(self, answer: bytearray) -> None:
            raise OSError(errno.ENOTTY, "no such request")

    driver = Silent(card=b"caf\xe9\x1b[31m")
    driver.modes = {H264 | 1 << 31: {}}
    [camera] = list_v4l2(dev, ioctl=driver)

    assert camera.name == "caf\ufffd\\x1b[31m"
    assert str(camera).splitlines()[1] == "  H264: any size"


def test_driver_whose_lists_never_end_is_cut_off(dev: Path) -> None:
    class Endless(Driver):
        def _answer_75(self, answer: bytearray) -> None:
            struct.pack_into("III", answer, 16, 1, 1, struct.unpack_from("I", answer)[0])

    [camera] = list_v4l2(dev, ioctl=Endless())

    assert len(camera.modes["mjpg"][0].rates) <= 100


def test_device_that_may_not_be_read_is_named(dev: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object) -> int:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr("os.open", denied)

    [camera] = list_v4l2(dev, ioctl=Driver())

    assert "add the user to the group video" in str(camera)


def test_cameras_are_in_the_order_of_their_numbers(dev: Path) -> None:
    for name in ("video10", "video2", "video-codec"):
        (dev / name).touch()
    names = [camera.device.rpartition("/")[2] for camera in list_v4l2(dev, ioctl=Driver())]
    assert names == ["video0", "video2", "video10", "video-codec"]


def test_cameras_of_the_pi_are_listed_without_usb_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    cameras = [
        {"Model": "imx708", "Num": 0, "Id": "/base/axi/pcie@120000/rp1/i2c@88000/imx708@1a"},
        {"Model": "C270", "Num": 1, "Id": "/base/axi/pcie@120000/rp1/usb@200000-1:1.0-046d:0825"},
    ]
    monkeypatch.setitem(sys.modules, "picamera2", fake)
    monkeypatch.setattr(fake.Picamera2, "global_camera_info", lambda: cameras)
    monkeypatch.setattr("edge.cameras.listing.list_v4l2", list)

    assert list_cameras() == [FoundCamera("picamera2:0", "imx708")]


def test_machine_without_picamera2_has_no_pi_camera(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "picamera2", None)
    assert list_picamera2() == []
