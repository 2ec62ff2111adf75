"""Home Assistant's MQTT discovery: one retained message describes the device and all its sensors.

Format: https://www.home-assistant.io/integrations/mqtt/#device-discovery-payload and, for the sensors,
https://www.home-assistant.io/integrations/sensor.mqtt/ (Home Assistant 2024.11 or newer). A template that gives
``None`` makes a sensor "unknown", which is what an emotion is while nobody is in view.
"""

from typing import Any, get_args

import msgspec

from edge.emotions import EMOTIONS, UNCERTAIN
from edge.events.payloads import CameraState
from edge.mqtt.connection import Message
from edge.mqtt.topics import Topics


def discovery_message(topics: Topics, prefix: str, *, version: str) -> Message:
    """Return the retained message that makes Home Assistant show this device.

    Parameters
    ----------
    topics
        Of the device.
    prefix
        That Home Assistant listens on, usually ``homeassistant``.
    version
        Of the program.
    """
    identifier = f"emotion-edge-{topics.device}"
    payload = {
        "dev": {
            "ids": [identifier],
            "name": f"Emotion Edge {topics.device}",
            "mf": "emotion-edge",
            "mdl": "Emotion Edge",
            "sw": version,
        },
        "o": {"name": "emotion-edge", "sw": version},
        "availability": [
            {
                "topic": topics.status,
                "value_template": "{{ 'online' if value_json.state == 'online' else 'offline' }}",
            }
        ],
        "qos": 1,
        "cmps": {
            key: {"p": "sensor", "unique_id": f"{identifier}-{key}", **sensor}
            for key, sensor in (_readings(topics.state) | _diagnostics(topics.health) | _switches(topics)).items()
        },
    }
    return Message(f"{prefix}/device/{identifier}/config", msgspec.json.encode(payload), retain=True)


def _readings(topic: str) -> dict[str, dict[str, Any]]:
    return {
        "emotion": {
            "name": "Emotion",
            "icon": "mdi:emoticon-outline",
            "device_class": "enum",
            "options": [*EMOTIONS, UNCERTAIN],
            "state_topic": topic,
            "value_template": "{{ value_json.emotion }}",
        },
        "confidence": {
            "name": "Confidence",
            "icon": "mdi:percent-outline",
            "state_topic": topic,
            "value_template": (
                "{{ (value_json.faces[0].confidence * 100) | round(0) | int if value_json.faces else None }}"
            ),
            "unit_of_measurement": "%",
            "state_class": "measurement",
        },
        "faces": {
            "name": "Faces in view",
            "icon": "mdi:account-multiple",
            "state_topic": topic,
            "value_template": "{{ value_json.faces | count }}",
            "state_class": "measurement",
        },
        "camera": {
            "name": "Camera",
            "icon": "mdi:cctv",
            "device_class": "enum",
            "options": list(get_args(CameraState)),
            "entity_category": "diagnostic",
            "state_topic": topic,
            "value_template": "{{ value_json.camera }}",
        },
    }


def _switches(topics: Topics) -> dict[str, dict[str, Any]]:
    """Home Assistant sends these without the retain flag, which a command must not have."""
    return {
        "privacy": {
            "p": "switch",
            "name": "Privacy pause",
            "icon": "mdi:camera-off",
            "command_topic": topics.privacy_set,
            "payload_on": '{"paused": true}',
            "payload_off": '{"paused": false}',
            "state_topic": topics.privacy_state,
            "value_template": "{{ 'ON' if value_json.paused else 'OFF' }}",
            "state_on": "ON",
            "state_off": "OFF",
        }
    }


def _diagnostics(topic: str) -> dict[str, dict[str, Any]]:
    def number(name: str, field: str, **more: Any) -> dict[str, Any]:
        return {
            "name": name,
            "entity_category": "diagnostic",
            "state_topic": topic,
            "value_template": f"{{{{ value_json.{field} }}}}",
            "state_class": "measurement",
            **more,
        }

    return {
        "frames_per_s": number("Frame rate", "frames_per_s", unit_of_measurement="fps", icon="mdi:speedometer"),
        "temperature": number("Temperature", "temperature_c", device_class="temperature", unit_of_measurement="°C"),
        "memory": number("Memory", "memory_mb", device_class="data_size", unit_of_measurement="MB"),
        "outbox_depth": number("Events waiting", "outbox_depth", icon="mdi:tray-full"),
        "outbox_dropped": number(
            "Events given up", "outbox_dropped", icon="mdi:tray-remove", state_class="total_increasing"
        ),
        "disk_mb_per_hour": number(
            "Written to disk", "disk_mb_per_hour", unit_of_measurement="MB/h", icon="mdi:micro-sd"
        ),
        "camera_failures": number(
            "Camera failures", "camera_failures", icon="mdi:camera-retake", state_class="total_increasing"
        ),
        "reconnects": number("Reconnects", "reconnects", icon="mdi:lan-pending", state_class="total_increasing"),
    }
