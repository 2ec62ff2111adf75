"""`classify` with the models that ship, on pictures of each kind and on clips."""

import csv
import io
import json
import os
import pty
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edge import EmotionAnalyzer, EmotionEdgeError
from edge.cli import app
from edge.cli.classify_files import classify as classify_all
from edge.cli.sources import Source
from edge.cli.support import run

Result = tuple[int, list[dict[str, Any]], str]


@pytest.fixture
def face() -> NDArray[np.uint8]:
    data = pytest.importorskip("skimage.data", reason="scikit-image is not installed: pip install '.[demo]'")
    picture: NDArray[np.uint8] = cv2.cvtColor(data.astronaut(), cv2.COLOR_RGB2BGR)
    return picture


def write_clip(path: Path, frames: list[NDArray[np.uint8]]) -> None:
    height, width = frames[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (width, height))
    for frame in frames:
        writer.write(frame)
    writer.release()


def classify(capsys: pytest.CaptureFixture[str], *arguments: object) -> Result:
    code = run(app, ["classify", *map(str, arguments)])
    captured = capsys.readouterr()
    return code, [json.loads(line) for line in captured.out.splitlines()], captured.err


def test_a_photo_gives_its_face(face: NDArray[np.uint8], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), face)
    code, (line,), _ = classify(capsys, tmp_path / "a.png")
    assert code == 0
    assert (line["width"], line["height"]) == (512, 512)
    (seen,) = line["faces"]
    x, y, width, height = seen["box"]
    assert x < 224 < x + width
    assert y < 120 < y + height
    assert seen["emotion"] == "happy"
    assert sum(seen["scores"].values()) == pytest.approx(1, abs=0.001)
    assert seen["confidence"] == max(seen["scores"].values())


def test_every_kind_of_picture_has_an_answer(
    face: NDArray[np.uint8], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gray = cv2.cvtColor(face, cv2.COLOR_BGR2GRAY)
    kinds = {
        "16bit.png": face.astype(np.uint16) * 257,
        "alpha.png": np.dstack([face, np.full(face.shape[:2], 255, np.uint8)]),
        "gray.png": gray,
        "small.jpg": cv2.resize(face, (192, 192), interpolation=cv2.INTER_AREA),
        "large.jpg": cv2.resize(face, (3000, 3000)),
        "one.png": face[:1, :1],
        "strip.png": face[:1],
    }
    for name, picture in kinds.items():
        cv2.imwrite(str(tmp_path / name), picture)
    code, lines, _ = classify(capsys, tmp_path)
    assert code == 0
    found = {Path(line["source"]).name: len(line["faces"]) for line in lines}
    assert found == dict.fromkeys(kinds, 1) | {"one.png": 0, "strip.png": 0}


def test_unreadable_files_are_one_line_each_and_the_rest_goes_on(
    face: NDArray[np.uint8], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.jpg").write_text("no picture")
    (tmp_path / "text.mp4").write_text("no clip")
    cv2.imwrite(str(tmp_path / "z.png"), face)
    code, lines, errors = classify(capsys, tmp_path, tmp_path / "absent.png")
    assert code == 1
    assert [Path(line["source"]).name for line in lines] == ["z.png"]
    told = errors.splitlines()
    assert len(told) == 4
    for name in ("empty.png", "text.jpg", "text.mp4", "absent.png"):
        assert sum(name in line and line.startswith("error: ") for line in told) == 1


def test_annotate_writes_a_picture_for_each(
    face: NDArray[np.uint8], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        cv2.imwrite(str(tmp_path / folder / "same.png"), face)
    code, _, _ = classify(capsys, tmp_path / "a", tmp_path / "b", "--annotate", tmp_path / "out")
    assert code == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["same-2.png", "same.png"]
    drawn = cv2.imread(str(tmp_path / "out/same.png"))
    assert drawn is not None
    assert (drawn != face).any(axis=2).sum() > 1000


def test_originals_are_never_drawn_over(
    face: NDArray[np.uint8], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), face)
    before = (tmp_path / "a.png").read_bytes()
    code, lines, errors = classify(capsys, tmp_path, "--annotate", tmp_path)
    assert code == 1
    assert len(lines) == 1
    assert "holds the original" in errors
    assert (tmp_path / "a.png").read_bytes() == before


def test_an_address_that_is_none_stops_nobody_else(
    face: NDArray[np.uint8], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), face)
    code, lines, errors = classify(capsys, "http://[::1", tmp_path / "a.png")
    assert (code, len(lines), len(errors.splitlines())) == (1, 1, 1)


def test_csv_has_a_row_a_face(face: NDArray[np.uint8], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), face)
    cv2.imwrite(str(tmp_path / "b.png"), np.zeros((100, 100), np.uint8))
    assert run(app, ["classify", str(tmp_path), "--format", "csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["emotion"] for row in rows] == ["happy", ""]
    assert float(rows[0]["happy"]) == float(rows[0]["confidence"])


def test_clip_gives_a_line_a_frame_and_the_next_begins_anew(
    face: NDArray[np.uint8], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a.avi", "b.avi"):
        write_clip(tmp_path / name, [face] * 6)
    code, lines, _ = classify(capsys, tmp_path / "a.avi", tmp_path / "b.avi")
    assert code == 0
    assert [line["time_s"] for line in lines[:6]] == pytest.approx([index / 10 for index in range(6)], abs=0.01)
    assert [[seen["face"] for seen in line["faces"]] for line in lines] == [[1]] * 12


@pytest.mark.parametrize("shown", [[True], [True, True, True], [False, True, True], [True, False, True]])
def test_a_face_is_reported_in_each_frame_that_shows_it(
    shown: list[bool], face: NDArray[np.uint8], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_clip(tmp_path / "a.avi", [face if one else np.zeros_like(face) for one in shown])
    code, lines, _ = classify(capsys, tmp_path / "a.avi")
    assert code == 0
    assert [bool(line["faces"]) for line in lines] == shown


def test_small_faces_of_a_clip_are_found_at_once(
    face: NDArray[np.uint8], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wide = np.full((480, 640, 3), 150, np.uint8)
    wide[100:340, 200:440] = cv2.resize(face, (240, 240), interpolation=cv2.INTER_AREA)
    write_clip(tmp_path / "a.avi", [wide, wide])
    _, lines, _ = classify(capsys, tmp_path / "a.avi")
    assert [len(line["faces"]) for line in lines] == [1, 1]


def test_folders_in_folders_are_taken_if_asked_else_counted(
    face: NDArray[np.uint8], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a.png", "b/10.png", "b/9.png", "b/c/d.png", ".hidden/e.png", "b/.f.png", "b/._9.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(tmp_path / name), np.zeros((40, 40), np.uint8))
    (tmp_path / "notes.TXT").touch()
    (tmp_path / "b/loop").symlink_to(tmp_path)
    code, lines, errors = classify(capsys, tmp_path)
    assert (code, [line["source"] for line in lines]) == (0, [f"{tmp_path}/a.png"])
    assert errors == (
        "left out: 1 folder (--recursive looks into folders); 1 hidden file; 1 file of other kinds (.txt 1)\n"
    )
    code, lines, errors = classify(capsys, tmp_path, "--recursive")
    assert code == 0
    found = [str(Path(line["source"]).relative_to(tmp_path)) for line in lines]
    assert found == ["a.png", "b/9.png", "b/10.png", "b/c/d.png"]
    assert "3 hidden" in errors
    assert "link" in errors


@pytest.mark.parametrize("name", ["clip", "clip.jpg", "clip.mjpeg"])
def test_the_content_says_what_is_a_clip(
    name: str, face: NDArray[np.uint8], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_clip(tmp_path / "a.avi", [face] * 3)
    (tmp_path / "a.avi").rename(tmp_path / name)
    code, lines, _ = classify(capsys, tmp_path / name)
    assert (code, len(lines)) == (0, 3)


def test_a_hidden_file_that_is_named_is_looked_at(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cv2.imwrite(str(tmp_path / ".a.png"), np.zeros((40, 40), np.uint8))
    code, lines, errors = classify(capsys, tmp_path / ".a.png")
    assert (code, len(lines), errors) == (0, 1, "")


def test_a_name_that_is_too_long_and_a_pipe_stop_nobody_else(
    face: NDArray[np.uint8], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), face)
    os.mkfifo(tmp_path / "b.png")
    (tmp_path / "c.png").symlink_to("absent.png")
    code, lines, errors = classify(capsys, "n" * 300 + ".png", tmp_path)
    assert (code, len(lines)) == (1, 1)
    long, dangling, left_out = errors.splitlines()
    assert long.startswith("error: nnn")
    assert "c.png: no such file" in dangling
    assert left_out == "left out: 1 file of other kinds (.png 1)"


@pytest.mark.slow("classifies many files in several jobs")
@pytest.mark.parametrize("jobs", [2, 3])
def test_jobs_change_nothing_but_the_time(
    jobs: int, face: NDArray[np.uint8], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for index in range(8):
        cv2.imwrite(str(tmp_path / f"{index}.png"), np.roll(face, 10 * index, axis=1))
    (tmp_path / "3a.png").write_text("no picture")
    write_clip(tmp_path / "4.avi", [face] * 70)
    one = classify(capsys, tmp_path, tmp_path / "absent.png", tmp_path / "0.png")
    many = classify(capsys, tmp_path, tmp_path / "absent.png", tmp_path / "0.png", "--jobs", jobs)
    assert many == one
    assert one[0] == 1
    assert len(one[1]) == 8 + 70 + 1


@pytest.mark.slow("classifies many files in several jobs")
def test_jobs_that_are_left_end_their_threads(face: NDArray[np.uint8], tmp_path: Path) -> None:
    write_clip(tmp_path / "a.avi", [face] * 80)
    analyzers = [EmotionAnalyzer(), EmotionAnalyzer()]
    errors: list[EmotionEdgeError] = []
    before = threading.active_count()
    looks = classify_all(analyzers, [Source(str(tmp_path / "a.avi"))] * 4, on_error=errors.append)
    next(looks)
    assert threading.active_count() == before + 2
    looks.close()
    assert threading.active_count() == before
    assert errors == []


@pytest.mark.slow("classifies many files in several jobs")
def test_ctrl_c_ends_jobs_with_130_and_no_traceback(face: NDArray[np.uint8], tmp_path: Path) -> None:
    write_clip(tmp_path / "a.avi", [face] * 300)
    command = [sys.executable, "-m", "edge", "classify", "--jobs", "2", *[str(tmp_path / "a.avi")] * 5]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, process_group=0
    ) as process:
        assert process.stdout is not None
        json.loads(process.stdout.readline())
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate()
    assert (process.returncode, errors) == (130, "")


@pytest.mark.slow("classifies many files in several jobs")
@pytest.mark.parametrize("to_file", [True, False])
def test_progress_is_shown_on_a_terminal_beside_lines_in_a_file(to_file: bool, tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        cv2.imwrite(str(tmp_path / name), np.zeros((40, 40), np.uint8))
    reader, terminal = pty.openpty()
    with (tmp_path / "lines").open("wb") as lines:
        command = [sys.executable, "-m", "edge", "classify", str(tmp_path)]
        environment = {**os.environ, "TERM": "xterm"}
        subprocess.run(command, stdout=lines if to_file else terminal, stderr=terminal, check=True, env=environment)
    os.close(terminal)
    shown = read_all(reader)
    assert ("2/2" in shown) == to_file
    if to_file:
        assert [json.loads(line)["faces"] for line in (tmp_path / "lines").read_text().splitlines()] == [[], []]


def read_all(reader: int) -> str:
    shown = b""
    with suppress(OSError):  # the end of a terminal whose other side is closed
        while part := os.read(reader, 65_536):
            shown += part
    os.close(reader)
    return shown.decode()


def test_a_name_that_is_no_utf8_is_annotated(face: NDArray[np.uint8], tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/caf\xe9.png"
    cv2.imwrite(str(tmp_path / "a.png"), face)
    (tmp_path / "a.png").rename(os.fsdecode(path))
    command = [sys.executable, "-m", "edge", "classify", os.fsdecode(path), "--format", "csv"]
    command += ["--annotate", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, check=False, env={**os.environ, "PYTHONIOENCODING": "utf-8"})
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"caf\\xe9.png" in done.stdout
    assert [os.fsencode(path.name) for path in (tmp_path / "out").iterdir()] == [b"caf\xe9.png"]


@pytest.mark.slow("starts the program for each name")
@pytest.mark.parametrize("name", [b"caf\xe9.png", b"\xff\xfe.png", b"a\\xe9.png", "caf\u00e9\n.png".encode()])
def test_name_in_json_gives_its_bytes_back(name: bytes, tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/" + name
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((9, 9), np.uint8))
    (tmp_path / "a.png").rename(os.fsdecode(path))
    command = [sys.executable, "-m", "edge", "classify", os.fsdecode(path)]
    strict = {**os.environ, "PYTHONIOENCODING": "utf-8:strict"}
    done = subprocess.run(command, capture_output=True, check=False, env=strict)
    assert (done.returncode, done.stderr) == (0, b"")
    [line] = done.stdout.decode("ascii").splitlines()
    row = json.loads(line)
    assert row["source"].encode()  # no surrogate
    assert (bytes.fromhex(row["source_hex"]) if "source_hex" in row else row["source"].encode()) == path


def test_names_of_frames_and_pictures_do_not_meet(
    face: NDArray[np.uint8], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_clip(tmp_path / "a.avi", [face])
    cv2.imwrite(str(tmp_path / "a-000000.png"), face)
    (tmp_path / "b").mkdir()
    write_clip(tmp_path / "b/a.avi", [face])
    code, _, _ = classify(capsys, tmp_path, "-r", "--annotate", tmp_path / "out")
    assert code == 0
    assert len(list((tmp_path / "out").iterdir())) == 3


def test_a_bundle_that_is_none_ends_with_78(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((9, 9), np.uint8))
    code, _, errors = classify(capsys, tmp_path / "a.png", "--bundle", tmp_path)
    assert code == 78
    assert len(errors.splitlines()) == 1
    assert "manifest.json" in errors


def test_help_is_quick_to_load() -> None:
    script = (
        "import sys; from edge.cli import app; from edge.cli.support import run; run(app, ['--help']); "
        "sys.exit(', '.join(m for m in ('cv2', 'dlib', 'numpy', 'paho', 'ai_edge_litert') if m in sys.modules) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "classify" in done.stdout
