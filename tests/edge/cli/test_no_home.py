"""Commands run by a user id without an entry in /etc/passwd and without HOME, as containers do."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import pwd, sys
def unknown(uid): raise KeyError(uid)
pwd.getpwuid = unknown
from pathlib import Path
import edge.settings.types
edge.settings.types.SERVICE_STATE = Path("/nonexistent")
from edge.cli import main
sys.exit(main())
"""
UNSET = {"HOME", "XDG_STATE_HOME", "STATE_DIRECTORY"}


def emotion_edge(*arguments: str, cwd: Path) -> "subprocess.CompletedProcess[str]":
    environment = {name: value for name, value in os.environ.items() if name not in UNSET}
    return subprocess.run(
        [sys.executable, "-c", SCRIPT, *arguments],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ("classify", "photos"),
        ("config", "show"),
        ("bench", "--camera", "photos:photos", "--json"),
    ],
    ids=" ".join,
)
def test_command_needs_no_state_folder(arguments: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/a.bmp").write_bytes(gray_bmp())
    done = emotion_edge(*arguments, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]  # nothing was left in the working directory


@pytest.mark.parametrize(
    "arguments",
    [("run", "--camera", "photos:/absent"), ("privacy", "pause"), ("privacy", "status"), ("bundle", "list")],
    ids=" ".join,
)
def test_command_asks_for_a_state_folder_in_one_line(arguments: tuple[str, ...], tmp_path: Path) -> None:
    done = emotion_edge(*arguments, cwd=tmp_path)
    assert done.returncode == 78
    (line,) = [line for line in done.stderr.splitlines() if not line.startswith("INFO")]
    assert "state_dir: this user" in line
    assert "EMOTION_EDGE__STATE_DIR=" in line
    assert list(tmp_path.iterdir()) == []


def test_named_state_folder_is_enough(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(f'state_dir = "{tmp_path}/state"\n')
    done = emotion_edge("privacy", "status", "--config", "config.toml", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "not paused\n")


def gray_bmp() -> bytes:
    import cv2
    import numpy as np

    return bytes(cv2.imencode(".bmp", np.full((40, 40), 128, np.uint8))[1])
