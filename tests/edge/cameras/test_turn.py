"""camera_rotate and camera_flip: the same picture from every source."""

import sys
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest

from edge.cameras import open_camera, opening
from edge.cameras.address import Address
from edge.cameras.turn import Turned
from edge.frames import Frame
from tests.fakes import picamera2 as fake
from tests.fakes.camera import FakeCamera

IMAGE = np.arange(6, dtype=np.uint8).reshape(2, 3)
EXPECTED = {
    (0, "none"): [[0, 1, 2], [3, 4, 5]],
    (90, "none"): [[3, 0], [4, 1], [5, 2]],
    (180, "none"): [[5, 4, 3], [2, 1, 0]],
    (270, "none"): [[2, 5], [1, 4], [0, 3]],
    (0, "horizontal"): [[2, 1, 0], [5, 4, 3]],
    (0, "vertical"): [[3, 4, 5], [0, 1, 2]],
    (90, "horizontal"): [[0, 3], [1, 4], [2, 5]],
    (180, "vertical"): [[2, 1, 0], [5, 4, 3]],
}


def frame() -> Frame:
    return Frame(IMAGE, 1.0, 7, np.asarray(cv2.cvtColor(IMAGE, cv2.COLOR_GRAY2BGR), np.uint8))


@pytest.mark.parametrize(("turn", "expected"), EXPECTED.items())
def test_picture_is_turned_clockwise_then_mirrored(turn: tuple[int, Any], expected: list[list[int]]) -> None:
    source = Turned(FakeCamera(frame(), None), rotate=turn[0], flip=turn[1])

    turned = source.read(1.0)

    assert turned is not None
    assert turned.luma.tolist() == expected
    assert turned.bgr is not None
    assert turned.bgr[:, :, 1].tolist() == expected
    assert (turned.time_s, turned.index) == (1.0, 7)
    assert source.read(1.0) is None


@pytest.mark.parametrize("live", [True, False])
def test_turned_source_behaves_like_its_source(live: bool) -> None:
    camera = FakeCamera(frame(), live=live)
    source = Turned(camera, rotate=90, flip="none")

    assert source.live is live
    assert not source.left_behind
    camera.left_behind = True  # type: ignore[attr-defined]
    assert source.left_behind
    source.close()
    assert camera.closed.is_set()


@pytest.mark.parametrize("uri", ["file:a.mp4", "v4l2:/dev/video0", "rtsp://h/a", "http://h/a", "photos:x", "demo:"])
@pytest.mark.parametrize(("turn", "expected"), EXPECTED.items())
def test_every_source_is_turned(
    monkeypatch: pytest.MonkeyPatch, uri: str, turn: tuple[Any, Any], expected: list[list[int]]
) -> None:
    def open_fake(_address: Address) -> FakeCamera:
        return FakeCamera(frame())

    monkeypatch.setattr(opening, "_open", open_fake)

    got = open_camera(uri, rotate=turn[0], flip=turn[1]).read(1.0)

    assert got is not None
    assert got.luma.tolist() == expected


@pytest.mark.parametrize(
    ("rotate", "flip", "transform", "shape"),
    [
        (0, "none", None, (240, 320)),
        (180, "none", (True, True), (240, 320)),
        (0, "horizontal", (True, False), (240, 320)),
        (0, "vertical", (False, True), (240, 320)),
        (180, "horizontal", (False, True), (240, 320)),
        (90, "none", None, (320, 240)),
        (270, "vertical", None, (320, 240)),
    ],
)
def test_pi_camera_is_turned_by_its_sensor_where_it_can(
    monkeypatch: pytest.MonkeyPatch, rotate: Any, flip: Any, transform: tuple[bool, bool] | None, shape: tuple[int, int]
) -> None:
    libcamera = ModuleType("libcamera")
    libcamera.Transform = lambda hflip, vflip: (hflip, vflip)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "libcamera", libcamera)
    monkeypatch.setitem(sys.modules, "picamera2", fake)
    monkeypatch.setattr(fake.Picamera2, "opened", [])
    monkeypatch.setattr(fake.Picamera2, "frames", [fake.yuv420(320, 240, luma=7)])

    source = open_camera("picamera2:0?size=320x240", rotate=rotate, flip=flip)
    got = source.read(5.0)
    source.close()

    [camera] = fake.Picamera2.opened
    assert camera.config is not None
    assert camera.config["transform"] == transform
    assert got is not None
    assert got.luma.shape == shape
