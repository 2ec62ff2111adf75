"""`emotion-edge config`: a file of all settings, every fault at once, and files of an older form."""

import re
import tomllib
from pathlib import Path

import msgspec
import pytest

from edge.cli import app
from edge.cli.support import run
from edge.settings import Settings, load_settings


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "config.toml"


def test_config_init_says_the_same_as_an_empty_file(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(app, ["config", "init", str(config)]) == 0
    assert load_settings(config, environment={}) == Settings()
    assert run(app, ["config", "check", str(config)]) == 0
    assert "no faults" in capsys.readouterr().out
    assert max(map(len, config.read_text().splitlines())) <= 120


def test_config_init_shows_every_default(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(app, ["config", "init"]) == 0
    text = capsys.readouterr().out
    config.write_text(re.sub(r"(?m)^# ([a-z_.]+ = )", r"\1", text))
    assert load_settings(config, environment={}) == Settings()
    keys = {f"{section}.{key}" for section, keys in tomllib.loads(config.read_text()).items()
            if isinstance(keys, dict) for key in keys}  # fmt: skip
    every = {f"{name}.{key}" for name, section in msgspec.to_builtins(Settings()).items()
             if isinstance(section, dict) for key in section}  # fmt: skip
    assert every - keys == {"faces.zones"}


def test_config_init_leaves_a_file_as_it_is(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config.write_text("device = 'hall'")
    assert run(app, ["config", "init", str(config)]) == 2
    assert "is there already" in capsys.readouterr().err
    assert config.read_text() == "device = 'hall'"
    assert run(app, ["config", "init", "/nonexistent/config.toml"]) == 2


@pytest.mark.parametrize(
    ("text", "older"),
    [("", False), ("version = 2\n", False), ("version = 1\n", True), ("device = 'a'\n", True), ("[mqtt]\n", True)],
)
def test_config_check_says_that_a_file_is_of_an_older_form(
    config: Path, capsys: pytest.CaptureFixture[str], text: str, older: bool
) -> None:
    config.write_text(text)
    assert run(app, ["config", "check", str(config)]) == 0
    said = capsys.readouterr().out
    assert ("emotion-edge config migrate" in said) is older
    assert run(app, ["doctor", "--no-camera", "--json", "--config", str(config)]) in {0, 1}
    assert ("emotion-edge config migrate" in capsys.readouterr().out) is older


def test_config_check_names_every_fault(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config.write_text("""
        devise = "hall"
        classifier = "dnn"
        camera.rotate = 45
        camera.adress = "demo:"
        smoothing = 3
        [mqtt]
        url = "http://broker"
        username = "two\\nlines"
        outbox_max_mb = "many"
        [power]
        max_fps = -1
        [[faces.zones]]
        points = [[0, 0]]
        [kitchen]
    """)
    assert run(app, ["config", "check", str(config)]) == 78
    output = capsys.readouterr()
    keys = ["devise", "classifier", "camera.rotate", "camera.adress", "smoothing", "mqtt.url", "mqtt.username",
            "mqtt.outbox_max_mb", "power.max_fps", "faces.zones", "kitchen"]  # fmt: skip
    assert len(output.out.splitlines()) == len(keys)
    for key in keys:
        assert re.search(rf"config\.toml: (there is no setting )?{key}\b", output.out), key
    assert "did you mean device?" in output.out
    assert output.err == f"error: {config}: 11 faults\n"


@pytest.mark.parametrize("version", ["0", "3", '"2"', "true", "1.5"])
def test_config_of_an_unknown_version_is_refused(
    version: str, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config.write_text(f"version = {version}")
    assert run(app, ["config", "check", str(config)]) == 78
    assert "version: found" in capsys.readouterr().out
    assert run(app, ["config", "show", "--config", str(config)]) == 78


OLD = """\
# the hall
device = "hall"
camera = "v4l2:/dev/video0"  # = the lens
  camera_rotate = 180

[mqtt]  # the broker
url = "mqtt://broker"
"""


@pytest.mark.parametrize(
    "text", [OLD, 'camera_flip="vertical"', "", "# camera = 1\n[camera]\nrotate = 90\n", "[web]\n"]
)
def test_config_migrate_keeps_settings_comments_and_the_old_file(
    text: str, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config.write_text(text)
    config.chmod(0o640)
    before = load_settings(config, environment={})
    assert run(app, ["config", "migrate", str(config)]) == 0
    assert load_settings(config, environment={}) == before
    assert re.findall(r"#.*", config.read_text()) == re.findall(r"#.*", text)
    assert tomllib.loads(config.read_text())["version"] == 2
    assert config.with_name("config.toml.version-1").read_text() == text
    assert config.stat().st_mode & 0o777 == 0o640
    capsys.readouterr()
    assert run(app, ["config", "migrate", str(config)]) == 0
    assert "up to date" in capsys.readouterr().out


def test_config_migrate_changes_nothing_that_it_cannot_keep(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = 'camera_rotate = 180\n[camera]\naddress = "demo:"\n'
    config.write_text(text)
    assert run(app, ["config", "migrate", str(config)]) != 0
    assert config.read_text() == text
    assert list(config.parent.iterdir()) == [config]
    config.write_text("devise = 3")
    assert run(app, ["config", "migrate", str(config)]) == 78
