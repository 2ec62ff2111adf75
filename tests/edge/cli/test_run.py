"""What the flags of `emotion-edge run` set."""

from pathlib import Path

import pytest

from edge import cli
from edge.cli.support import run
from edge.daemon import service
from edge.settings import Settings


def test_run_flags_set_password_file_and_home_assistant(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    given: list[Settings] = []
    monkeypatch.setattr(service, "run_service", lambda settings, *_, **__: given.append(settings))
    monkeypatch.setenv("EMOTION_EDGE__HOMEASSISTANT__ENABLED", "false")
    assert run(cli.app, ["run", "--password-file", str(tmp_path / "password"), "--homeassistant", "--quiet"]) == 0
    assert run(cli.app, ["run", "--quiet"]) == 0
    assert [settings.mqtt.password_file for settings in given] == [str(tmp_path / "password"), ""]
    assert [settings.homeassistant.enabled for settings in given] == [True, False]
