"""What Home Assistant reads."""

import re
from typing import Any

import msgspec
import pytest

from edge.emotions import EMOTIONS
from edge.events.payloads import Health, State, Status
from edge.mqtt.discovery import discovery_message
from edge.mqtt.topics import Topics

FIELDS = {"state": State, "health": Health, "status": Status}


@pytest.fixture
def payload() -> dict[str, Any]:
    message = discovery_message(Topics("hall"), "homeassistant", version="1.2.3")
    assert (message.topic, message.retain) == ("homeassistant/device/emotion-edge-hall/config", True)
    decoded: dict[str, Any] = msgspec.json.decode(message.payload)
    return decoded


def test_the_device_is_named_and_its_origin_told(payload: dict[str, Any]) -> None:
    assert payload["dev"]["ids"] == ["emotion-edge-hall"]
    assert payload["o"] == {"name": "emotion-edge", "sw": "1.2.3"}
    (availability,) = payload["availability"]
    assert availability["topic"] == "emotion/1/hall/status"


def test_every_sensor_has_what_home_assistant_demands(payload: dict[str, Any]) -> None:
    sensors = payload["cmps"]
    assert len({sensor["unique_id"] for sensor in sensors.values()}) == len(sensors)
    for sensor in sensors.values():
        assert sensor["p"] == "sensor"
        if sensor.get("device_class") == "enum":  # Home Assistant refuses an enum with a unit or a state class
            assert sensor["options"]
            assert not {"unit_of_measurement", "state_class"} & set(sensor)
    assert sensors["emotion"]["options"] == [*EMOTIONS, "uncertain"]
    assert {"emotion", "confidence", "faces"} <= set(sensors)
    assert any(sensor.get("entity_category") == "diagnostic" for sensor in sensors.values())


def test_templates_ask_only_for_fields_that_are_published(payload: dict[str, Any]) -> None:
    for sensor in [*payload["cmps"].values(), *payload["availability"]]:
        topic = sensor.get("state_topic") or sensor["topic"]
        asked = re.findall(r"value_json\.(\w+)", sensor["value_template"])
        assert asked
        assert set(asked) <= set(FIELDS[topic.rsplit("/", 1)[1]].__struct_fields__)
