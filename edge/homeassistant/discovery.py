"""Home Assistant's MQTT discovery: one retained message describes the device and everything it has.

Format: https://www.home-assistant.io/integrations/mqtt/#device-discovery-payload (Home Assistant 2024.11 or newer) and
the page of each kind: event, sensor, binary_sensor, switch, button, device_trigger. A template that gives ``None``
makes a sensor "unknown", which is what an emotion is while nobody is in view.

What changes every two seconds, such as scores, is off by default: Home Assistant's recorder writes a row per change.
"""

import socket
from pathlib import Path
from typing import Any, get_args

import msgspec

from edge.emotions import EMOTIONS, UNCERTAIN
from edge.events.payloads import CameraState, EventType
from edge.mqtt.connection import Message
from edge.mqtt.topics import Topics
from edge.settings import HomeAssistantSettings, Settings, WebSettings, is_loopback
from edge.settings.profiles import device_tree

MAX_AGE_S = 60
"""Home Assistant ignores events older than this, if the device knew the time: after an outage they come all at once."""

_ADJECTIVES = {"surprise": "surprised"}
_IS_RECENT = (
    "(not value_json.time_synced or "
    f"(now() - as_datetime(value_json.time)).total_seconds() <= {MAX_AGE_S})"
)  # fmt: skip


class Board(msgspec.Struct, frozen=True, kw_only=True):
    """What the device page shows of the hardware."""

    model: str | None = None
    """such as ``Raspberry Pi 4 Model B Rev 1.4``"""
    serial: str | None = None
    has_temperature: bool = False
    """True if the kernel reports the processor's temperature"""


def read_board(*, has_temperature: bool, root: Path = Path("/")) -> Board:
    """Read model and serial number of a board with a device tree; ``root`` is the folder that holds ``proc``."""
    return Board(
        model=device_tree("model", root), serial=device_tree("serial-number", root), has_temperature=has_temperature
    )


def page_address(web: WebSettings) -> str | None:
    """Return the address of the live page as other machines reach it; None if it is off or only for this machine."""
    host, _, port = web.listen.rpartition(":")
    name = host.strip("[]")
    if not web.enabled or web.listen.startswith("unix:") or is_loopback(name):
        return None
    if name in {"0.0.0.0", "::"}:  # noqa: S104 - compared, not bound
        host = (web.hosts.split() or [f"{socket.gethostname().split('.')[0]}.local"])[0]
    return f"{'https' if web.cert_file else 'http'}://{host}:{port}"


def announcement(settings: Settings, *, version: str, has_temperature: bool) -> Message:
    """Return the discovery message of a daemon with these settings on this machine."""
    board = read_board(has_temperature=has_temperature)
    page = page_address(settings.web)
    return discovery_message(Topics(settings.device), settings.homeassistant, version=version, board=board, page=page)


def discovery_message(
    topics: Topics, settings: HomeAssistantSettings, *, version: str, board: Board, page: str | None = None
) -> Message:
    """Return the retained message that makes Home Assistant show this device.

    ``settings``: prefix of the discovery topic, name and area of the device. ``page``: address to which the device page
    of Home Assistant links.
    """
    identifier = _identifier(topics)
    components = _readings(topics) | _controls(topics) | _diagnostics(topics, board) | _triggers(topics)
    payload = {
        "dev": _without_none(
            {
                "ids": [identifier],
                "name": settings.name or f"Emotion Edge {topics.device}",
                "mf": "emotion-edge",
                "mdl": board.model or "Emotion Edge",
                "sn": board.serial,
                "sw": version,
                "sa": settings.area or None,
                "cu": page,
            }
        ),
        "o": {"name": "emotion-edge", "sw": version},
        "availability": [_is_online(topics)],
        "qos": 1,
        "cmps": {
            key: part if part["p"] == "device_automation" else {"unique_id": f"{identifier}-{key}", **part}
            for key, part in components.items()
        },
    }  # fmt: skip
    return Message(discovery_topic(topics, settings), msgspec.json.encode(payload), retain=True)


def discovery_topic(topics: Topics, settings: HomeAssistantSettings) -> str:
    """Return the topic of a device's discovery message."""
    return f"{settings.prefix}/device/{_identifier(topics)}/config"


def _identifier(topics: Topics) -> str:
    return f"emotion-edge-{topics.device}"


def _entity(kind: str, name: str, topic: str | None = None, value: str = "", **more: Any) -> dict[str, Any]:
    """Return one entity; ``value`` is the template that makes its state of a message on ``topic``."""
    state = {} if topic is None else {"state_topic": topic, "value_template": f"{{{{ {value} }}}}"}
    return {"p": kind, "name": name, **state, **more}


def _readings(topics: Topics) -> dict[str, dict[str, Any]]:
    shown = ("event_type", "emotion", "face", "confidence", "duration_s")
    event = ", ".join(f"'{name}': value_json.{name}" for name in shown)
    first = "value_json.faces[0]"
    return {
        "event": _entity(
            "event", "Event", icon="mdi:face-recognition", event_types=list(get_args(EventType)),
            state_topic=topics.event, value_template=(
                f"{{% if {_IS_RECENT} %}}{{{{ {{{event}}} | to_json }}}}{{% endif %}}"
            ),
        ),
        "emotion": _entity(
            "sensor", "Emotion", topics.state, "value_json.emotion", icon="mdi:emoticon-outline", device_class="enum",
            options=[*EMOTIONS, UNCERTAIN],
        ),
        "occupied": _entity(
            "binary_sensor", "Someone in view", topics.state, "'ON' if value_json.faces else 'OFF'",
            device_class="occupancy", availability=[_is_online(topics), _sees(topics)], availability_mode="all",
        ),
        "faces": _entity(
            "sensor", "Faces in view", topics.state, "value_json.faces | count", icon="mdi:account-multiple",
            state_class="measurement",
        ),
        "confidence": _entity(
            "sensor", "Confidence", topics.state,
            f"({first}.confidence * 20) | round(0) | int * 5 if value_json.faces else None",
            icon="mdi:percent-outline", enabled_by_default=False, unit_of_measurement="%", state_class="measurement",
            json_attributes_topic=topics.state, json_attributes_template=(
                f"{{{{ {{'scores': {first}.scores if value_json.faces else {{}}, "
                "'further_faces': value_json.faces[1:]} | to_json }}"
            ),
        ),
    }  # fmt: skip


def _controls(topics: Topics) -> dict[str, dict[str, Any]]:
    """Commands must not be retained, and Home Assistant does not retain them."""
    return {
        "privacy": _entity(
            "switch", "Privacy pause", topics.privacy_state, "'ON' if value_json.paused else 'OFF'",
            icon="mdi:camera-off", command_topic=topics.privacy_set, payload_on='{"paused": true}',
            payload_off='{"paused": false}', state_on="ON", state_off="OFF",
        ),
        "pause_hour": _entity(
            "button", "Pause for an hour", icon="mdi:timer-pause-outline", command_topic=topics.privacy_set,
            payload_press='{"paused": true, "for_s": 3600}',
        ),
        "pause_ends": _entity(
            "sensor", "Pause ends", topics.privacy_state, "value_json.until", device_class="timestamp"
        ),
    }  # fmt: skip


def _diagnostics(topics: Topics, board: Board) -> dict[str, dict[str, Any]]:
    def number(name: str, field: str, **more: Any) -> dict[str, Any]:
        usual = {"entity_category": "diagnostic", "state_class": "measurement", "suggested_display_precision": 0}
        return _entity("sensor", name, topics.health, f"value_json.{field}", **usual | more)

    off: dict[str, Any] = {"enabled_by_default": False}
    total: dict[str, Any] = {"state_class": "total_increasing", **off}
    found = {
        "camera": _entity(
            "sensor", "Camera", topics.state, "value_json.camera", icon="mdi:cctv", device_class="enum",
            options=list(get_args(CameraState)), entity_category="diagnostic",
        ),
        "camera_problem": _entity(
            "binary_sensor", "Camera problem", topics.state, "'ON' if value_json.camera == 'failed' else 'OFF'",
            device_class="problem", entity_category="diagnostic",
        ),
        "frames_per_s": number(
            "Frame rate", "frames_per_s", unit_of_measurement="fps", icon="mdi:speedometer",
            suggested_display_precision=1, **off,
        ),
        "memory": number("Memory", "memory_mb", device_class="data_size", unit_of_measurement="MB", **off),
        "outbox_depth": number("Events waiting", "outbox_depth", icon="mdi:tray-full"),
        "outbox_dropped": number(
            "Events given up", "outbox_dropped", icon="mdi:tray-remove", state_class="total_increasing"
        ),
        "disk_mb_per_hour": number(
            "Written to disk", "disk_mb_per_hour", unit_of_measurement="MB/h", icon="mdi:micro-sd",
            suggested_display_precision=1, **off,
        ),
        "camera_failures": number("Camera failures", "camera_failures", icon="mdi:camera-retake", **total),
        "reconnects": number("Reconnects", "reconnects", icon="mdi:lan-pending", **total),
    }  # fmt: skip
    if board.has_temperature:
        found["temperature"] = number(
            "Temperature", "temperature_c", device_class="temperature", unit_of_measurement="°C"
        )
    return found


def _triggers(topics: Topics) -> dict[str, dict[str, Any]]:
    """Return what Home Assistant offers under "Device" when an automation is made: "Somebody" looks happy, ..."""

    def trigger(kind: str, payload: str, value: str, when: str) -> dict[str, Any]:
        return {
            "p": "device_automation",
            "automation_type": "trigger",
            "type": kind,
            "subtype": "Somebody",
            "topic": topics.event,
            "payload": payload,
            "value_template": f"{{{{ {value} if {when} and {_IS_RECENT} else '' }}}}",
        }

    begins = "value_json.event_type in ('face_appeared', 'emotion_changed')"
    looks = {
        f"looks_{emotion}": trigger(
            f"looks {_ADJECTIVES.get(emotion, emotion)}", str(emotion), "value_json.emotion", begins
        )
        for emotion in EMOTIONS
    }
    return looks | {
        kind: trigger(kind, f"face_{kind}", "value_json.event_type", f"value_json.event_type == 'face_{kind}'")
        for kind in ("appeared", "left")
    }


def _is_online(topics: Topics) -> dict[str, str]:
    return {
        "topic": topics.status,
        "value_template": "{{ 'online' if value_json.state == 'online' else 'offline' }}",
    }


def _sees(topics: Topics) -> dict[str, str]:
    """Return the availability of what only a camera that sees can report."""
    return {
        "topic": topics.state,
        "value_template": "{{ 'online' if value_json.camera == 'ok' else 'offline' }}",
    }


def _without_none(given: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in given.items() if value is not None}
