"""What a person sees in a real Home Assistant: opt-in, `scripts/test-homeassistant` makes one and runs this.

The tests run in this order on one Home Assistant and one broker, as a household would use them.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest

from edge.clock import utc_time
from edge.homeassistant.discovery import Board, discovery_message
from edge.mqtt.topics import Topics
from edge.settings import HomeAssistantSettings
from tests.edge.homeassistant.core import COMMAND, HomeAssistant, root_of
from tests.fakes.mosquitto import Mosquitto
from tests.fakes.subscriber import Subscriber

ROOT = Path(__file__).parents[3]
SOMEBODY = "demo:?pace=realtime&loop=1"
"""a person comes into view, looks happy and leaves, every 14 s"""
ON_BY_DEFAULT = {
    "event", "emotion", "occupied", "faces", "privacy", "pause_hour", "pause_ends", "camera", "camera_problem",
    "outbox_depth", "outbox_dropped",
}  # fmt: skip
OFF_BY_DEFAULT = {
    "confidence", "frames_per_s", "memory", "disk_mb_per_hour", "camera_failures", "reconnects",
}  # fmt: skip
OF_A_LOST_BROKER = ("Disconnected from MQTT", "Error returned from MQTT", "Failed to connect to MQTT")

pytestmark = [
    pytest.mark.homeassistant,
    pytest.mark.timeout(600),
    pytest.mark.skipif(COMMAND not in os.environ, reason="opt-in: scripts/test-homeassistant"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("real-core-")


@pytest.fixture(scope="module")
def broker(folder: Path) -> Iterator[Mosquitto]:
    """A broker with the access list of docs/mqtt.md; the user of a device has its name."""
    broker = Mosquitto(folder / "broker")
    page = (ROOT / "docs/mqtt.md").read_text(encoding="utf-8")
    (acl,) = re.findall(r"```\n(pattern readwrite.*?)```", page, re.DOTALL)
    broker.limit(f"{acl}\nuser renamer\ntopic readwrite #\n", "homeassistant", "hall", "renamer", "twin")
    with broker:
        yield broker


@pytest.fixture(scope="module")
def home(broker: Mosquitto) -> Iterator[HomeAssistant]:
    home = HomeAssistant(os.environ[COMMAND])
    try:
        home.start()
        home.set_up(broker, "homeassistant")
        print(f"Home Assistant {home.version}")
        yield home
    finally:
        home.close()


@pytest.fixture(scope="module")
def nobody(folder: Path) -> str:
    """Return the address of a clip in which nobody is."""
    path = folder / "nobody.avi"
    noise = np.random.default_rng(3)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (320, 240))
    for _ in range(50):
        writer.write(noise.integers(90, 110, (240, 320, 3), dtype=np.uint8))
    writer.release()
    return f"file:{path}?pace=realtime&loop=1"


class Device:
    """One of our daemons, as `emotion-edge run` starts it."""

    def __init__(self, broker: Mosquitto, folder: Path, name: str, user: str | None = None) -> None:
        self._broker, self._folder = broker, folder
        self.name, self.user = name, user or name
        self.log = folder / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def id(self) -> str:
        return f"emotion-edge-{self.name}"

    def start(self, camera: str, *, homeassistant: bool = True) -> None:
        password = self._broker.password_file(self._broker.password)
        environment = {
            **os.environ, "PYTHONPATH": str(ROOT), "EMOTION_EDGE__HOMEASSISTANT__AREA": "Hall",
            "EMOTION_EDGE__HOMEASSISTANT__NAME": f"Camera {self.name}",
        }  # fmt: skip
        url = f"mqtt://{self.user}@127.0.0.1:{self._broker.port}"
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    sys.executable, "-m", "edge", "run", "--camera", camera, "--mqtt", url, "--device", self.name,
                    "--password-file", str(password), "--state-dir", str(self._folder / f"state-{self.user}"),
                    *(["--homeassistant"] if homeassistant else []),
                ], stdout=log, stderr=log, env=environment, cwd=self._folder,
            )  # fmt: skip

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(30)
            self._process = None

    def says(self, words: str) -> bool:
        return words in self.log.read_text(errors="replace")


@pytest.fixture(scope="module")
def hall(broker: Mosquitto, folder: Path) -> Iterator[Device]:
    device = Device(broker, folder, "hall")
    yield device
    device.stop(signal.SIGKILL)


Sees = Callable[[str], str]


@pytest.fixture
def sees(home: HomeAssistant, hall: Device) -> Sees:
    """Return the state of an entity of the device in the hall, by its key."""
    entries = home.entities(hall.id)
    return lambda key: str(home.state(entries[key]["entity_id"])["state"])


def test_discovery_messages_pass_home_assistants_own_schemas(tmp_path: Path) -> None:
    """Its package is imported in its own Python, not copied."""
    payloads = [
        discovery_message(
            Topics("hall"), HomeAssistantSettings(enabled=True, **more), version="1", board=board
        ).payload.decode()
        for more, board in (
            ({}, Board()),
            ({"name": "Küche", "area": "Flur"}, Board(model="Raspberry Pi 4", serial="1", has_temperature=True)),
        )
    ]  # fmt: skip
    command = os.environ[COMMAND].split()
    hass = command.pop()
    script = root_of([*command, hass]) / "tmp" / f"check-{tmp_path.name}.py"
    script.write_text(_SCHEMA_CHECK)
    try:
        done = subprocess.run(
            [*command, str(Path(hass).with_name("python")), f"/tmp/{script.name}"],
            input=msgspec.json.encode(payloads), capture_output=True, check=False, timeout=300,
            env={**os.environ, "PYTHONPATH": ""},
        )  # fmt: skip
    finally:
        script.unlink()
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    checked = msgspec.json.decode(done.stdout)
    assert all(count >= 23 for count in checked), checked


_SCHEMA_CHECK = """
import asyncio, importlib, json, sys, tempfile
from homeassistant.core import HomeAssistant
from homeassistant.helpers import frame
from homeassistant.components.mqtt.abbreviations import ABBREVIATIONS, DEVICE_ABBREVIATIONS, ORIGIN_ABBREVIATIONS
from homeassistant.components.mqtt.device_trigger import TRIGGER_DISCOVERY_SCHEMA
from homeassistant.components.mqtt.schemas import DEVICE_DISCOVERY_SCHEMA

def full(part, names):
    return {names.get(key, key): value for key, value in part.items()}

def check(text):
    payload = full(json.loads(text), ABBREVIATIONS)
    payload["device"] = full(payload["device"], DEVICE_ABBREVIATIONS)
    payload["origin"] = full(payload["origin"], ORIGIN_ABBREVIATIONS)
    payload["components"] = {key: full(part, ABBREVIATIONS) for key, part in payload["components"].items()}
    DEVICE_DISCOVERY_SCHEMA(json.loads(json.dumps(payload)))
    for part in payload["components"].values():
        kind = part.pop("platform")
        if kind == "device_automation":
            TRIGGER_DISCOVERY_SCHEMA({"platform": kind, **part, "device": payload["device"]})
        else:
            shared = {key: payload[key] for key in ("device", "origin", "availability", "qos")}
            module = importlib.import_module(f"homeassistant.components.mqtt.{kind}")
            module.DISCOVERY_SCHEMA({**shared, **part})
    return len(payload["components"])

async def main():
    with tempfile.TemporaryDirectory() as folder:
        hass = HomeAssistant(folder)
        frame.async_setup(hass)
        print(json.dumps([check(text) for text in json.load(sys.stdin)]))
        await hass.async_stop(force=True)

asyncio.run(main())
"""


def test_device_that_starts_before_home_assistant_is_found(home: HomeAssistant, hall: Device) -> None:
    home.stop()
    hall.start(SOMEBODY)
    home.start()
    home.wait(lambda: home.device(hall.id))
    device = home.device(hall.id)
    assert device is not None
    assert (device["name"], device["manufacturer"]) == ("Camera hall", "emotion-edge")
    assert device["area_id"] == "hall"
    home.wait(lambda: set(home.entities(hall.id)) >= ON_BY_DEFAULT)
    entries = home.entities(hall.id)
    assert {key for key, entry in entries.items() if entry["disabled_by"] is None} - {"temperature"} == ON_BY_DEFAULT
    assert {key for key, entry in entries.items() if entry["disabled_by"] == "integration"} == OFF_BY_DEFAULT


def test_each_entity_has_its_state(home: HomeAssistant, hall: Device, sees: Sees) -> None:
    home.wait(lambda: sees("emotion") == "happy")
    home.wait(lambda: sees("occupied") == "on")
    assert sees("faces") == "1"
    assert (sees("camera"), sees("camera_problem"), sees("privacy")) == ("ok", "off", "off")
    assert (sees("pause_ends"), sees("outbox_dropped")) == ("unknown", "0")
    event = home.entities(hall.id)["event"]["entity_id"]
    home.wait(lambda: home.state(event)["attributes"].get("emotion") == "happy")
    told = home.state(event)["attributes"]
    assert told["event_type"] in {"face_appeared", "emotion_changed", "face_left"}
    assert told["face"] >= 1
    assert 0 < told["confidence"] <= 1
    home.wait(lambda: sees("emotion") == "unknown")
    home.wait(lambda: sees("occupied") == "off")


def test_device_triggers_are_offered(home: HomeAssistant, hall: Device) -> None:
    device = home.device(hall.id)
    assert device is not None
    offered = home.ask("device_automation/trigger/list", device_id=device["id"])
    kinds = {trigger["type"] for trigger in offered if trigger["domain"] == "mqtt"}
    assert kinds == {f"looks {name}" for name in ("happy", "sad", "angry", "surprised", "neutral")} | {
        "appeared", "left",
    }  # fmt: skip
    happy = next(trigger for trigger in offered if trigger["type"] == "looks happy")
    happy.pop("metadata", None)
    emotion = home.entities(hall.id)["emotion"]["entity_id"]
    home.automate("Somebody looks happy", happy, "looks_happy")
    becomes = {"platform": "state", "entity_id": emotion, "to": "happy"}
    home.automate("The emotion becomes happy", becomes, "is_happy")


def test_blueprint_of_the_examples_runs_its_actions(home: HomeAssistant, hall: Device) -> None:
    place = home.folder / "blueprints/automation/emotion-edge/smile.yaml"
    place.parent.mkdir(parents=True)
    shutil.copy(ROOT / "examples/home-assistant/smile.yaml", place)
    home.ask("counter/create", name="blueprint")
    chosen = {
        "event": home.entities(hall.id)["event"]["entity_id"], "wait": {"seconds": 1},
        "actions": [{"service": "counter.increment", "target": {"entity_id": "counter.blueprint"}}],
    }  # fmt: skip
    body = {"alias": "Smile", "use_blueprint": {"path": "emotion-edge/smile.yaml", "input": chosen}}
    home.post("/api/config/automation/config/blueprint", body)
    home.wait(lambda: home.state("automation.smile")["state"] == "on")
    before = home.fired("blueprint")
    home.wait(lambda: home.fired("blueprint") > before)


def test_automations_and_card_of_the_examples_name_entities_that_exist(home: HomeAssistant, hall: Device) -> None:
    """Their device is called "Hall camera", the one here "Camera hall"; newer versions put the area before the name."""
    ids = [entry["entity_id"] for entry in home.entities(hall.id).values()]
    existing = {re.sub(r"\.\w*camera_hall_", ".hall_camera_", name) for name in ids}
    for name in ("automation.yaml", "card.yaml"):
        named = set(re.findall(r"\b\w+\.hall_camera_\w+", (ROOT / "examples/home-assistant" / name).read_text()))
        assert named
        assert named - existing == set(), ids


def test_automation_fires_once_a_visit_and_not_after_a_kill(
    home: HomeAssistant, hall: Device, sees: Sees, nobody: str
) -> None:
    hall.stop()
    home.wait(lambda: sees("emotion") == "unavailable")
    before = home.fired("looks_happy"), home.fired("is_happy")
    hall.start(SOMEBODY)
    home.wait(lambda: home.fired("looks_happy") == before[0] + 1)
    home.wait(lambda: sees("emotion") == "happy")
    hall.stop(signal.SIGKILL)  # the broker keeps "happy"
    home.wait(lambda: sees("emotion") == "unavailable")
    hall.start(nobody)
    home.wait(lambda: sees("emotion") == "unknown")
    home.wait(lambda: sees("occupied") == "off")
    assert (home.fired("looks_happy"), home.fired("is_happy")) == (before[0] + 1, before[1] + 1)


def test_automation_does_not_fire_for_a_late_event(home: HomeAssistant, hall: Device, broker: Mosquitto) -> None:
    before = home.fired("looks_happy")
    happy = {
        "event_type": "emotion_changed", "emotion": "happy", "face": 1, "confidence": 0.9, "duration_s": 1.0,
        "time_synced": True,
    }  # fmt: skip
    topic = Topics("hall").event
    event = home.entities(hall.id)["event"]["entity_id"]
    shown = home.state(event)["state"]
    with Subscriber(broker.port, "none", username="renamer", password=broker.password) as other:
        for late in ("2026-01-01T00:00:00.000Z", "2020-01-01T00:00:00.000Z"):
            other.publish(topic, msgspec.json.encode(happy | {"time": late}))
        other.publish(topic, msgspec.json.encode(happy | {"time": utc_time()}))
        home.wait(lambda: home.fired("looks_happy") > before)
    assert home.fired("looks_happy") == before + 1, "the one in time"
    assert home.state(event)["state"] != shown


def test_automation_fires_once_through_a_broker_that_restarts(
    home: HomeAssistant, hall: Device, broker: Mosquitto, sees: Sees
) -> None:
    hall.stop()
    before = home.fired("looks_happy")
    hall.start("demo:?pace=realtime")  # one visit
    home.wait(lambda: home.fired("looks_happy") == before + 1)
    broker.save()
    broker.kill()
    home.wait(lambda: sees("emotion") == "unavailable")
    broker.start()
    home.wait(lambda: sees("emotion") in {"happy", "unknown"})
    home.wait(lambda: hall.says("the clip has ended"))
    home.wait(lambda: sees("emotion") == "unavailable", 90)
    assert home.fired("looks_happy") == before + 1


def test_privacy_pause_by_switch_and_button(home: HomeAssistant, hall: Device, sees: Sees, nobody: str) -> None:
    hall.stop()
    hall.start(SOMEBODY)
    entries = home.entities(hall.id)
    home.wait(lambda: sees("emotion") == "happy")
    fired = home.fired("looks_happy")
    home.call("switch.turn_on", entity_id=entries["privacy"]["entity_id"])
    home.wait(lambda: (sees("privacy"), sees("camera")) == ("on", "paused"))
    home.wait(lambda: (sees("emotion"), sees("occupied")) == ("unknown", "unavailable"))
    assert sees("pause_ends") == "unknown", "no end is set"
    home.call("button.press", entity_id=entries["pause_hour"]["entity_id"])
    home.wait(lambda: re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", sees("pause_ends")))
    assert home.fired("looks_happy") == fired
    home.call("switch.turn_off", entity_id=entries["privacy"]["entity_id"])
    home.wait(lambda: (sees("privacy"), sees("camera"), sees("pause_ends")) == ("off", "ok", "unknown"))
    home.wait(lambda: home.fired("looks_happy") == fired + 1)


def test_home_assistant_logged_no_warning_about_us(home: HomeAssistant) -> None:
    assert [line for line in home.warnings() if not any(words in line for words in OF_A_LOST_BROKER)] == []


def test_deleted_device_returns_with_the_birth_message(home: HomeAssistant, hall: Device) -> None:
    device = home.device(hall.id)
    assert device is not None
    home.ask(
        "config/device_registry/remove_config_entry", config_entry_id=home.entry, device_id=device["id"]
    )  # fmt: skip
    home.wait(lambda: home.device(hall.id) is None)
    home.post(f"/api/config/config_entries/entry/{home.entry}/reload", {})
    home.wait(lambda: home.device(hall.id) is not None)
    home.wait(lambda: home.state(home.entities(hall.id)["camera"]["entity_id"])["state"] == "ok")


def test_second_device_of_a_name_does_not_disturb_the_first(
    home: HomeAssistant, hall: Device, sees: Sees, broker: Mosquitto, folder: Path, nobody: str
) -> None:
    hall.stop()
    hall.start(nobody)
    home.wait(lambda: (sees("camera"), sees("occupied")) == ("ok", "off"))
    away = {"platform": "state", "entity_id": home.entities(hall.id)["camera"]["entity_id"]}
    home.automate("The camera changes", away, "camera_changes")
    twin = Device(broker, folder, "hall", user="renamer")
    twin.log = folder / "twin.log"
    try:
        twin.start(SOMEBODY)
        home.wait(lambda: twin.says("has another device of this name"), 120)
        assert twin.says("says that emotion-edge-hall-")
    finally:
        twin.stop()
    assert home.fired("camera_changes") == 0
    assert sees("camera") == "ok"


def test_renamed_device_leaves_nothing_behind(
    home: HomeAssistant, broker: Mosquitto, folder: Path, nobody: str
) -> None:
    device = Device(broker, folder, "kitchen", user="renamer")
    try:
        device.start(nobody)
        home.wait(lambda: home.device("emotion-edge-kitchen"))
        device.stop(signal.SIGKILL)
        device.name = "bath"
        device.start(nobody)
        home.wait(lambda: home.device("emotion-edge-bath"))
        home.wait(lambda: home.device("emotion-edge-kitchen") is None)
        device.stop()
        device.start(nobody, homeassistant=False)
        home.wait(lambda: home.device("emotion-edge-bath") is None)
    finally:
        device.stop()


def test_home_assistant_restarts_and_knows_the_device(home: HomeAssistant, hall: Device, sees: Sees) -> None:
    fired = home.fired("looks_happy")
    home.stop(signal.SIGKILL)
    home.start()
    home.wait(lambda: (sees("camera"), sees("emotion"), sees("occupied")) == ("ok", "unknown", "off"))
    assert home.fired("looks_happy") == fired or home.fired("looks_happy") == 0, "a counter may start anew"


def test_home_assistant_warned_of_removed_devices_only(home: HomeAssistant, hall: Device) -> None:
    """It warns about itself when a device is removed: it clears the message that is cleared already."""
    hall.stop()
    known = (*OF_A_LOST_BROKER, "No device components to cleanup for", "Unable to remove unknown dispatcher")
    assert [line for line in home.warnings() if not any(words in line for words in known)] == []
