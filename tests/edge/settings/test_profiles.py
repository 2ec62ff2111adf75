"""What `profile` fills in, and what it leaves alone."""

from pathlib import Path

import pytest

from edge.cameras.address import parse_address
from edge.errors import ConfigError
from edge.settings import load_settings, loading, show
from edge.settings.profiles import PROFILES, device_tree
from edge.settings.show import shown_settings

BOARDS = {
    "Raspberry Pi Zero 2 W Rev 1.0": (480, 10, 1.0),
    "Raspberry Pi 3 Model B Plus Rev 1.3": (640, 10, 0.8),
    "Raspberry Pi Compute Module 3 Plus Rev 1.0": (640, 10, 0.8),
    "Raspberry Pi 4 Model B Rev 1.4": (640, 15, 0.4),
    "Raspberry Pi 400 Rev 1.0": (640, 15, 0.4),
    "Raspberry Pi 5 Model B Rev 1.0": (1280, 15, 0.4),
    "Raspberry Pi 500 Rev 1.0": (1280, 15, 0.4),
    "Orange Pi 5": (640, 15, 0.4),
}


def on(monkeypatch: pytest.MonkeyPatch, board: str | None) -> None:
    monkeypatch.setattr(loading, "board_model", lambda: board)
    monkeypatch.setattr(show, "board_model", lambda: board)


@pytest.mark.parametrize("board", BOARDS)
def test_profile_auto_fits_the_board(monkeypatch: pytest.MonkeyPatch, board: str) -> None:
    on(monkeypatch, board)
    settings = load_settings(environment={})
    address = parse_address(settings.camera)
    assert (address.size[0], int(address.options["fps"]), settings.faces.search_every_s) == BOARDS[board]


@pytest.mark.parametrize("name", PROFILES)
def test_profile_by_name_is_used_on_any_machine(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    on(monkeypatch, None)
    settings = load_settings(environment={"EMOTION_EDGE__PROFILE": name})
    parse_address(settings.camera)
    for key, value in PROFILES[name].get("faces", {}).items():
        assert getattr(settings.faces, key) == value


@pytest.mark.parametrize(
    "camera", ["picamera2:0?fps=30", "v4l2:/dev/video0", "file:clip.mp4", "rtsp://host/stream", "demo:"]
)
def test_profile_leaves_what_is_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, camera: str) -> None:
    on(monkeypatch, "Raspberry Pi Zero 2 W Rev 1.0")
    path = tmp_path / "config.toml"
    path.write_text(f'camera = "{camera}"\n[faces]\nsearch_every_s = 0.3\n')
    settings = load_settings(path, environment={"EMOTION_EDGE__FACES__VERIFY_EVERY_S": "0.2"})
    assert (settings.camera, settings.faces.search_every_s, settings.faces.verify_every_s) == (camera, 0.3, 0.2)
    assert settings.faces.small_faces_every_s == 0


def test_profile_none_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    on(monkeypatch, "Raspberry Pi Zero 2 W Rev 1.0")
    settings = load_settings(environment={"EMOTION_EDGE__PROFILE": "none"})
    assert (settings.camera, settings.faces.search_every_s) == ("picamera2:0", 0.4)


def test_profile_that_is_unknown_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('profile = "pi6"\n')
    with pytest.raises(ConfigError, match="profile: found 'pi6'"):
        load_settings(tmp_path / "config.toml", environment={})


def test_profile_is_shown_as_the_origin(monkeypatch: pytest.MonkeyPatch) -> None:
    on(monkeypatch, "Raspberry Pi Zero 2 W Rev 1.0")
    origins = {one.key: one.origin for one in shown_settings(environment={"EMOTION_EDGE__FACES__MAX_FACES": "3"})}
    assert origins["camera"] == origins["faces.search_every_s"] == "profile zero2"
    assert origins["faces.max_faces"] == "EMOTION_EDGE__FACES__MAX_FACES"
    assert origins["faces.upsample"] == "default"


def test_device_tree_is_read_without_its_zero_byte(tmp_path: Path) -> None:
    assert device_tree("model", tmp_path) is None
    (tmp_path / "proc/device-tree").mkdir(parents=True)
    (tmp_path / "proc/device-tree/model").write_bytes(b"Raspberry Pi 5 Model B Rev 1.0\0")
    assert device_tree("model", tmp_path) == "Raspberry Pi 5 Model B Rev 1.0"
