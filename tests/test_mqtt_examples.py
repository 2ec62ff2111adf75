"""The programs in ``examples/mqtt`` read what a device publishes, once each, and act on nothing that is late."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from edge.clock import utc_time
from edge.mqtt.address import broker_address
from edge.mqtt.connection import Message
from edge.mqtt.exchange import exchange
from tests.fakes.mosquitto import Mosquitto, free_port
from tests.fakes.waiting import wait_for

EXAMPLES = Path(__file__).parents[1] / "examples/mqtt"
MODULES = os.environ.get("EMOTION_EDGE_NODE_MODULES", "")
"""The folder ``node_modules`` with mqtt and node-red, which `scripts/test-examples` makes."""

needs_node = pytest.mark.skipif(not MODULES, reason="opt-in: scripts/test-examples")
pytestmark = pytest.mark.broker

EXPECTED = ["hall: face_appeared happy 90%", "hall: 2 events are missing", "hall: face_left sad 90%"]


def event(seq: int, event_type: str, emotion: str, **changes: Any) -> bytes:
    given = {
        "device": "hall", "seq": seq, "event_type": event_type, "emotion": emotion, "confidence": 0.9,
        "time": utc_time(), "time_synced": True, "face": 1,
    }  # fmt: skip
    return json.dumps(given | changes).encode()


def publish_visit(broker: Mosquitto) -> None:
    """Publish a visit as after a bad connection: with a duplicate, a gap, and something late."""
    late = "2026-01-01T00:00:00.000Z"
    events = [
        event(7, "face_appeared", "happy"), event(7, "face_appeared", "happy"),
        event(10, "emotion_changed", "angry", time=late), event(11, "face_left", "sad"),
    ]  # fmt: skip
    with exchange(broker_address(broker.settings()), purpose="test") as device:
        for payload in events:
            device.publish(Message("emotion/1/hall/event", payload, retain=False))


@contextmanager
def running(command: list[str], broker: Mosquitto, folder: Path) -> Iterator[Path]:
    """Run a program until the test is done; yield the file with what it prints."""
    output = folder / "output"
    with output.open("wb") as file:
        process = subprocess.Popen(
            command, stdout=file, stderr=file, cwd=folder, env={**os.environ, "MQTT_PASSWORD": broker.password}
        )
    try:
        yield output
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)


def subscribed(broker: Mosquitto) -> bool:
    return "emotion/1/+/event (QoS 1)" in broker.log.read_text()


def check_reader(command: list[str], broker: Mosquitto, folder: Path) -> None:
    broker.start()
    url = f"mqtt://{broker.username}@127.0.0.1:{broker.port}"
    with running([*command, url], broker, folder) as output:
        wait_for(lambda: subscribed(broker))
        publish_visit(broker)
        wait_for(lambda: "face_left" in output.read_text())
    assert output.read_text().splitlines() == EXPECTED


def test_python_example_reads_each_event_once(mosquitto: Mosquitto, tmp_path: Path) -> None:
    check_reader([sys.executable, str(EXAMPLES / "subscriber.py")], mosquitto, tmp_path)


@needs_node
def test_mqtt_js_example_reads_each_event_once(mosquitto: Mosquitto, tmp_path: Path) -> None:
    (tmp_path / "node_modules").symlink_to(MODULES)
    shutil.copy(EXAMPLES / "subscriber.mjs", tmp_path)
    check_reader(["node", "subscriber.mjs"], mosquitto, tmp_path)


@needs_node
def test_node_red_flow_shows_who_looks_happy_once(mosquitto: Mosquitto, tmp_path: Path) -> None:
    flow = json.loads((EXAMPLES / "node-red-flow.json").read_text())
    server = next(node for node in flow if node["type"] == "mqtt-broker")
    server |= {"broker": "127.0.0.1", "port": str(mosquitto.port)}
    server["credentials"] = {"user": mosquitto.username, "password": mosquitto.password}
    (tmp_path / "flows.json").write_text(json.dumps(flow))
    (tmp_path / "settings.js").write_text(
        f"module.exports = {{ uiPort: {free_port()}, uiHost: '127.0.0.1', flowFile: 'flows.json', "
        "credentialSecret: false, logging: { console: { level: 'info' } } };"
    )
    (tmp_path / "flows_cred.json").write_text(json.dumps({server["id"]: server.pop("credentials")}))
    (tmp_path / "flows.json").write_text(json.dumps(flow))
    mosquitto.start()
    program = ["node", f"{MODULES}/node-red/red.js", "--userDir", str(tmp_path)]
    with running(program, mosquitto, tmp_path) as output:
        wait_for(lambda: subscribed(mosquitto))
        publish_visit(mosquitto)
        with exchange(broker_address(mosquitto.settings()), purpose="test") as device:
            device.publish(Message("emotion/1/hall/event", event(12, "face_appeared", "happy"), retain=False))
        wait_for(lambda: "seq: 12" in output.read_text())
    shown = output.read_text()
    assert shown.count("[debug:somebody looks happy]") == 2
    assert "angry" not in shown
