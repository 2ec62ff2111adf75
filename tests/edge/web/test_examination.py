"""The doctor as the page runs it."""

import asyncio
from pathlib import Path

import pytest

from edge.errors import EmotionEdgeError
from edge.web.examination import Examination
from tests.fakes.mosquitto import free_port


def test_doctor_takes_the_daemons_flags_and_leaves_its_camera(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text(f'version = 2\nstate_dir = "{tmp_path}"\ncamera = "demo:"\n')
    port = free_port()
    flags = {"mqtt.url": f"mqtt://127.0.0.1:{port}", "device": "hallway", "bundle": None}
    findings = {one.check: one for one in asyncio.run(Examination(config, flags).run()).findings}
    assert findings["settings"].found == f"{config} is valid"
    assert f"mqtt://127.0.0.1:{port}" in findings["broker"].found
    assert "camera" not in findings


def test_doctor_that_prints_something_else_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\necho nonsense\nexit 3\n")
    program.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(program))
    with pytest.raises(EmotionEdgeError, match="the doctor ended with exit code 3"):
        asyncio.run(Examination().run())


def test_doctor_that_does_not_end_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\nexec sleep 100\n")
    program.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(program))
    monkeypatch.setattr("edge.web.examination.TIMEOUT_S", 0.05)
    with pytest.raises(EmotionEdgeError, match=r"does not end within 0\.05 s"):
        asyncio.run(Examination().run())
