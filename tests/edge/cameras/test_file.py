"""Clips from disk: whole, cut, damaged, looped, and at their own pace."""

import logging
import struct
import subprocess
import sys
import threading
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.cameras import open_camera
from edge.cameras.playback import Paced
from edge.errors import CameraError
from edge.frames import Frame, FrameSource
from tests.fakes.camera import FakeCamera, make_frame

FPS = 10
FRAMES = 40
GRAY_STEP = 5


def write_clip(path: Path, frames: int = FRAMES) -> Path:
    codec = {".avi": "MJPG", ".mp4": "mp4v"}[path.suffix]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), FPS, (96, 64))  # type: ignore[attr-defined]
    texture = np.random.default_rng(3).integers(0, 40, (64, 96, 3))
    for index in range(frames):
        writer.write((texture + index * GRAY_STEP).astype(np.uint8))
    writer.release()
    return path


def move_index_to_front(data: bytes) -> bytes:
    """Put an mp4's ``moov`` box before ``mdat``, as clips for streaming have it, so that a cut one can be opened."""
    boxes: dict[bytes, bytes] = {}
    at = 0
    while at < len(data):
        size = struct.unpack_from(">I", data, at)[0]
        boxes[data[at + 4 : at + 8]] = data[at : at + size]
        at += size
    moov = bytearray(boxes[b"moov"])
    table = moov.find(b"stco")
    for entry in range(struct.unpack_from(">I", moov, table + 8)[0]):
        place = table + 12 + entry * 4
        struct.pack_into(">I", moov, place, struct.unpack_from(">I", moov, place)[0] + len(moov))
    return boxes[b"ftyp"] + bytes(moov) + b"".join(box for name, box in boxes.items() if name not in (b"ftyp", b"moov"))


def write_cut_clip(path: Path) -> Path:
    data = write_clip(path).read_bytes()
    if path.suffix == ".mp4":
        data = move_index_to_front(data)
    path.write_bytes(data[: len(data) // 2])
    return path


def read_all(source: FrameSource, limit: int = 1000) -> list[Frame]:
    frames: list[Frame] = []
    while len(frames) < limit and (frame := source.read(5.0)) is not None:
        frames.append(frame)
    source.close()
    return frames


@pytest.mark.parametrize("name", ["a.avi", "a.mp4", "with?odd 100%#1.mp4", "clip?loop=1.avi"])
def test_every_frame_comes_in_order_with_the_clips_own_time(tmp_path: Path, name: str) -> None:
    source = open_camera(f"file:{write_clip(tmp_path / name)}")

    assert not source.live
    frames = read_all(source)

    assert [frame.index for frame in frames] == list(range(FRAMES))
    assert [frame.time_s for frame in frames] == pytest.approx([index / FPS for index in range(FRAMES)], abs=0.001)
    assert frames[0].luma.shape == (64, 96)
    assert frames[0].bgr is not None
    assert frames[0].bgr.shape == (64, 96, 3)
    grays = [float(frame.luma.mean()) for frame in frames]
    assert grays == pytest.approx([grays[0] + index * GRAY_STEP for index in range(FRAMES)], abs=6)
    assert source.read(1.0) is None


def test_a_relative_path_that_looks_like_a_protocol_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_clip(tmp_path / "concat:a.avi")
    monkeypatch.chdir(tmp_path)

    assert len(read_all(open_camera("file:concat:a.avi"))) == FRAMES


def test_a_whole_clip_ends_without_a_word(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    read_all(open_camera(f"file:{write_clip(tmp_path / 'a.mp4')}"))

    assert caplog.records == []


@pytest.mark.parametrize("name", ["a.avi", "a.mp4"])
def test_a_cut_clip_gives_what_it_holds_and_says_how_much(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    path = write_cut_clip(tmp_path / name)

    frames = read_all(open_camera(f"file:{path}"))

    assert 5 < len(frames) < FRAMES - 5
    assert all(later.time_s > earlier.time_s for earlier, later in pairwise(frames))
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert f"{len(frames)} of {FRAMES} frames" in record.getMessage()
    assert path.name in record.getMessage()


def test_a_cut_clip_prints_one_line_and_no_chatter_of_ffmpeg(tmp_path: Path) -> None:
    path = write_cut_clip(tmp_path / "a.mp4")
    code = "import sys; from edge.cameras import open_camera; c = open_camera(sys.argv[1])\nwhile c.read(1): pass"

    # In a process of its own: FFmpeg reads its level once, and here the clips have been written before.
    done = subprocess.run(
        [sys.executable, "-c", code, f"file:{path}"],
        capture_output=True, text=True, check=True, cwd=Path(__file__).parents[3],
    )  # fmt: skip

    assert done.stdout == ""
    [line] = done.stderr.splitlines()
    assert line.startswith(f"{path}: ")
    assert "frames came: the clip is damaged or cut off" in line


def test_a_clip_whose_middle_is_gone_gives_the_rest_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_clip(tmp_path / "a.avi")
    data = bytearray(path.read_bytes())
    third = len(data) // 3
    data[third : 2 * third] = bytes(third)
    path.write_bytes(data)

    frames = read_all(open_camera(f"file:{path}"))

    assert 0 < len(frames) < FRAMES - 5
    [record] = caplog.records
    assert f"{len(frames)} of {FRAMES} frames came: the clip is damaged" in record.getMessage()


@pytest.mark.media
def test_a_clip_that_was_trimmed_by_its_index_is_whole(media: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert len(read_all(open_camera(f"file:{media}/no-face.mp4"))) == 95

    assert caplog.records == []


def test_what_is_no_clip_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("this is no video\n" * 100)
    (tmp_path / "zeros.mp4").write_bytes(bytes(10_000))

    for name, words in (
        ("missing.mp4", "no such clip"),
        ("empty.mp4", "is empty"),
        ("text.mp4", "holds no video"),
        ("zeros.mp4", "holds no video"),
        ("", "photos:"),
        ("n" * 300, "name too long"),
    ):
        with pytest.raises(CameraError) as caught:
            open_camera(f"file:{tmp_path}/{name}")
        assert words in str(caught.value).lower()
        assert "\n" not in str(caught.value)


def test_a_loop_goes_on_counting(tmp_path: Path) -> None:
    source = open_camera(f"file:{write_clip(tmp_path / 'a.avi', frames=4)}?loop=1")

    frames = read_all(source, limit=11)

    assert [frame.index for frame in frames] == list(range(11))
    assert [frame.time_s for frame in frames] == pytest.approx([index / FPS for index in range(11)], abs=0.001)
    assert frames[4].luma.mean() == pytest.approx(frames[0].luma.mean())
    assert source.read(1.0) is None


def test_closing_ends_it_and_may_be_done_twice(tmp_path: Path) -> None:
    source = open_camera(f"file:{write_clip(tmp_path / 'a.avi')}")
    assert source.read(1.0) is not None

    source.close()
    source.close()

    assert source.read(1.0) is None


def test_realtime_is_live_and_gives_every_frame_to_who_keeps_up(tmp_path: Path) -> None:
    source = open_camera(f"file:{write_clip(tmp_path / 'a.avi', frames=4)}?pace=realtime")

    assert source.live
    assert [frame.index for frame in read_all(source)] == [0, 1, 2, 3]


class Hours:
    """A clock that a test turns."""

    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def test_a_paced_frame_waits_until_it_is_due() -> None:
    hours = Hours()
    source = Paced(FakeCamera(make_frame(0, time_s=0), make_frame(1, time_s=60), live=False), monotonic=hours)

    first = source.read(0.01)
    with pytest.raises(CameraError, match="no frame within"):
        source.read(0.01)
    hours.now_s += 60
    second = source.read(0.01)

    assert first is not None
    assert second is not None
    assert (first.index, second.index) == (0, 1)
    assert second.time_s == 60
    assert source.read(0.01) is None


def test_closing_wakes_a_read_that_waits_for_its_time() -> None:
    source = Paced(FakeCamera(make_frame(0, time_s=0), make_frame(1, time_s=3600), live=False))
    assert source.read(1.0) is not None
    got: list[Frame | None] = []
    waiting = threading.Thread(target=lambda: got.append(source.read(4000.0)))
    waiting.start()

    source.close()
    waiting.join(20)

    assert got == [None]
