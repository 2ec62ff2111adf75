"""What Home Assistant reads: its templates are rendered here as it renders them, with the same names to use."""

import json
import re
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edge.emotions import EMOTIONS
from edge.events.payloads import EmotionEvent, FaceReading, Health, Privacy, State, Status
from edge.homeassistant.discovery import Board, announcement, discovery_message, page_address, read_board
from edge.mqtt.commands import read_command
from edge.mqtt.topics import Topics
from edge.settings import HomeAssistantSettings, Settings, WebSettings

FIELDS = {
    "emotion/1/hall/state": State,
    "emotion/1/hall/health": Health,
    "emotion/1/hall/status": Status,
    "emotion/1/hall/privacy/state": Privacy,
    "emotion/1/hall/event": EmotionEvent,
}
NOW = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)
SCORES = {"angry": 0.01, "happy": 0.88, "sad": 0.02, "surprise": 0.04, "neutral": 0.05}
FACE = FaceReading(face=1, box=(1, 2, 3, 4), emotion="happy", confidence=0.88, scores=SCORES, duration_s=3.0)


def discovery(board: Board | None = None, **settings: Any) -> dict[str, Any]:
    message = discovery_message(
        Topics("hall"), HomeAssistantSettings(enabled=True, **settings), version="1.2.3",
        board=board or Board(has_temperature=True),
    )  # fmt: skip
    assert (message.topic, message.retain) == ("homeassistant/device/emotion-edge-hall/config", True)
    decoded: dict[str, Any] = msgspec.json.decode(message.payload)
    return decoded


@pytest.fixture
def payload() -> dict[str, Any]:
    return discovery()


def rendered(template: str, value: msgspec.Struct) -> str:
    jinja2 = pytest.importorskip("jinja2", reason="needs jinja2, which Home Assistant's templates are written for")
    environment = jinja2.Environment(autoescape=False)
    environment.filters["to_json"] = json.dumps
    names = {"now": lambda: NOW, "as_datetime": datetime.fromisoformat}
    answer: str = environment.from_string(template).render(value_json=msgspec.to_builtins(value), **names)
    return answer


def an_event(kind: Any = "emotion_changed", *, age_s: float = 1.0, synced: bool = True) -> EmotionEvent:
    time = (NOW - timedelta(seconds=age_s)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return EmotionEvent(
        event_type=kind, id="i", seq=1, boot="b", time=time, mono_ms=1, time_synced=synced, device="hall", model="m",
        **msgspec.structs.asdict(FACE),
    )  # fmt: skip


def a_state(*faces: FaceReading, camera: Any = "ok") -> State:
    return State(faces=list(faces), emotion=faces[0].emotion if faces else None, time="t", camera=camera)


def test_device_has_its_own_name_area_and_board(payload: dict[str, Any]) -> None:
    assert payload["dev"]["ids"] == ["emotion-edge-hall"]
    assert payload["dev"]["name"] == "Emotion Edge hall"
    assert payload["o"] == {"name": "emotion-edge", "sw": "1.2.3"}
    (availability,) = payload["availability"]
    assert availability["topic"] == "emotion/1/hall/status"
    board = Board(model="Raspberry Pi 4 Model B Rev 1.4", serial="10000000abcdef01")
    named = discovery(board, name="Living room", area="Hall")["dev"]
    assert (named["name"], named["sa"]) == ("Living room", "Hall")
    assert (named["mdl"], named["sn"]) == (board.model, board.serial)


def test_board_is_read_from_the_device_tree(tmp_path: Path) -> None:
    tree = tmp_path / "proc" / "device-tree"
    tree.mkdir(parents=True)
    (tree / "model").write_bytes(b"Raspberry Pi 4 Model B Rev 1.4\0")
    board = read_board(has_temperature=True, root=tmp_path)
    assert board == Board(model="Raspberry Pi 4 Model B Rev 1.4", serial=None, has_temperature=True)


def test_every_component_has_what_home_assistant_requires(payload: dict[str, Any]) -> None:
    components = payload["cmps"]
    entities = [component for component in components.values() if component["p"] != "device_automation"]
    assert len({entity["unique_id"] for entity in entities}) == len(entities)
    assert {"sensor", "binary_sensor", "switch", "button", "event"} == {entity["p"] for entity in entities}
    for entity in entities:
        if entity.get("device_class") == "enum":  # Home Assistant refuses an enum with a unit or a state class
            assert entity["options"]
            assert not {"unit_of_measurement", "state_class"} & set(entity)
        if entity["p"] == "sensor" and entity.get("state_class"):
            assert "options" not in entity
    assert components["emotion"]["options"] == [*EMOTIONS, "uncertain"]


def test_templates_use_only_fields_that_are_published(payload: dict[str, Any]) -> None:
    for part in [*payload["cmps"].values(), *payload["availability"]]:
        topic = part.get("state_topic") or part.get("topic")
        if topic is None:
            assert part["p"] == "button"
            continue
        used = re.findall(r"value_json\.(\w+)", part["value_template"])
        assert used
        assert set(used) <= set(FIELDS[topic].__struct_fields__)


def test_controls_send_commands_that_are_obeyed(payload: dict[str, Any]) -> None:
    switch, button = payload["cmps"]["privacy"], payload["cmps"]["pause_hour"]
    assert switch["command_topic"] == button["command_topic"] == Topics("hall").privacy_set
    assert read_command(switch["payload_on"].encode(), retained=False).paused
    assert not read_command(switch["payload_off"].encode(), retained=False).paused
    assert read_command(button["payload_press"].encode(), retained=False).for_s == 3600


def test_event_entity_has_the_emotion_as_attribute(payload: dict[str, Any]) -> None:
    entity = payload["cmps"]["event"]
    told = json.loads(rendered(entity["value_template"], an_event()))
    assert told == {
        "event_type": "emotion_changed", "emotion": "happy", "face": 1, "confidence": 0.88, "duration_s": 3.0,
    }  # fmt: skip
    assert told["event_type"] in entity["event_types"]


@pytest.mark.parametrize(("age_s", "synced", "is_told"), [(59, True, True), (61, True, False), (9e6, False, True)])
def test_late_events_are_ignored_if_the_device_knew_the_time(
    payload: dict[str, Any], age_s: float, synced: bool, is_told: bool
) -> None:
    event = an_event(age_s=age_s, synced=synced)
    assert bool(rendered(payload["cmps"]["event"]["value_template"], event)) is is_told
    trigger = payload["cmps"]["looks_happy"]
    assert (rendered(trigger["value_template"], event) == trigger["payload"]) is is_told


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("face_appeared", {"looks happy", "appeared"}),
        ("emotion_changed", {"looks happy"}),
        ("face_left", {"left"}),
    ],
)
def test_device_triggers_fire_for_what_happened(payload: dict[str, Any], kind: str, expected: set[str]) -> None:
    triggers = [part for part in payload["cmps"].values() if part["p"] == "device_automation"]
    assert len({(trigger["type"], trigger["subtype"]) for trigger in triggers}) == 7
    fired = {part["type"] for part in triggers if rendered(part["value_template"], an_event(kind)) == part["payload"]}
    assert fired == expected


def test_occupancy_is_unavailable_while_the_camera_does_not_see(payload: dict[str, Any]) -> None:
    entity = payload["cmps"]["occupied"]
    assert rendered(entity["value_template"], a_state(FACE)) == "ON"
    assert rendered(entity["value_template"], a_state()) == "OFF"
    (seen,) = [part for part in entity["availability"] if part["topic"] == "emotion/1/hall/state"]
    told = {camera: rendered(seen["value_template"], a_state(camera=camera)) for camera in ("ok", "paused", "failed")}
    assert told == {"ok": "online", "paused": "offline", "failed": "offline"}
    problem = payload["cmps"]["camera_problem"]["value_template"]
    assert [rendered(problem, a_state(camera=camera)) for camera in ("ok", "paused", "failed")] == ["OFF", "OFF", "ON"]


def test_confidence_is_rounded_and_off_by_default(payload: dict[str, Any]) -> None:
    """The recorder wrote 2,200 rows an hour of it."""
    entity = payload["cmps"]["confidence"]
    assert entity["enabled_by_default"] is False
    assert rendered(entity["value_template"], a_state(FACE)) == "90"
    assert rendered(entity["value_template"], a_state()) == "None"
    attributes = json.loads(rendered(entity["json_attributes_template"], a_state(FACE, FACE)))
    assert attributes["scores"] == SCORES
    assert [face["emotion"] for face in attributes["further_faces"]] == ["happy"]


def test_temperature_is_left_out_without_a_sensor() -> None:
    assert "temperature" in discovery(Board(has_temperature=True))["cmps"]
    assert "temperature" not in discovery(Board(has_temperature=False))["cmps"]


def test_numbers_have_a_display_precision(payload: dict[str, Any]) -> None:
    assert payload["cmps"]["memory"]["suggested_display_precision"] == 0, "it was shown as 156.00 MB"
    technical = {key for key, part in payload["cmps"].items() if part.get("enabled_by_default") is False}
    assert technical == {
        "confidence", "frames_per_s", "memory", "disk_mb_per_hour", "camera_failures", "reconnects",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("web", "address"),
    [
        ({}, None),
        ({"listen": "0.0.0.0:8378", "enabled": False}, None),
        ({"listen": "[::1]:8378"}, None),
        ({"listen": "localhost:8378"}, None),
        ({"listen": "unix:/run/page"}, None),
        ({"listen": "192.168.1.7:8378"}, "http://192.168.1.7:8378"),
        ({"listen": "[fd00::7]:8378", "cert_file": "c.pem"}, "https://[fd00::7]:8378"),
        ({"listen": "0.0.0.0:80", "hosts": "hall.example hall"}, "http://hall.example:80"),
        ({"listen": "[::]:80"}, f"http://{socket.gethostname().split('.')[0]}.local:80"),
    ],
    ids=["own-machine", "off", "ipv6-loopback", "localhost", "socket", "address", "https", "named", "any"],
)
def test_page_address_is_one_that_others_reach(web: dict[str, Any], address: str | None) -> None:
    settings = WebSettings(**{"enabled": True, **web})
    assert page_address(settings) == address
    message = announcement(Settings(device="hall", web=settings), version="1", has_temperature=False)
    assert msgspec.json.decode(message.payload)["dev"].get("cu") == address
