"""Clips as people bring them: any name, any container, turned by a phone, with oblong pixels, with skipped frames."""

import os
import shutil
import struct
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edge.cameras import open_camera
from edge.errors import CameraError
from tests.edge.cameras.test_file import FRAMES, read_all, write_clip, write_cut_clip

WIDTH, HEIGHT = 96, 64
CONTAINER_BOXES = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd", b"mp4v")


def write_marked(path: Path, codec: str, frames: int = 20) -> Path:
    """A clip with a white upper left corner."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), 25, (WIDTH, HEIGHT))  # type: ignore[attr-defined]
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    image[: HEIGHT // 2, : WIDTH // 2] = 255
    for _ in range(frames):
        writer.write(image)
    writer.release()
    return path


def set_matrix(path: Path, matrix: tuple[int, ...]) -> None:
    """Write the display matrix of the track header, version 0 (ISO/IEC 14496-12, 8.3.2)."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    struct.pack_into(">9i", data, at, *matrix)
    path.write_bytes(data)


def insert_pixel_shape(path: Path, across: int, down: int) -> None:
    """Add a ``pasp`` box to the description of the video, at the end of the file's last box."""
    data = bytearray(path.read_bytes())
    box = struct.pack(">I4sII", 16, b"pasp", across, down)
    start = data.index(b"mp4v", data.index(b"stsd")) - 4
    end = start + struct.unpack_from(">I", data, start)[0]
    for name in CONTAINER_BOXES:
        at = start if name == b"mp4v" else data.index(name, data.index(b"moov")) - 4
        struct.pack_into(">I", data, at, struct.unpack_from(">I", data, at)[0] + len(box))
    path.write_bytes(data[:end] + box + data[end:])


def corner_of(luma: NDArray[np.uint8]) -> tuple[str, str]:
    """Where the white quarter is."""
    height, width = luma.shape
    top, left = luma[: height // 2].mean() > luma[height // 2 :].mean(), None
    left = luma[:, : width // 2].mean() > luma[:, width // 2 :].mean()
    return ("top" if top else "bottom"), ("left" if left else "right")


ONE = 1 << 16
W = 1 << 30


@pytest.mark.parametrize(
    ("matrix", "shape", "corner"),
    [
        ((ONE, 0, 0, 0, ONE, 0, 0, 0, W), (HEIGHT, WIDTH), ("top", "left")),
        ((0, ONE, 0, -ONE, 0, 0, HEIGHT * ONE, 0, W), (WIDTH, HEIGHT), ("top", "right")),
        ((-ONE, 0, 0, 0, -ONE, 0, WIDTH * ONE, HEIGHT * ONE, W), (HEIGHT, WIDTH), ("bottom", "right")),
        ((0, -ONE, 0, ONE, 0, 0, 0, WIDTH * ONE, W), (WIDTH, HEIGHT), ("bottom", "left")),
    ],
)
@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".3gp"])
def test_clip_of_a_phone_is_upright(
    tmp_path: Path, suffix: str, matrix: tuple[int, ...], shape: tuple[int, int], corner: tuple[str, str]
) -> None:
    path = write_marked(tmp_path / f"a{suffix}", "mp4v")
    set_matrix(path, matrix)

    frame = read_all(open_camera(f"file:{path}"))[0]

    assert frame.luma.shape == shape
    assert corner_of(frame.luma) == corner


@pytest.mark.parametrize(("across", "down", "width"), [(16, 11, 140), (2, 1, 192), (3, 4, 72), (1, 1, 96), (0, 1, 96)])
def test_clip_with_oblong_pixels_is_stretched(tmp_path: Path, across: int, down: int, width: int) -> None:
    path = write_marked(tmp_path / "a.mp4", "mp4v")
    insert_pixel_shape(path, across, down)

    frames = read_all(open_camera(f"file:{path}"))

    assert len(frames) == 20
    assert frames[0].luma.shape == (HEIGHT, width)
    assert frames[0].bgr is not None
    assert frames[0].bgr.shape == (HEIGHT, width, 3)


@pytest.mark.parametrize(
    ("suffix", "codec"),
    [
        (".3gp", "mp4v"), (".ts", "mpg2"), (".mts", "mpg2"), (".mpg", "mpg1"), (".mjpeg", "MJPG"), (".mkv", "mp4v"),
        (".webm", "VP80"), (".m4v", "mp4v"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["clip{}", "clip", "clip.jpg"])
def test_clip_is_known_by_its_content(tmp_path: Path, suffix: str, codec: str, name: str) -> None:
    path = tmp_path / name.format(suffix)
    write_marked(tmp_path / f"a{suffix}", codec).rename(path)

    assert len(read_all(open_camera(f"file:{path}"))) == 20


@pytest.mark.parametrize("name", [b"caf\xe9.mp4", b"\xff\xfe", b"a%d \n#?.mp4", "☃ 日本.mov".encode(), b"-i.mp4"])
def test_clip_name_is_any_bytes(tmp_path: Path, name: bytes) -> None:
    path = Path(os.fsdecode(bytes(tmp_path) + b"/" + name))
    write_clip(tmp_path / "a.mp4").rename(path)

    assert len(read_all(open_camera(f"file:{path}"))) == FRAMES


@pytest.mark.parametrize("content", [b"", b"no video"])
def test_error_about_an_odd_name_can_be_printed(tmp_path: Path, content: bytes) -> None:
    path = Path(os.fsdecode(bytes(tmp_path) + b"/caf\xe9\n.mp4"))
    path.write_bytes(content)

    with pytest.raises(CameraError) as caught:
        open_camera(f"file:{path}")
    assert str(caught.value).isprintable()
    assert "caf\\xe9\\n.mp4" in str(caught.value)


def test_avi_with_skipped_frames_is_not_called_damaged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    if shutil.which("ffmpeg") is None:
        pytest.skip("ffmpeg, which writes AVIs with skipped frames, is not installed")
    whole, skipped = write_clip(tmp_path / "a.mp4"), tmp_path / "skipped.avi"
    command: list[str | Path] = [
        "ffmpeg",
        "-v",
        "error",
        "-i",
        whole,
        "-vf",
        "select='gt(mod(n,4),1)'",
        "-vsync",
        "vfr",
        skipped,
    ]
    subprocess.run(command, check=True)

    assert len(read_all(open_camera(f"file:{skipped}"))) == FRAMES / 2
    assert caplog.records == []


def test_looped_clip_gives_its_warning_once_and_then_a_count(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write_cut_clip(tmp_path / "a.mp4")
    frames = len(read_all(open_camera(f"file:{path}")))
    caplog.clear()

    source = open_camera(f"file:{path}?loop=1")
    for _ in range(5 * frames + 1):
        assert source.read(5.0) is not None
    assert len(caplog.records) == 1
    source.close()

    first, last = (record.getMessage() for record in caplog.records)
    assert last == f"{first} (5 times)"
