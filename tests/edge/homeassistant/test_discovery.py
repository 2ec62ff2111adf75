"""What Home Assistant reads."""

import re
from typing import Any

import msgspec
import pytest

from edge.emotions import EMOTIONS
from edge.events.payloads import Health, Privacy, State, Status
from edge.homeassistant.discovery import discovery_message
from edge.mqtt.commands import read_command
from edge.mqtt.topics import Topics

FIELDS = {
    "emotion/1/hall/state": State,
    "emotion/1/hall/health": Health,
    "emotion/1/hall/status": Status,
    "emotion/1/hall/privacy/state": Privacy,
}


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
        assert sensor["p"] in {"sensor", "switch"}
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
        assert set(asked) <= set(FIELDS[topic].__struct_fields__)


def test_the_switch_sends_commands_that_are_obeyed(payload: dict[str, Any]) -> None:
    switch = payload["cmps"]["privacy"]
    assert switch["command_topic"] == Topics("hall").privacy_set
    assert read_command(switch["payload_on"].encode(), retained=False).paused
    assert not read_command(switch["payload_off"].encode(), retained=False).paused
