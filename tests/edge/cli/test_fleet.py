"""`emotion-edge fleet status`: all devices, those that need somebody first."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion

from benchmarks.faults import device
from edge.cli import app
from edge.cli.support import run
from edge.clock import utc_time
from edge.record.fleet import Fleet
from edge.record.messages import Row, read
from edge.record.targets import open_target
from tests.fakes.mosquitto import Mosquitto

NOW_MS = 1_795_777_200_000


def status(name: str, state: str) -> Row:
    payload = json.dumps({"state": state, "boot": "b", "version": "0.3"}).encode()
    return read(f"emotion/1/{name}/status", payload, NOW_MS)


def health(name: str, *, age_s: float = 5, **values: Any) -> Row:
    payload = json.dumps({"time": utc_time(NOW_MS / 1000 - age_s), "outbox_depth": 0, "outbox_dropped": 0, **values})
    return read(f"emotion/1/{name}/health", payload.encode(), NOW_MS)


@pytest.mark.parametrize(
    ("state", "values", "said"),
    [
        ("online", {}, []),
        ("stopped", {}, ["stopped"]),
        ("online", {"age_s": 300}, ["no health for two minutes"]),
        ("offline", {"age_s": 300}, ["offline"]),
        ("online", {"age_s": 300, "time_synced": False}, ["it does not know the date"]),
        ("online", {"camera": "failed", "camera_fault": "it hangs"}, ["camera failed: it hangs"]),
        ("online", {"outbox_dropped": 1200, "outbox_depth": 5000}, ["1,200 events dropped", "5,000 events waiting"]),
        ("online", {"outbox_on_disk": False, "temperature_c": 81.4}, ["its disk cannot be written", "81 °C"]),
    ],
)
def test_fleet_says_what_is_wrong_with_a_device(state: str, values: dict[str, Any], said: list[str]) -> None:
    fleet = Fleet()
    fleet.note(status("hall", state))
    assert fleet.note(health("hall", **values)).troubles(NOW_MS) == said


def test_fleet_sorts_devices_by_trouble() -> None:
    fleet = Fleet()
    for name, state in (("well", "online"), ("hot", "online"), ("gone", "offline"), ("also-well", "online")):
        fleet.note(status(name, state))
        fleet.note(health(name, temperature_c=80 if name == "hot" else 50))
    fleet.note(health("never-heard-of"))
    assert [one.name for one in fleet.by_trouble(NOW_MS)] == ["gone", "never-heard-of", "hot", "also-well", "well"]


@pytest.mark.broker
def test_fleet_status_reads_what_the_broker_keeps(
    mosquitto: Mosquitto, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = open_target(str(tmp_path / "events.jsonl"))
    for seq in (1, 4):
        event = device.event("b")
        sent = msgspec.structs.replace(event, device="hall", seq=seq, time="2026-11-27T10:00:00Z")
        target.store([read("emotion/1/hall/event", msgspec.json.encode(sent), NOW_MS)])
    target.close()
    with mosquitto:
        publisher = paho.Client(CallbackAPIVersion.VERSION2)
        publisher.username_pw_set(mosquitto.username, mosquitto.password)
        publisher.connect("127.0.0.1", mosquitto.port)
        publisher.loop_start()
        for name, state in (("hall", "online"), ("door", "offline")):
            payload = json.dumps({"state": state, "boot": "b", "version": "0.3"})
            publisher.publish(f"emotion/1/{name}/status", payload, 1, retain=True).wait_for_publish(30)
        publisher.disconnect()
        publisher.loop_stop()
        settings = mosquitto.settings()
        arguments = ["fleet", "status", "--mqtt", f"mqtt://{settings.username}@localhost:{mosquitto.port}",
                     "--password-file", settings.password_file]  # fmt: skip
        assert run(app, arguments) == 0
        shown = capsys.readouterr().out
        assert "2 devices" in shown
        assert shown.index("door") < shown.index("hall")
        assert run(app, [*arguments, "--json", "--record", str(tmp_path / "events.jsonl")]) == 0
    found = {one["device"]: one for one in map(json.loads, capsys.readouterr().out.splitlines())}
    assert (found["hall"]["missing"], found["hall"]["last_event"]) == (2, "2026-11-27T10:00:00.000Z")
    assert found["door"]["troubles"] == ["offline"]
