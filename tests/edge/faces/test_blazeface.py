"""The optional second detector: taken out of a wheel, checked, and what its answers mean."""

import logging
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edge.errors import BundleError, ConfigError
from edge.faces.blazeface import BlazeFaceSearch
from edge.faces.detector import NEW_FACE_SCORE, FaceDetector
from edge.faces.types import Box, Region
from edge.inference.blazeface import BYTES, FILE_NAME, MEMBER, install, load
from edge.pipeline import load_pipeline
from edge.settings import FaceSettings, Settings


def wheel(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize("kind", ["absent", "no archive", "without it", "another size", "another content"])
def test_detector_install_refuses_other_files(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "mediapipe.whl"
    if kind == "no archive":
        path.write_bytes(b"no archive")
    elif kind != "absent":
        contents = {"without it": {}, "another size": {MEMBER: b"x"}, "another content": {MEMBER: bytes(BYTES)}}
        wheel(path, contents[kind])
    with pytest.raises(ConfigError, match=r"mediapipe==0\.10\.21") as raised:
        install(tmp_path / "state", path)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "state" / FILE_NAME).exists()


def test_detector_that_is_damaged_is_refused(tmp_path: Path) -> None:
    for content in (b"", bytes(BYTES)):
        (tmp_path / FILE_NAME).write_bytes(content)
        with pytest.raises(BundleError, match="damaged"):
            load(str(tmp_path))


def test_dlib_searches_where_blazeface_is_not_installed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        pipeline = load_pipeline(Settings(state_dir=str(tmp_path), faces=FaceSettings(search="blazeface")))
    assert "emotion-edge detector install" in caplog.text
    assert pipeline.find_still(np.zeros((200, 200), np.uint8)) == []


class FakeNetwork:
    """Sees one face: eyes at a place of its input, 40 pixels apart, turned by an angle."""

    def __init__(self, at: tuple[int, int], turned_deg: float) -> None:
        self.at, self.turned_deg = at, turned_deg
        self.seen: list[NDArray[np.float32]] = []

    def __call__(self, pixels: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        self.seen.append(pixels)
        shapes, logits = np.zeros((2304, 16), np.float32), np.full(2304, -9.0, np.float32)
        place = self.at[1] // 4 * 48 + self.at[0] // 4
        turn = np.exp(1j * np.radians(self.turned_deg)) * 20
        shapes[place, 2:4] = 96
        shapes[place, 4:8] = (-turn.real, -turn.imag, turn.real, turn.imag)
        shapes[place - 1 : place + 2] = shapes[place]
        logits[place - 1 : place + 2] = (2, 3, 2)
        return shapes, logits


@pytest.mark.parametrize(("turned_deg", "expected"), [(0.0, 0.0), (20.0, 0.0), (90.0, 90.0), (-150.0, -150.0)])
def test_blazeface_gives_one_upright_box_for_a_face(turned_deg: float, expected: float) -> None:
    search = BlazeFaceSearch(FakeNetwork((96, 72), turned_deg), FaceDetector())
    [seen] = search.find(np.zeros((480, 640), np.uint8))
    side = 40 / 0.414 * 640 / 192
    assert seen.box == pytest.approx(Box(*map(round, (327 - side / 2, 247 - side / 2, side, side))), abs=2)
    assert seen.turned_deg == pytest.approx(expected, abs=0.1)
    assert seen.score < NEW_FACE_SCORE  # dlib's detector must vouch for it


@pytest.mark.parametrize(("height", "width", "found"), [(48, 64, 1), (40, 48, 0), (12, 16, 0)])
def test_blazeface_proposes_no_tiny_faces(height: int, width: int, found: int) -> None:
    search = BlazeFaceSearch(FakeNetwork((96, 72), 0.0), FaceDetector())  # half as wide as the picture
    assert len(search.find(np.zeros((height, width), np.uint8))) == found


def test_blazeface_searches_closely_in_parts_that_overlap() -> None:
    network = FakeNetwork((4, 4), 0.0)
    search = BlazeFaceSearch(network, FaceDetector())
    search.find_in(np.zeros((480, 640), np.uint8), Region(Box(100, 80, 400, 300), 1.0, 1))
    assert len(network.seen) == 9
    assert {pixels.shape for pixels in network.seen} == {(1, 192, 192, 3)}


def test_blazeface_leaves_turned_and_blurred_searches_to_dlib() -> None:
    network = FakeNetwork((96, 72), 0.0)
    search = BlazeFaceSearch(network, FaceDetector())
    plain = Region(Box(0, 0, 320, 240), 1.0, 0)
    for region in (replace(plain, turned_deg=90), replace(plain, sharpened=True)):
        assert search.find_in(np.zeros((240, 320), np.uint8), region) == []
    assert network.seen == []
