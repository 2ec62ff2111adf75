"""`classify` with the models that ship, on pictures of each kind and on clips."""

import csv
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edge.cli import app
from edge.cli.support import run

Result = tuple[int, list[dict[str, Any]], str]


@pytest.fixture
def face() -> NDArray[np.uint8]:
    data = pytest.importorskip("skimage.data", reason="scikit-image is not installed: pip install 'emotion-edge[demo]'")
    picture: NDArray[np.uint8] = cv2.cvtColor(data.astronaut(), cv2.COLOR_RGB2BGR)
    return picture


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


def test_what_cannot_be_read_is_one_line_each_and_the_rest_goes_on(
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


def test_a_clip_gives_a_line_a_frame_and_visits_begin_anew_in_the_next(
    face: NDArray[np.uint8], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a.avi", "b.avi"):
        writer = cv2.VideoWriter(str(tmp_path / name), cv2.VideoWriter.fourcc(*"MJPG"), 10, (512, 512))
        for _ in range(6):
            writer.write(face)
        writer.release()
    code, lines, _ = classify(capsys, tmp_path / "a.avi", tmp_path / "b.avi")
    assert code == 0
    assert [line["time_s"] for line in lines[:6]] == pytest.approx([index / 10 for index in range(6)], abs=0.01)
    assert [[seen["face"] for seen in line["faces"]] for line in lines] == [[], [], [1], [1], [1], [1]] * 2


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
