"""Settings: what goes before what, every kind of mistake in one line, and no password in any of them."""

import os
import re
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.errors import ConfigError
from edge.settings import DEVICE_PATTERN, MqttSettings, Settings, load_settings, read_password
from edge.settings import loading as module
from edge.settings.doc import render
from edge.settings.profiles import device_tree
from edge.settings.show import shown_settings
from edge.settings.types import default_device, default_state_dir, fields_of, is_section

SECRET = "hunter2-swordfish"
PAGE = Path(__file__).resolve().parents[3] / "docs" / "settings.md"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "config.toml"


def refused(config: Path, text: str, **environment: str) -> str:
    """The line that a user reads."""
    config.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_settings(config, environment=environment)
    message = str(caught.value)
    assert "\n" not in message
    assert caught.value.exit_code == 78
    return message


def test_defaults_stand_where_nothing_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "DEFAULT_PATH", tmp_path / "none.toml")
    settings = load_settings(environment={})
    assert settings == Settings()
    assert settings.mqtt.url == "mqtt://localhost:1883"
    assert re.fullmatch(DEVICE_PATTERN, settings.device)


def test_the_file_of_the_system_is_read_where_none_is_named(monkeypatch: pytest.MonkeyPatch, config: Path) -> None:
    config.write_text('device = "hall"')
    monkeypatch.setattr(module, "DEFAULT_PATH", config)
    assert load_settings(environment={}).device == "hall"


def test_file_environment_and_flags_in_this_order(config: Path) -> None:
    config.write_text('device = "file"\ncamera = "demo:"\n[mqtt]\nurl = "mqtt://file"\nusername = "file"\n')
    environment = {"EMOTION_EDGE__DEVICE": "env", "EMOTION_EDGE__MQTT__URL": "mqtt://env", "HOME": "/", "EMOTION": "x"}
    settings = load_settings(config, environment=environment, flags={"mqtt.url": "mqtt://flag", "camera": None})
    assert settings.camera == "demo:"
    assert settings.device == "env"
    assert settings.mqtt.url == "mqtt://flag"
    assert settings.mqtt.username == "file"


def test_the_process_environment_is_the_default(monkeypatch: pytest.MonkeyPatch, config: Path) -> None:
    config.write_text("")
    monkeypatch.setenv("EMOTION_EDGE__DEVICE", "from-env")
    assert load_settings(config).device == "from-env"


def test_text_from_the_environment_becomes_what_the_setting_is(config: Path) -> None:
    config.write_text("")
    environment = {
        "EMOTION_EDGE__HOMEASSISTANT__ENABLED": "true",
        "EMOTION_EDGE__FACES__UPSAMPLE": "2",
        "EMOTION_EDGE__SMOOTHING__HOLD_S": "0.5",
        "EMOTION_EDGE__MQTT__USERNAME": "123",
    }
    settings = load_settings(config, environment=environment)
    assert settings.homeassistant.enabled is True
    assert settings.faces.upsample == 2
    assert settings.smoothing.hold_s == 0.5
    assert settings.mqtt.username == "123"


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ('devise = "a"', ["there is no setting devise", "did you mean device?"]),
        ('[mqtt]\nuser_name = "a"', ["there is no setting mqtt.user_name", "did you mean mqtt.username?"]),
        ("[mqqt]", ["there is no setting mqqt", "did you mean mqtt?"]),
        ("[mqtt]\nzzz = 1", ["there is no setting mqtt.zzz", "there are url, username"]),
        ("device = 7", ["device: found 7: expected `str`"]),
        ('device = "Hall Way"', ["device: found 'Hall Way'", "allowed are a-z, 0-9 and -, at most 64"]),
        (f'device = "{"a" * 65}"', ["device: found 'aaa", "at most 64 characters"]),
        ('device = ""', ["device: found ''", "at most 64 characters"]),
        ('device = "pi\\n"', ["device: found 'pi\\n'", "one line of text"]),
        ('[mqtt]\nusername = "a\\u0000b"', ["mqtt.username: found 'a\\x00b'", "one line of text"]),
        ('classifier = "svm"', ["classifier: found 'svm'", "allowed is cnn or vgg or knn or ensemble"]),
        ("[faces]\nupsample = 3", ["faces.upsample: found 3", "expected `int` <= 2"]),
        ("[faces]\nupsample = 1.5", ["faces.upsample: found 1.5", "expected `int`"]),
        ("[faces]\nmax_faces = true", ["faces.max_faces: found true", "expected `int`"]),
        ("[smoothing]\nhold_s = nan", ["smoothing.hold_s: found nan", "expected `float` >= 0"]),
        ("[smoothing]\nmargin = -0.1", ["smoothing.margin: found -0.1", "expected `float` >= 0"]),
        ("[mqtt]\nhealth_interval_s = 0", ["mqtt.health_interval_s: found 0", "expected `float` > 0"]),
        ('[homeassistant]\nenabled = "yes"', ["homeassistant.enabled: found 'yes'", "allowed is true or false"]),
        ('[homeassistant]\nprefix = "a b"', ["homeassistant.prefix: found 'a b'", "matching regex"]),
        ('[web]\nlisten = "8378"', ["web.listen: found '8378'", "allowed is ADDRESS:PORT", "unix:/PATH"]),
        ('mqtt = "broker"', ["mqtt: found 'broker'", "allowed is a section, [mqtt]"]),
        ("device = \ncamera = 1", ["not TOML", "line 1"]),
    ],
)
def test_a_mistake_in_the_file_is_named_with_what_is_allowed(config: Path, text: str, parts: list[str]) -> None:
    message = refused(config, text)
    for part in parts:
        assert part in message


@pytest.mark.parametrize(
    "url",
    [
        "",
        "broker",
        "http://broker",
        "mqtt://",
        "mqtt://:1883",
        "mqtt://b:0",
        "mqtt://b:99999",
        "mqtt://b:x",
        "mqtt://b/topic",
        "mqtt://b?x=1",
        "mqtt://b#x",
        "mqtt://[::1",
        "ws://",
        "ws://b/#x",
        "wss://b/a b",
    ],
)
def test_an_address_that_can_be_none_is_refused(config: Path, url: str) -> None:
    message = refused(config, f'[mqtt]\nurl = "{url}"')
    assert f"mqtt.url: found {url!r}: allowed is mqtt://[user@]host[:port] or mqtts://" in message
    assert "or ws:// or wss://" in message


@pytest.mark.parametrize(
    "url", ["mqtt://b", "mqtts://user@b.lan:8883", "mqtt://[::1]:1883/", "MQTT://b", "ws://b", "wss://u@b:1/mqtt?x=1"]
)
def test_an_address_that_can_be_one_is_taken(config: Path, url: str) -> None:
    config.write_text(f'[mqtt]\nurl = "{url}"')
    assert load_settings(config, environment={}).mqtt.url == url


@pytest.mark.parametrize(
    ("variable", "value", "parts"),
    [
        ("EMOTION_EDGE__DEVISE", "a", ["there is no setting devise", "did you mean device?"]),
        ("EMOTION_EDGE__MQTT__ULR", "a", ["there is no setting mqtt.ulr", "did you mean mqtt.url?"]),
        ("EMOTION_EDGE__DEVICE__NAME", "a", ["there is no setting device.name"]),
        ("EMOTION_EDGE__", "a", ["there is no setting "]),
        ("EMOTION_EDGE__MQTT", "a", ["mqtt is a section; name one of url, username"]),
        ("EMOTION_EDGE__FACES__UPSAMPLE", "many", ["faces.upsample: found 'many'", "expected `int`"]),
        ("EMOTION_EDGE__FACES__UPSAMPLE", "9", ["faces.upsample: found '9'", "expected `int` <= 2"]),
        ("EMOTION_EDGE__CLASSIFIER", "svm", ["classifier: found 'svm'", "allowed is cnn or vgg"]),
        ("EMOTION_EDGE__WEB__ENABLED", "maybe", ["web.enabled: found 'maybe'", "allowed is true or false"]),
        ("EMOTION_EDGE__DEVICE", "Hall Way", ["device: found 'Hall Way'", "allowed are a-z"]),
    ],
)
def test_a_mistake_in_the_environment_names_the_variable(
    config: Path, variable: str, value: str, parts: list[str]
) -> None:
    message = refused(config, "", **{variable: value})
    assert message.startswith(f"{variable}: ")
    for part in parts:
        assert part in message


def test_a_variable_cannot_go_into_a_section_that_is_a_text(config: Path) -> None:
    message = refused(config, 'mqtt = "broker"', EMOTION_EDGE__MQTT__URL="mqtt://b")
    assert "mqtt: found 'broker': allowed is a section, [mqtt]" in message


def test_a_mistake_in_a_flag_names_the_flag(config: Path) -> None:
    config.write_text("")
    with pytest.raises(ConfigError, match=r"^--device: device: found 'Ä'"):
        load_settings(config, environment={}, flags={"device": "Ä"})


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml: no such file"):
        load_settings(tmp_path / "none.toml", environment={})
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load_settings(tmp_path, environment={})
    (tmp_path / "latin.toml").write_bytes(b'device = "\xe4"')
    with pytest.raises(ConfigError, match=r"latin\.toml: not TOML"):
        load_settings(tmp_path / "latin.toml", environment={})
    monkeypatch.setattr(module, "DEFAULT_PATH", tmp_path)
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load_settings(environment={})


@pytest.mark.parametrize(
    "text",
    [
        f'[mqtt]\npassword = "{SECRET}"',
        f'password = "{SECRET}"',
        f'[mqtt]\nurl = "mqtt://user:{SECRET}@broker"',
        f'[mqtt]\nurl = "mqtt://:{SECRET}@broker"',
        f'[mqtt]\nurl = "mqtt://user:{SECRET}@broker:x"',
        f'[mqtt]\nurl = "http://user:{SECRET}@broker"',
        f'[mqtt]\nurl = "mqtt://user:a/{SECRET}@broker"',
        f'[mqtt]\nurl = "mqtt://user:a@{SECRET}@broker"',
        f'[mqtt]\nurl = "mqtt://user:12#{SECRET}@broker"',
        f'[mqtt]\nurl = "mqtt://user:a\\n{SECRET}@broker"',
        f'[mqtt]\nurl = ["mqtt://user:{SECRET}@broker"]',
        f'mqtt = "mqtt://user:{SECRET}@broker"',
    ],
)
def test_password_in_the_wrong_place_is_refused_not_repeated(config: Path, text: str) -> None:
    assert SECRET not in refused(config, text)


def test_password_in_the_environment_is_refused_not_repeated(config: Path) -> None:
    message = refused(config, "", EMOTION_EDGE__MQTT__PASSWORD=SECRET)
    assert SECRET not in message
    assert "did you mean mqtt.password_file?" in message
    assert SECRET not in refused(config, "", EMOTION_EDGE__MQTT__URL=f"mqtt://u:{SECRET}@b")


def test_password_is_read_from_a_file_that_only_its_owner_reads(tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_text(f" {SECRET} \r\n")
    path.chmod(0o600)
    assert read_password(MqttSettings(password_file=str(path))) == f" {SECRET} ", "blanks belong to it"
    path.chmod(0o400)
    assert read_password(MqttSettings(password_file=str(path))) == f" {SECRET} "


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o777])
def test_a_password_file_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "password"
    path.write_text(SECRET)
    path.chmod(mode)
    with pytest.raises(ConfigError, match=f"has mode {mode:04o}; others may read it: chmod 600") as caught:
        read_password(MqttSettings(password_file=str(path)))
    assert SECRET not in str(caught.value)


def test_camera_is_turned_by_file_or_environment(config: Path) -> None:
    config.write_text("camera_rotate = 180")
    environment = {"EMOTION_EDGE__CAMERA_FLIP": "horizontal"}
    settings = load_settings(config, environment=environment)
    assert (settings.camera_rotate, settings.camera_flip) == (180, "horizontal")
    assert load_settings(config, environment={"EMOTION_EDGE__CAMERA_ROTATE": "90"}).camera_rotate == 90
    assert "allowed is 0 or 90 or 180 or 270" in refused(config, "camera_rotate = 45")
    assert "allowed is 0 or 90 or 180 or 270" in refused(config, "", EMOTION_EDGE__CAMERA_ROTATE="45")


@pytest.mark.parametrize(
    "text",
    [
        'camera = "demo:"\ncamera_rotate = 180\ncamera_flip = "horizontal"',
        'camera.address = "demo:"\ncamera.rotate = 180\ncamera.flip = "horizontal"',
        'device = "hall"\n[mqtt]\n[camera]\naddress = "demo:"\nrotate = 180\nflip = "horizontal"',
        'camera = {address = "demo:", rotate = 180, flip = "horizontal"}',
    ],
)
def test_camera_is_a_text_or_a_table(config: Path, text: str) -> None:
    config.write_text(text)
    settings = load_settings(config, environment={})
    assert (settings.camera, settings.camera_rotate, settings.camera_flip) == ("demo:", 180, "horizontal")
    [origin] = {one.origin for one in shown_settings(config, environment={}) if one.key.startswith("camera")} - {
        "default"
    }
    assert origin == str(config)


def test_camera_table_goes_with_variables_and_flags(config: Path) -> None:
    config.write_text("camera.rotate = 180")
    environment = {"EMOTION_EDGE__CAMERA": "demo:", "EMOTION_EDGE__CAMERA__FLIP": "vertical"}
    settings = load_settings(config, environment=environment)
    assert (settings.camera, settings.camera_rotate, settings.camera_flip) == ("demo:", 180, "vertical")
    assert load_settings(config, environment={}).camera == Settings().camera
    assert load_settings(config, environment={"EMOTION_EDGE__CAMERA__ADDRESS": "photos:x"}).camera == "photos:x"
    assert load_settings(config, environment={}, flags={"camera_rotate": "270"}).camera_rotate == 270
    origins = {one.key: one.origin for one in shown_settings(config, environment=environment)}
    assert origins["camera_flip"] == "EMOTION_EDGE__CAMERA__FLIP"
    assert origins["camera_rotate"] == str(config)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("camera.rotate = 45", ["camera.rotate: found 45: allowed is 0 or 90 or 180 or 270"]),
        ('camera.flip = "upside"', ["camera.flip: found 'upside': allowed is none or horizontal or vertical"]),
        ("camera.address = 7", ["camera.address: found 7: expected `str`"]),
        ("camera.rotat = 90", ["there is no setting camera.rotat; did you mean camera.rotate?"]),
        ("camera.rotate = 90\ncamera_rotate = 90", ["camera.rotate and camera_rotate are the same setting"]),
        ('camera = "demo:"\ncamera.rotate = 180', ['write camera.address = "…"']),
        ('camera = "demo:"\n[camera]\nrotate = 180', ['write camera.address = "…"']),
        ('camera.rotate = 180\ncamera = "demo:"', ['write camera.address = "…"']),
    ],
)
def test_mistake_in_the_camera_table_is_named(config: Path, text: str, parts: list[str]) -> None:
    message = refused(config, text)
    for part in parts:
        assert part in message


def test_unknown_camera_variable_is_named(config: Path) -> None:
    assert "there is no setting camera.rotat" in refused(config, "", EMOTION_EDGE__CAMERA__ROTAT="90")


TRIANGLE = "points = [[0, 0], [1, 0], [0.5, 1.0]]"


def test_zones_are_read_from_file_and_variable(config: Path) -> None:
    config.write_text(f'[[faces.zones]]\n{TRIANGLE}\n[[faces.zones]]\n{TRIANGLE}\nkind = "exclude"')
    zones = load_settings(config, environment={}).faces.zones
    assert [zone.kind for zone in zones] == ["include", "exclude"]
    assert zones[0].points == ((0, 0), (1, 0), (0.5, 1))
    config.write_text("")
    variable = {"EMOTION_EDGE__FACES__ZONES": '[{"points": [[0, 0], [1, 0], [0.5, 1.0]]}]'}
    assert load_settings(config, environment=variable).faces.zones == zones[:1]


@pytest.mark.parametrize(
    ("zones", "parts"),
    [
        ("points = [[0, 0], [1, 1]]", ["zone 2: points: found 2 points: allowed is a list of 3"]),
        ("points = []", ["zone 2: points: found 0 points"]),
        ('kind = "include"', ["zone 2: points: found none"]),
        ("points = [[0, 0], [1, 0], [0.5, 1.01]]", ["zone 2: point 3: found [0.5, 1.01]: allowed is [x, y]", "0 to 1"]),
        ("points = [[0, 0], [1, -0.1], [0.5, 1]]", ["zone 2: point 2"]),
        ("points = [[0, 0], [640, 0], [320, 480]]", ["zone 2: point 2: found [640, 0]"]),
        ("points = [[0, 0], [1, 0, 0], [0.5, 1]]", ["zone 2: point 2"]),
        ("points = [[0, 0], [1, nan], [0.5, 1]]", ["zone 2: point 2"]),
        ('points = [[0, 0], ["1", 0], [0.5, 1]]', ["zone 2: point 2"]),
        ("points = [[0, 0], 1, [0.5, 1]]", ["zone 2: point 2: found 1"]),
        ('points = "0,0,1,0,1,1"', ["zone 2: points: found '0,0,1,0,1,1'"]),
        ("points = [[0, 0], [0.5, 0.5], [1, 1]]", ["zone 2: points", "on one line"]),
        ("points = [[0.5, 0.5], [0.5, 0.5], [0.5, 0.5]]", ["on one line"]),
        (f'{TRIANGLE}\nkind = "mask"', ["zone 2: kind: found 'mask': allowed is include or exclude"]),
        (f'{TRIANGLE}\nkinds = "include"', ["zone 2: there is no setting 'kinds'; did you mean kind?"]),
    ],
)
def test_mistake_in_a_zone_names_zone_and_point(config: Path, zones: str, parts: list[str]) -> None:
    message = refused(config, f"[[faces.zones]]\n{TRIANGLE}\n[[faces.zones]]\n{zones}")
    for part in parts:
        assert part in message


@pytest.mark.parametrize("text", ["[faces]\nzones = 3", '[faces]\nzones = ["a"]', f"[faces.zones]\n{TRIANGLE}"])
def test_zones_that_are_no_list_of_tables_are_refused(config: Path, text: str) -> None:
    assert "faces.zones: found" in refused(config, text)
    assert "each [[faces.zones]] with points" in refused(config, text)


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"points": []}', "[" * 100_000])
def test_zones_in_a_variable_are_checked(config: Path, text: str) -> None:
    assert "EMOTION_EDGE__FACES__ZONES: faces.zones" in refused(config, "", EMOTION_EDGE__FACES__ZONES=text)


def test_paths_may_begin_in_the_home_folder(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/somewhere")
    config.write_text('bundle = "~/b"\nstate_dir = "~"\n[mqtt]\npassword_file = "~/pw"\nca_file = "/x/~/ca"')
    settings = load_settings(config, environment={"EMOTION_EDGE__LANDMARKS": "~/l.dat"})
    assert (settings.bundle, settings.state_dir, settings.landmarks) == (
        "/somewhere/b",
        "/somewhere",
        "/somewhere/l.dat",
    )
    assert (settings.mqtt.password_file, settings.mqtt.ca_file) == ("/somewhere/pw", "/x/~/ca")


@pytest.mark.parametrize("text", ['device = "hall"\n[mqtt]\nusername = "u"\n', 'device = "hall"'])
@pytest.mark.parametrize("line_break", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_file_of_another_system_is_read(config: Path, text: str, line_break: str, mark: str) -> None:
    config.write_bytes((mark + text.replace("\n", line_break)).encode())
    assert load_settings(config, environment={}).device == "hall"


@pytest.mark.parametrize("content", ["\ufeff{}", "{}\r\n", "\ufeff{}\r\n\r\n"])
def test_password_file_of_another_system_is_read(tmp_path: Path, content: str) -> None:
    path = tmp_path / "password"
    path.write_bytes(content.format(SECRET).encode())
    path.chmod(0o600)
    assert read_password(MqttSettings(password_file=str(path))) == SECRET


def test_file_in_utf_16_is_refused_with_advice(config: Path) -> None:
    config.write_bytes('device = "hall"'.encode("utf-16"))
    with pytest.raises(ConfigError, match="save the file as UTF-8"):
        load_settings(config, environment={})


def test_a_password_file_that_holds_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "password"
    with pytest.raises(ConfigError, match=r"mqtt.password_file: .* cannot be read: No such file"):
        read_password(MqttSettings(password_file=str(path)))
    path.write_text("\n")
    path.chmod(0o600)
    with pytest.raises(ConfigError, match="is empty"):
        read_password(MqttSettings(password_file=str(path)))
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="is not text in UTF-8"):
        read_password(MqttSettings(password_file=str(path)))


def test_the_credential_of_systemd_serves_where_no_file_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    assert read_password(MqttSettings()) is None
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert read_password(MqttSettings()) is None
    (tmp_path / "mqtt-password").write_text(f"{SECRET}\n")
    assert read_password(MqttSettings()) == SECRET
    own = tmp_path / "own"
    own.write_text("other")
    own.chmod(0o600)
    assert read_password(MqttSettings(password_file=str(own))) == "other"
    (tmp_path / "mqtt-password").write_text("")
    assert read_password(MqttSettings()) is None  # the broker wants none


@given(st.text(max_size=300))
def test_any_host_name_gives_a_name_for_topics(name: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("socket.gethostname", lambda: name)
        assert re.fullmatch(DEVICE_PATTERN, default_device())


def test_the_state_folder_is_systemds_else_the_users_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert default_state_dir() == str(tmp_path / "emotion-edge")
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_state_dir() == str(tmp_path / ".local/state/emotion-edge")
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/emotion-edge:/var/lib/other")
    monkeypatch.delenv("HOME")
    assert default_state_dir() == "/var/lib/emotion-edge"


def test_root_means_the_state_of_the_service_where_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    monkeypatch.setattr("edge.settings.types.SERVICE_STATE", tmp_path)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert default_state_dir() == str(tmp_path)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert default_state_dir() != str(tmp_path)


def test_every_default_is_a_value_that_is_allowed() -> None:
    assert msgspec.convert(msgspec.to_builtins(Settings()), Settings) == Settings()


def test_the_page_of_settings_is_up_to_date() -> None:
    written = PAGE.read_text(encoding="utf-8")
    assert written == render(), "write it again: python -m edge.settings.doc docs/settings.md"
    for section, kind in fields_of(Settings).items():
        for key in fields_of(kind) if is_section(kind) else [None]:
            name = section if key is None else f"{section}.{key}"
            assert f"`{name}`" in written
            assert f"`EMOTION_EDGE__{name.upper().replace('.', '__')}`" in written


def test_this_process_is_not_steered_by_its_environment() -> None:
    assert not [name for name in os.environ if name.startswith(module.ENVIRONMENT_PREFIX)]


def test_device_is_named_after_its_serial_number(config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    serial = tmp_path / "proc/device-tree/serial-number"
    serial.parent.mkdir(parents=True)
    monkeypatch.setattr("edge.settings.types.device_tree", lambda name: device_tree(name, tmp_path))
    config.write_text('device = "@serial"')
    for content in (None, b"", b"\0", b"../../etc", b"\xff\xfe\xfd\xfc"):
        if content is not None:
            serial.write_bytes(content)
        with pytest.raises(ConfigError, match="no serial number"):
            load_settings(config, environment={})
    serial.write_bytes(b"10000000ABCD1234\0")
    assert load_settings(config, environment={}).device == "pi-abcd1234"
    assert load_settings(config, environment={"EMOTION_EDGE__DEVICE": "hall"}).device == "hall"
