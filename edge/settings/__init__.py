"""Settings: one TOML file, the environment over it, flags over both; checked whole before anything starts.

Precedence, weakest first: defaults, the file, ``EMOTION_EDGE__SECTION__KEY`` variables, flags. An unknown key, a
wrong type or an impossible value is a `ConfigError` that names the key, what was found and what is allowed.
"""

import os
import re
import socket
import stat
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeGuard, get_type_hints

import msgspec

from edge.errors import ConfigError
from edge.settings.errors import allowed, check_one_line, check_url, closest, shown

DEFAULT_PATH = Path("/etc/emotion-edge/config.toml")
SERVICE_STATE = Path("/var/lib/emotion-edge")
"""``StateDirectory=`` of the systemd unit"""
ENVIRONMENT_PREFIX = "EMOTION_EDGE__"
DEVICE_PATTERN = r"^[a-z0-9-]{1,64}$"

Seconds = Annotated[float, msgspec.Meta(gt=0, le=86_400)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


def default_device() -> str:
    """Return the host's name, made to fit a topic."""
    name = re.sub(r"[^a-z0-9]+", "-", socket.gethostname().split(".")[0].lower()).strip("-")
    return name[:64] or "emotion-edge"


def default_state_dir() -> str:
    """Return systemd's state folder for the service; for root the service's, where there is one; or the user's own."""
    if given := os.environ.get("STATE_DIRECTORY", "").split(":")[0]:
        return given
    if os.geteuid() == 0 and SERVICE_STATE.is_dir():  # `sudo emotion-edge bundle install` means the service
        return str(SERVICE_STATE)
    return str(Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "emotion-edge")


class _Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class MqttSettings(_Section, frozen=True, kw_only=True):
    """``[mqtt]``: the broker, and how to log in."""

    url: str = "mqtt://localhost:1883"
    """mqtt://[user@]host[:1883] or mqtts://[user@]host[:8883]"""
    username: str = ""
    """name to log in with; one in the url does as well"""
    password_file: str = ""
    """file with mode 0600 that holds the password; where there is none, systemd's credential `mqtt-password`"""
    ca_file: str = ""
    """PEM file of the authority that signed the broker's certificate; empty: the system's"""
    cert_file: str = ""
    """PEM file of this device's own certificate, where the broker asks for one; empty: none is shown"""
    key_file: str = ""
    """PEM file with mode 0600 of its private key; empty: it is in `cert_file`"""
    refuse_anonymous: bool = True
    """where a password is set: refuse a broker that lets anybody in without one"""
    outbox_max_events: Annotated[int, msgspec.Meta(ge=1, le=10_000_000)] = 100_000
    """events kept while the broker is away; beyond that the oldest go, and are counted"""
    outbox_max_age_s: Annotated[float, msgspec.Meta(ge=1, le=31_536_000)] = 604_800.0
    """seconds after which an event that could not be sent is given up, and counted"""
    outbox_max_mb: Annotated[float, msgspec.Meta(ge=0.1, le=10_000)] = 64.0
    """megabytes (10^6 bytes) of events kept; beyond that the oldest go, and are counted"""
    outbox_synchronous: Literal["off", "normal", "full"] = "full"
    """when an event is on the disk: at once, at the next checkpoint, or when the kernel likes (docs/reliability.md)"""
    outbox_commit_s: Annotated[float, msgspec.Meta(ge=0, le=60)] = 0.1
    """seconds for which acknowledgements are gathered into one write; after a kill their events are sent twice"""
    health_interval_s: Seconds = 30.0
    """seconds between two health messages"""


class HomeAssistantSettings(_Section, frozen=True, kw_only=True):
    """``[homeassistant]``: discovery."""

    enabled: bool = False
    """publish discovery messages, so that Home Assistant shows the device by itself"""
    prefix: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_/-]{1,64}$")] = "homeassistant"
    """topic prefix that Home Assistant listens on"""


class CameraWatchSettings(_Section, frozen=True, kw_only=True):
    """``[camera_watch]``: when a camera has failed, and what then. Clips and folders are not watched."""

    silent_s: Annotated[float, msgspec.Meta(ge=0.5, le=60)] = 3.0
    """seconds without a frame after which a camera is opened again"""
    frozen_s: Annotated[float, msgspec.Meta(ge=0, le=3600)] = 3.0
    """seconds of one and the same picture after which it is opened again; 0: never"""
    black_s: Annotated[float, msgspec.Meta(ge=0, le=3600)] = 3.0
    """seconds of a black picture after which it is opened again, more and more seldom; 0: never"""
    attempts: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 8
    """failures in a row after which the program ends with exit code 69, for systemd to start it afresh"""


class FaceSettings(_Section, frozen=True, kw_only=True):
    """``[faces]``: how faces are looked for."""

    search_every_s: Seconds = 0.4
    """seconds between two searches for new faces, where something has changed in the picture"""
    small_faces_every_s: Annotated[float, msgspec.Meta(ge=0, le=86_400)] = 10.0
    """the same for faces of 37 to 75 pixels (in 640x480), at four times the cost; 0 is never"""
    verify_every_s: Annotated[float, msgspec.Meta(ge=0, le=60)] = 0.4
    """seconds for which a face is carried by its landmarks until the detector looks at it again; 0 is in every frame"""
    classify_every_s: Annotated[float, msgspec.Meta(ge=0, le=10)] = 0.06
    """seconds for which the scores of a face that looks as it did are used again; 0 classifies it in every frame"""
    upsample: Annotated[int, msgspec.Meta(ge=0, le=2)] = 0
    """doublings of the picture for every search: 0 finds faces from 75 pixels, 1 from 38 at four times the cost"""
    forget_after_s: Seconds = 2.0
    """seconds without a sight of it after which a face has left"""
    confirm_frames: Annotated[int, msgspec.Meta(ge=1, le=100)] = 3
    """frames in which a face must be found before its visit begins"""
    max_faces: Annotated[int, msgspec.Meta(ge=1, le=64)] = 8
    """faces followed at once, the largest first"""


class SmoothingSettings(_Section, frozen=True, kw_only=True):
    """``[smoothing]``: how scores become a stable emotion."""

    time_constant_s: Annotated[float, msgspec.Meta(ge=0, le=60)] = 0.6
    """seconds in which an old score fades to 37 %; 0 is no smoothing"""
    confidence_floor: Share = 0.45
    """below this smoothed score an emotion is `uncertain`"""
    margin: Share = 0.08
    """by how much another emotion must lead before it takes over"""
    hold_s: Annotated[float, msgspec.Meta(ge=0, le=60)] = 0.3
    """seconds for which it must lead"""


class PowerSettings(_Section, frozen=True, kw_only=True):
    """``[power]``: how much of the device may be used."""

    max_fps: Annotated[float, msgspec.Meta(ge=0, le=1000)] = 0.0
    """frames looked at a second, at most; 0 is as many as come"""
    max_cpu_percent: Annotated[float, msgspec.Meta(ge=0, le=6400)] = 0.0
    """CPU time of the daemon, percent of one core, at most; fewer frames are looked at to keep it; 0 is no limit"""
    max_temperature_c: Annotated[float, msgspec.Meta(ge=30, le=120)] = 75.0
    """degrees Celsius of the processor from which fewer frames are looked at; a Raspberry Pi slows down at 80"""


class WebSettings(_Section, frozen=True, kw_only=True):
    """``[web]``: a page on the device."""

    enabled: bool = False
    """there is no web page in this version; only false is allowed"""


class Settings(_Section, frozen=True, kw_only=True):
    """All settings of a device."""

    device: Annotated[str, msgspec.Meta(pattern=DEVICE_PATTERN)] = msgspec.field(default_factory=default_device)
    """name of this device in topics: a-z, 0-9 and -, at most 64 characters; default: the host's name"""
    camera: str = "picamera2:0"
    """where frames come from: picamera2:0, v4l2:/dev/video0, rtsp://…, file:CLIP, photos:FOLDER or demo:"""
    bundle: str = ""
    """folder of a model bundle; empty: the one that `emotion-edge bundle` chose, else the one that ships"""
    bundle_key: str = ""
    """PEM file of Ed25519 public keys: no bundle runs that none of them signed; empty: signatures are not looked at"""
    classifier: Literal["cnn", "vgg", "knn", "ensemble"] = "cnn"
    """which model of the bundle decides: a network, the landmark KNN (needs scikit-learn), or several together"""
    landmarks: str = ""
    """path of any dlib 68-point predictor (.dat); empty: the one that ships"""
    state_dir: str = msgspec.field(default_factory=default_state_dir)
    """folder for what survives a restart (outbox, bundles); default: the service's, else ~/.local/state/emotion-edge"""
    mqtt: MqttSettings = msgspec.field(default_factory=MqttSettings)
    homeassistant: HomeAssistantSettings = msgspec.field(default_factory=HomeAssistantSettings)
    camera_watch: CameraWatchSettings = msgspec.field(default_factory=CameraWatchSettings)
    faces: FaceSettings = msgspec.field(default_factory=FaceSettings)
    smoothing: SmoothingSettings = msgspec.field(default_factory=SmoothingSettings)
    power: PowerSettings = msgspec.field(default_factory=PowerSettings)
    web: WebSettings = msgspec.field(default_factory=WebSettings)


def load_settings(
    path: Path | None = None,
    *,
    environment: Mapping[str, str] | None = None,
    flags: Mapping[str, str | None] | None = None,
) -> Settings:
    """Read, merge and check all settings.

    Parameters
    ----------
    path
        A file that must exist; None reads ``/etc/emotion-edge/config.toml`` where there is one.
    environment
        Defaults to the process's own.
    flags
        Dotted key to text, None where the flag was not given.

    Raises
    ------
    ConfigError
        Names the key, what was found, what is allowed and the closest known key.
    """
    merged: dict[str, Any] = read_file(path)
    source = str(settings_file(path))
    _refuse_unknown(merged, Settings, prefix="", source=source)
    for name, text in (os.environ if environment is None else environment).items():
        if name.startswith(ENVIRONMENT_PREFIX):
            _put(merged, name.removeprefix(ENVIRONMENT_PREFIX).lower().split("__"), text, origin=name)
    for key, value in (flags or {}).items():
        if value is not None:
            _put(merged, key.split("."), value, origin=f"--{key.rsplit('.', 1)[-1].replace('_', '-')}")
    try:
        settings = msgspec.convert(merged, Settings)
    except msgspec.ValidationError as error:
        raise ConfigError(_explain(str(error), merged, source)) from None
    check_one_line(msgspec.to_builtins(settings))
    check_url(settings.mqtt.url)
    if settings.web.enabled:
        raise ConfigError("web.enabled: found true: this version has no web page, only false is allowed")
    return settings


def read_password(settings: MqttSettings) -> str | None:
    """Return the broker's password from its file or systemd's credential, None where there is neither.

    The line break at the end of the file is not part of it; blanks are.

    Raises
    ------
    ConfigError
        The file cannot be read, is open to others (mode beyond 0600), or is empty.
    """
    if settings.password_file:
        path = Path(settings.password_file)
        name = "mqtt.password_file"
    else:
        path = Path(os.environ.get("CREDENTIALS_DIRECTORY", "")) / "mqtt-password"
        name = "credential mqtt-password"
        if not os.environ.get("CREDENTIALS_DIRECTORY") or not path.exists():
            return None
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        text = path.read_text(encoding="utf-8").rstrip("\r\n")
    except OSError as error:
        raise ConfigError(f"{name}: {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:
        raise ConfigError(f"{name}: {path} is not text in UTF-8") from None
    if settings.password_file and mode & 0o077:  # systemd guards its credentials by their folder
        raise ConfigError(f"{name}: {path} has mode {mode:04o}; others may read it: chmod 600 {path}")
    if not text and not settings.password_file:  # the unit's credential of a broker that wants no password
        return None
    if not text:
        raise ConfigError(f"{name}: {path} is empty")
    return text


def fields_of(section: type[msgspec.Struct]) -> dict[str, Any]:
    """Return the keys of a section with their types, constraints included."""
    return get_type_hints(section, include_extras=True)


def is_section(kind: Any) -> TypeGuard[type[msgspec.Struct]]:
    """Tell a section's type from a setting's."""
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def settings_file(path: Path | None) -> Path:
    """Return the file that is named, else the system's."""
    return path or DEFAULT_PATH


def read_file(path: Path | None) -> dict[str, Any]:
    """Return what the file holds, unchecked; empty where none is named and the system has none.

    Raises
    ------
    ConfigError
        It is missing, cannot be read or is no TOML.
    """
    chosen = settings_file(path)
    try:
        return tomllib.loads(chosen.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        if path is None:
            return {}
        raise ConfigError(f"{chosen}: no such file") from error
    except OSError as error:
        raise ConfigError(f"{chosen}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{chosen}: not TOML: {error}") from error


def _put(tree: dict[str, Any], keys: list[str], text: str, *, origin: str) -> None:
    """Set a text value at a path, read as the type that the setting has."""
    kind: Any = Settings
    for index, key in enumerate(keys):
        hints = fields_of(kind) if is_section(kind) else {}
        if key not in hints:
            near = closest(key, hints, "".join(f"{k}." for k in keys[:index])) if hints else ""
            raise ConfigError(f"{origin}: there is no setting {'.'.join(keys)}{near}")
        kind = hints[key]
    name = ".".join(keys)
    if is_section(kind):
        raise ConfigError(f"{origin}: {name} is a section; name one of {', '.join(fields_of(kind))}")
    try:
        value = msgspec.convert(text, kind, strict=False)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{origin}: {name}: found {shown(text)}: {allowed(kind, str(error))}") from None
    for key in keys[:-1]:
        tree = tree.setdefault(key, {})
        if not isinstance(tree, dict):
            raise ConfigError(f"{origin}: {key} is a section, the file has {shown(tree)} there")
    tree[keys[-1]] = value


def _refuse_unknown(tree: Mapping[str, Any], kind: type[msgspec.Struct], *, prefix: str, source: str) -> None:
    hints = fields_of(kind)
    for key, value in tree.items():
        if key not in hints:
            raise ConfigError(f"{source}: there is no setting {prefix}{key}{closest(key, hints, prefix)}")
        if is_section(hints[key]) and isinstance(value, dict):
            _refuse_unknown(value, hints[key], prefix=f"{prefix}{key}.", source=source)


def _explain(message: str, tree: Mapping[str, Any], source: str) -> str:
    """Turn msgspec's sentence (``… - at `$.mqtt.url` ``) into key, found, allowed."""
    key = message.partition(" - at `$.")[2].rstrip("`")
    found: Any = tree
    kind: Any = Settings
    for part in key.split("."):
        found = found[part]
        kind = fields_of(kind)[part]
    takes = "allowed is a section, [" + key + "]" if is_section(kind) else allowed(kind, message)
    return f"{source}: {key}: found {shown(found)}: {takes}"
