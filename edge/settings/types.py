"""The settings as types: one struct a section of the TOML file, one field a key, with the line that explains it.

docs/settings.md is generated from these lines by `edge.settings.doc`.
"""

import os
import re
import socket
from pathlib import Path
from typing import Annotated, Any, Literal, TypeGuard, get_origin, get_type_hints

import msgspec

from edge.settings.profiles import device_tree

SERVICE_STATE = Path("/var/lib/emotion-edge")
"""``StateDirectory=`` of the systemd unit"""
DEVICE_PATTERN = r"^[a-z0-9-]{1,64}$"
BY_SERIAL = "@serial"
"""`device` for an image that many devices share: each is named after its own serial number"""
LISTEN_PATTERN = r"^(unix:/[^\s]+|(\[[0-9a-fA-F:.]+\]|[0-9.]+|localhost):[0-9]{1,5})$"

Seconds = Annotated[float, msgspec.Meta(gt=0, le=86_400)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


def default_device() -> str:
    """Return the host name in the letters that a topic allows."""
    name = re.sub(r"[^a-z0-9]+", "-", socket.gethostname().split(".")[0].lower()).strip("-")
    return name[:64] or "emotion-edge"


def device_by_serial() -> str | None:
    """Return ``pi-`` and the last eight digits of the board's serial number, None on a machine without one."""
    serial = (device_tree("serial-number") or "").lower()
    return f"pi-{serial[-8:]}" if re.fullmatch(r"[0-9a-z]{4,}", serial) else None


def default_state_dir() -> str:
    """Return systemd's state folder, for root the service's if it is installed, else one in the user's home.

    Empty for a user without a home folder: `require_state_dir` asks for one where it is needed.
    """
    if given := os.environ.get("STATE_DIRECTORY", "").split(":")[0]:
        return given
    # `sudo emotion-edge bundle install` is meant for the service.
    if os.geteuid() == 0 and SERVICE_STATE.is_dir():
        return str(SERVICE_STATE)
    try:
        return str(Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "emotion-edge")
    except RuntimeError:  # no HOME, and no entry in /etc/passwd
        return ""


class _Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class MqttSettings(_Section, frozen=True, kw_only=True):
    """``[mqtt]``: the broker, and how to log in."""

    url: str = "mqtt://localhost:1883"
    """mqtt://[user@]host[:1883], mqtts://[user@]host[:8883]; over WebSockets ws://[user@]host[:80][/path] or wss://…[:443]"""
    username: str = ""
    """name to log in with; it may stand in `mqtt.url` instead"""
    password_file: str = ""
    """file with mode 0600 that holds the password; empty: systemd's credential `mqtt-password`, if there is one"""
    ca_file: str = ""
    """PEM file of the authority that signed the broker's certificate; empty: the system's"""
    cert_file: str = ""
    """PEM file of this device's own certificate, for a broker that asks for one; empty: none"""
    key_file: str = ""
    """PEM file with mode 0600 of its private key; empty: it is in `cert_file`"""
    refuse_anonymous: bool = True
    """with a password set: refuse a broker that accepts clients without one"""
    outbox_max_events: Annotated[int, msgspec.Meta(ge=1, le=10_000_000)] = 100_000
    """most events kept while the broker is away; the oldest are dropped, and counted"""
    outbox_max_age_s: Annotated[float, msgspec.Meta(ge=1, le=31_536_000)] = 604_800.0
    """seconds after which an event that could not be sent is dropped, and counted"""
    outbox_max_mb: Annotated[float, msgspec.Meta(ge=0.1, le=10_000)] = 64.0
    """most megabytes (10^6 bytes) of events kept; the oldest are dropped, and counted"""
    outbox_synchronous: Literal["off", "normal", "full"] = "full"
    """when events reach the disk: `full` at once, `normal` at the next checkpoint, `off` when the kernel writes them"""
    outbox_commit_s: Annotated[float, msgspec.Meta(ge=0, le=60)] = 0.1
    """seconds for which acknowledgements are collected into one write; after a kill their events are sent twice"""
    health_interval_s: Seconds = 30.0
    """seconds between two health messages"""


class HomeAssistantSettings(_Section, frozen=True, kw_only=True):
    """``[homeassistant]``: discovery."""

    enabled: bool = False
    """publish discovery messages, so that Home Assistant finds the device by itself"""
    prefix: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_/-]{1,64}$")] = "homeassistant"
    """topic prefix that Home Assistant listens on"""
    birth_topic: Annotated[str, msgspec.Meta(pattern=r"^[^#+\x00]{1,128}$")] = "homeassistant/status"
    """topic of Home Assistant's birth message: the device announces itself again when Home Assistant starts"""
    name: Annotated[str, msgspec.Meta(max_length=100)] = ""
    """name of the device there; empty: `Emotion Edge` and the device"""
    area: Annotated[str, msgspec.Meta(max_length=100)] = ""
    """area that Home Assistant suggests for it, such as `Living room`"""


class CameraWatchSettings(_Section, frozen=True, kw_only=True):
    """``[camera_watch]``: when a camera counts as failed. Clips and folders are not watched."""

    silent_s: Annotated[float, msgspec.Meta(ge=0.5, le=60)] = 3.0
    """seconds without a frame after which the camera is reopened"""
    frozen_s: Annotated[float, msgspec.Meta(ge=0, le=3600)] = 3.0
    """seconds of exactly the same picture after which it is reopened; 0: never"""
    black_s: Annotated[float, msgspec.Meta(ge=0, le=3600)] = 3.0
    """seconds of a black picture after which it is reopened, with growing pauses; 0: never"""
    attempts: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 8
    """failures in a row after which the program ends with exit code 69, so that systemd restarts it"""


class Zone(_Section, frozen=True, kw_only=True):
    """``[[faces.zones]]``: parts of the picture in which faces count, or do not; one such table for each."""

    points: tuple[tuple[Share, Share], ...]
    """corners of a polygon, three or more `[x, y]`: shares of width and height, `[0, 0]` is top left, `[1, 1]` bottom \
right"""
    kind: Literal["include", "exclude"] = "include"
    """`include`: faces count in zones of this kind alone; `exclude`: none counts here"""


class FaceSettings(_Section, frozen=True, kw_only=True):
    """``[faces]``: how faces are found and followed."""

    search: Literal["dlib", "blazeface"] = "dlib"
    """what searches for new faces: `blazeface` finds more, smaller ones; it needs `emotion-edge detector install`"""
    search_every_s: Seconds = 0.4
    """seconds between two searches for new faces, if the picture has changed"""
    small_faces_every_s: Annotated[float, msgspec.Meta(ge=0, le=86_400)] = 10.0
    """seconds between two searches for faces of 37 to 75 pixels (in 640x480), at four times the cost; 0: never"""
    verify_every_s: Annotated[float, msgspec.Meta(ge=0, le=60)] = 0.4
    """seconds for which a face is followed by its landmarks before the detector checks it, up to three times as long \
while it looks the same; 0: in every frame"""
    classify_every_s: Annotated[float, msgspec.Meta(ge=0, le=10)] = 0.06
    """seconds for which the scores of an unchanged face are reused, three times as long where they are clear; 0: it \
is classified in every frame"""
    mirror: bool = True
    """classify a face mirrored in every second frame, and photos both ways: half a point more accurate"""
    upsample: Annotated[int, msgspec.Meta(ge=0, le=2)] = 0
    """how often the picture is doubled for a search: 0 finds faces from 75 pixels, 1 from 38 at four times the cost"""
    forget_after_s: Seconds = 3.0
    """seconds after which a face that is no longer seen has left"""
    confirm_frames: Annotated[int, msgspec.Meta(ge=1, le=100)] = 3
    """frames in which a face must be found before its visit begins"""
    max_faces: Annotated[int, msgspec.Meta(ge=1, le=64)] = 8
    """most faces followed at once; the largest are kept"""
    zones: tuple[Zone, ...] = ()
    """where faces count; none: in the whole picture"""


class SmoothingSettings(_Section, frozen=True, kw_only=True):
    """``[smoothing]``: how the scores of single frames become a stable emotion."""

    time_constant_s: Annotated[float, msgspec.Meta(ge=0, le=60)] = 0.3
    """seconds after which an old score counts 37 %; 0: no smoothing"""
    confidence_floor: Share = 0.45
    """smoothed score below which the emotion is `uncertain`"""
    margin: Share = 0.08
    """how far ahead another emotion's score must be before it takes over"""
    hold_s: Annotated[float, msgspec.Meta(ge=0, le=60)] = 0.3
    """seconds for which it must stay ahead"""
    baseline: bool = False
    """measure each face against its own rest, learned during its visit; no gain was measured, see docs/faces.md"""


class PowerSettings(_Section, frozen=True, kw_only=True):
    """``[power]``: how much of the device the program may use."""

    max_fps: Annotated[float, msgspec.Meta(ge=0, le=1000)] = 0.0
    """most frames processed per second; 0: every frame"""
    max_cpu_percent: Annotated[float, msgspec.Meta(ge=0, le=6400)] = 0.0
    """most CPU time of the daemon, percent of one core, kept by skipping frames; 0: no limit"""
    max_temperature_c: Annotated[float, msgspec.Meta(ge=30, le=120)] = 75.0
    """processor temperature in °C from which frames are skipped; a Raspberry Pi throttles itself at 80"""


class WebSettings(_Section, frozen=True, kw_only=True):
    """``[web]``: the live page of this device; needs the extra `web`. See docs/web.md."""

    enabled: bool = False
    """serve the page"""
    listen: Annotated[str, msgspec.Meta(pattern=LISTEN_PATTERN)] = "127.0.0.1:8378"
    """address and port, such as 0.0.0.0:8378 or [::1]:8378, or unix:/PATH; beyond this device only with a token"""
    token_file: str = ""
    """file with mode 0600 that holds the token, 16 characters or more; empty: systemd's credential `web-token`"""
    hosts: Annotated[str, msgspec.Meta(max_length=1000)] = ""
    """names by which browsers reach the page, separated by blanks; addresses and this device's own name always work"""
    cert_file: str = ""
    """PEM file of a certificate, for https; empty: http"""
    key_file: str = ""
    """PEM file with mode 0600 of its private key; empty: it is in `web.cert_file`"""
    picture: bool = False
    """show the camera's picture; without it the page has boxes and landmarks only"""


class LogSettings(_Section, frozen=True, kw_only=True):
    """``[log]``: what the log, and so the journal, holds."""

    events: bool = False
    """a line for each event, with the emotion, as `run --verbose`; otherwise one with counts a minute, at most"""


class Settings(_Section, frozen=True, kw_only=True):
    """All settings of a device."""

    device: Annotated[str, msgspec.Meta(pattern=rf"{DEVICE_PATTERN}|^{BY_SERIAL}$")] = msgspec.field(
        default_factory=default_device
    )
    """name of this device in topics: a-z, 0-9 and -, at most 64 characters; default: the host's name; `@serial`: \
`pi-` and the end of the board's serial number"""
    profile: Literal["auto", "none", "zero2", "pi3", "pi4", "pi5"] = "auto"
    """board that camera size, rate and searches are chosen for where they are not set; `auto`: this one"""
    camera: str = "picamera2:0"
    """where frames come from: picamera2:0, v4l2:/dev/video0, rtsp://…, http://…, file:CLIP, photos:FOLDER or demo:"""
    camera_rotate: Literal[0, 90, 180, 270] = 0
    """degrees by which the picture is turned clockwise; 180 where the camera hangs upside down; also `camera.rotate`"""
    camera_flip: Literal["none", "horizontal", "vertical"] = "none"
    """`horizontal` exchanges left and right of the turned picture, `vertical` top and bottom; also `camera.flip`"""
    bundle: str = ""
    """folder of a model bundle; empty: the one installed or chosen last with `emotion-edge bundle`, else what ships"""
    bundle_key: str = ""
    """PEM file of Ed25519 public keys, one of which must have signed the bundle; empty: signatures are not checked"""
    classifier: Literal["cnn", "vgg", "knn", "ensemble"] = "cnn"
    """which model of the bundle decides: a network, the landmark KNN (needs scikit-learn), or several together"""
    landmarks: str = ""
    """path of any dlib 68-point predictor (.dat); empty: the one that ships"""
    state_dir: str = msgspec.field(default_factory=default_state_dir)
    """folder for outbox and bundles, kept over restarts; default: the service's, else ~/.local/state/emotion-edge"""
    mqtt: MqttSettings = msgspec.field(default_factory=MqttSettings)
    homeassistant: HomeAssistantSettings = msgspec.field(default_factory=HomeAssistantSettings)
    camera_watch: CameraWatchSettings = msgspec.field(default_factory=CameraWatchSettings)
    faces: FaceSettings = msgspec.field(default_factory=FaceSettings)
    smoothing: SmoothingSettings = msgspec.field(default_factory=SmoothingSettings)
    power: PowerSettings = msgspec.field(default_factory=PowerSettings)
    web: WebSettings = msgspec.field(default_factory=WebSettings)
    log: LogSettings = msgspec.field(default_factory=LogSettings)


def fields_of(section: type[msgspec.Struct]) -> dict[str, Any]:
    """Return each key of a section with its type, constraints included."""
    return get_type_hints(section, include_extras=True)


def is_section(kind: Any) -> TypeGuard[type[msgspec.Struct]]:
    """True if the type is a section, False if it is a single setting."""
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def is_list(kind: Any) -> bool:
    """True if the type is a list of tables, as ``[[faces.zones]]``."""
    return get_origin(kind) is tuple
