"""Passwords are in nothing that the program says: logs, tracebacks, the process list, messages, ``config show``."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edge.cli import app
from edge.cli.support import run
from edge.doctor import service
from tests.fakes.mosquitto import Mosquitto

SECRET = "sentinel-4d1e"
DOCS = Path(__file__).resolve().parents[3] / "docs"
RTSP = f"rtsp://admin:{SECRET}@127.0.0.1:9/live?token={SECRET}"


@pytest.fixture(autouse=True)
def _no_service_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(service, "UNITS", ())
    monkeypatch.setattr(service, "PASSWORD", tmp_path / "no-password")


def config_of(folder: Path, text: str) -> str:
    path = folder / "config.toml"
    path.write_text(f'device = "d"\nstate_dir = "{folder}"\n{text}')
    return str(path)


def output(capsys: pytest.CaptureFixture[str]) -> str:
    said = capsys.readouterr()
    return said.out + said.err


@pytest.mark.parametrize("command", [["run"], ["doctor"], ["doctor", "--json"], ["config", "show"]])
@pytest.mark.parametrize(
    "text",
    [
        f'[mqtt]\nurl = "mqtt://user:{SECRET}@broker"',
        f'[mqtt]\nurl = "mqtt://user:{SECRET}@broker:x"',
        f'[mqtt]\nurl = "mqtts://user:a@{SECRET}@broker"',
        f'[mqtt]\npassword = "{SECRET}"',
        f'mqtt = "mqtt://user:{SECRET}@broker"',
        f'camera = 7\n[mqtt]\nurl = "mqtt://u:{SECRET}@b"',
    ],
)
def test_password_in_the_wrong_place_is_in_no_traceback(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, command: list[str], text: str
) -> None:
    assert run(app, [*command, "--debug", "--config", config_of(tmp_path, text)]) in {1, 78}
    said = output(capsys)
    assert SECRET not in said
    assert len(said) > 20


@pytest.mark.slow("runs several programs one after another")
@pytest.mark.parametrize(
    ("command", "address"),
    [
        (["run"], RTSP),
        (["doctor"], RTSP),
        (["run"], RTSP.replace("rtsp:", "rtps:")),
        (["run"], RTSP.replace(":9/", ":99999/")),
        (["config", "show"], RTSP),
        (["config", "show", "--json"], RTSP.replace("rtsp:", "rtps:")),
    ],
)
def test_the_password_of_a_network_camera_is_shown_by_no_command(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, command: list[str], address: str
) -> None:
    config = config_of(
        tmp_path, f'camera = "{address}"\n[camera_watch]\nattempts = 1\n[mqtt]\nurl = "mqtt://127.0.0.1:9"'
    )
    code = run(app, [*command, "--debug", "--config", config])
    assert code == 0 if command[0] == "config" else code in {1, 69, 78}
    said = output(capsys)
    assert SECRET not in said
    assert "***@" in said


@pytest.mark.slow("runs several programs one after another")
@pytest.mark.parametrize("password_file", ["credential", "file"])
def test_the_password_of_the_broker_is_read_and_never_said(
    mosquitto: Mosquitto, tmp_path: Path, password_file: str
) -> None:
    mosquitto.password = SECRET
    users = mosquitto.folder / "users"
    subprocess.run(["mosquitto_passwd", "-b", str(users), mosquitto.username, SECRET], check=True, capture_output=True)
    mosquitto.start()
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    path = credentials / "mqtt-password"
    path.write_text(SECRET + "\n")
    path.chmod(0o600)
    environment = {**os.environ, "EMOTION_EDGE__MQTT__USERNAME": mosquitto.username}
    if password_file == "credential":
        environment["CREDENTIALS_DIRECTORY"] = str(credentials)
    else:
        environment["EMOTION_EDGE__MQTT__PASSWORD_FILE"] = str(path)
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    shutil.copy(DOCS / "demo.jpg", pictures)
    text = f'camera = "photos:{pictures}"\n[faces]\nconfirm_frames = 1\n[mqtt]\nurl = "{mosquitto.url}"\n'
    config = config_of(tmp_path, text)

    daemon = subprocess.Popen(
        [sys.executable, "-m", "edge", "--debug", "run", "--config", config],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert daemon.stdout is not None
    first = daemon.stdout.readline()
    arguments = Path(f"/proc/{daemon.pid}/cmdline").read_text()
    variables = Path(f"/proc/{daemon.pid}/environ").read_text()
    rest, _ = daemon.communicate(timeout=120)

    assert daemon.returncode == 0, rest
    assert f"u'{mosquitto.username}'" in mosquitto.log.read_text(), "it has logged in with the password"
    kept = b"".join(file.read_bytes() for file in tmp_path.glob("*.sqlite3*"))
    assert len(kept) > 1000
    sent = (mosquitto.folder / "mosquitto.db").read_bytes() if (mosquitto.folder / "mosquitto.db").exists() else b""
    for text in (first + rest, arguments, variables, kept.decode("latin-1"), sent.decode("latin-1")):
        assert SECRET not in text
    shown = subprocess.run(
        [sys.executable, "-m", "edge", "config", "show", "--json", "--config", config],
        env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert json.loads(shown.stdout)["password"].startswith("from ")
    assert SECRET not in shown.stdout + shown.stderr


def test_where_each_setting_comes_from_is_shown(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_of(tmp_path, '[mqtt]\nurl = "mqtts://me@broker.lan"\n[faces]\nupsample = 1\n')
    monkeypatch.setenv("EMOTION_EDGE__FACES__UPSAMPLE", "2")
    assert run(app, ["config", "show", "--json", "--config", config]) == 0
    shown = json.loads(capsys.readouterr().out)["settings"]
    assert shown["mqtt.url"] == {"value": "mqtts://me@broker.lan", "from": config}
    assert shown["faces.upsample"] == {"value": 2, "from": "EMOTION_EDGE__FACES__UPSAMPLE"}
    assert shown["faces.max_faces"]["from"] == "default"
    assert run(app, ["config", "show", "--config", config]) == 0
    text = capsys.readouterr().out
    assert re.search(rf'^url = "mqtts://me@broker.lan" +# {re.escape(config)}$', text, re.MULTILINE)
    assert text.startswith("# password of the broker: none\n")


def test_a_password_file_that_cannot_be_used_is_shown_as_such(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "password"
    path.write_text(SECRET)
    path.chmod(0o644)
    assert run(app, ["config", "show", "--config", config_of(tmp_path, f'[mqtt]\npassword_file = "{path}"\n')]) == 0
    said = output(capsys)
    assert "cannot be used: mqtt.password_file" in said
    assert SECRET not in said


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_settings_with_a_name_that_is_not_utf_8_are_shown(tmp_path: Path, form: list[str]) -> None:
    environment = os.environ | {"EMOTION_EDGE__CAMERA": "file:caf\udce9.mp4", "PYTHONIOENCODING": "utf-8:strict"}
    command = [sys.executable, "-m", "edge", "config", "show", "--config", config_of(tmp_path, ""), *form]

    shown = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)

    assert "file:caf\\\\xe9.mp4" in shown.stdout
