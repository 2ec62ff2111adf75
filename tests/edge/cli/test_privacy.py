"""`emotion-edge privacy` as a user types it; and that no image is kept anywhere, whatever one sets."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

from edge import cli
from edge.cli.support import run
from edge.daemon.privacy import FILE_NAME
from edge.events.payloads import FaceReading
from edge.events.visits import Moment
from edge.web import View

EDGE = Path(cli.__file__).parents[1]
MAY_WRITE_PICTURES = {"classify_files.py", "demo.py", "picture.py", "seeing.py"}
"""commands for pictures of one's own, the demo, whose clip is built in, the doctor, and the live page"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def privacy(folder: Path, *words: str) -> int:
    return run(cli.app, ["privacy", *words, "--state-dir", str(folder)])


def test_pause_status_resume(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert privacy(folder, "status") == 0
    assert privacy(folder, "pause", "--for", "1h") == 0
    assert (folder / FILE_NAME).exists()
    assert privacy(folder, "status", "--json") == 0
    assert privacy(folder, "resume") == 0
    assert privacy(folder, "pause") == 0
    assert privacy(folder, "status") == 0
    assert privacy(folder, "resume") == 0
    lines = capsys.readouterr().out.splitlines()
    status = json.loads(lines.pop(2))
    assert status["paused"]
    assert 3500 < status["left_s"] <= 3600
    assert lines == [
        "not paused",
        "paused for 1h",
        "not paused",
        "paused until `emotion-edge privacy resume`",
        "paused",
        "not paused",
    ]
    assert not (folder / FILE_NAME).exists()


@pytest.mark.parametrize("wrong", ["1", "h", "0s", "-1h", "1.5h", "32d", "999999999d", "1w", ""])
def test_a_time_that_is_none_is_one_line(folder: Path, wrong: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(cli.app, ["privacy", "pause", f"--for={wrong}", "--state-dir", str(folder)]) == 2
    assert "allowed are 90s, 30m, 1h, 2d and the like, up to 31d" in capsys.readouterr().err
    assert list(folder.iterdir()) == []


def test_a_folder_that_is_not_there_is_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert privacy(folder / "none", "pause") == 1
    assert capsys.readouterr().err.startswith("error: privacy: ")


def test_daemon_without_a_page_loads_no_encoder_and_keeps_no_history() -> None:
    code = "import sys, edge.daemon.service; sys.exit('edge.web.picture' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    view = View()
    reading = FaceReading(face=1, box=(1, 2, 3, 4), emotion="sad", confidence=0.9, scores={}, duration_s=0.0)
    view.happened([Moment("face_appeared", reading, 0.0)])
    assert view.history.since(-1) == (0, [])


def test_nothing_of_the_daemon_can_encode_a_picture() -> None:
    """Whatever writes an image calls one of these; only commands that are for pictures, and `web.picture`, do."""
    encoders = {"imwrite", "imencode", "VideoWriter", "tofile", "imsave", "save_image"}
    found = set()
    for path in EDGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute | ast.Name):
                name = node.attr if isinstance(node, ast.Attribute) else node.id
                if name in encoders:
                    found.add(path.name)
    assert found == MAY_WRITE_PICTURES
