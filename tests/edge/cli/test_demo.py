"""What a newcomer sees: the demo, and the table of events."""

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode
from rich.console import Console

from edge.cli.watch import EventTable, subscribe
from edge.events.payloads import EmotionEvent, FaceReading, State
from edge.settings import MqttSettings

SCORES = {"angry": 0.0, "happy": 0.9, "sad": 0.0, "surprise": 0.0, "neutral": 0.1}


def an_event(seq: int) -> EmotionEvent:
    return EmotionEvent(
        event_type="face_appeared", id="x", seq=seq, boot="b", time="2026-11-22T19:14:09.722Z", mono_ms=0,
        time_synced=True, device="d", model="m", face=1, box=(1, 2, 3, 4), emotion="happy", confidence=0.9,
        scores=SCORES, duration_s=0.0,
    )  # fmt: skip


@pytest.mark.slow("plays the whole demo")
def test_the_demo_shows_events_and_writes_its_picture(tmp_path: Path) -> None:
    pytest.importorskip("amqtt", reason="the demo extra is not installed: pip install '.[demo]'")
    picture = tmp_path / "new/demo.png"
    command = [sys.executable, "-m", "edge", "demo", "--pace", "fast", "--picture", str(picture)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    assert "appeared  happy" in done.stdout
    assert "left      happy" in done.stdout
    assert "2 events" in done.stdout
    drawn = cv2.imread(str(picture))
    assert drawn is not None
    assert drawn.shape == (480, 640, 3)


def test_watch_subscribes_to_nothing_after_a_refused_login(monkeypatch: pytest.MonkeyPatch) -> None:
    class Client:
        on_connect: Any = None
        subscribed = 0

        def subscribe(self, _topics: object) -> None:
            self.subscribed += 1

        def refuse(self, *_: object) -> None:
            self.on_connect(self, None, None, ReasonCode(PacketTypes.CONNACK, "Not authorized"), None)

        connect = refuse
        username_pw_set = loop_start = lambda *_: None

    made = Client()
    monkeypatch.setattr("paho.mqtt.client.Client", lambda *_, **__: made)
    said: list[object] = []
    subscribe(MqttSettings(), "+", said.append)
    assert ([str(one) for one in said], made.subscribed) == (
        ["mqtt://localhost:1883 refuses the login: Not authorized"], 0,
    )  # fmt: skip


def test_without_a_terminal_an_event_is_a_line() -> None:
    text = io.StringIO()
    with EventTable(Console(file=text, width=40), title="t") as table:
        table.add(an_event(7))
        table.add(State(faces=[], emotion=None, time="", camera="ok"))
    (line,) = text.getvalue().splitlines()
    assert line.split()[:7] == ["2026-11-22T19:14:09.722Z", "d", "#7", "face", "1", "appeared", "happy"]


def test_on_a_terminal_the_table_has_the_newest_events_and_who_is_in_view() -> None:
    text = io.StringIO()
    console = Console(file=text, width=110, force_terminal=True, color_system=None)
    reading = FaceReading(face=3, box=(1, 2, 3, 4), emotion="sad", confidence=0.5, scores=SCORES, duration_s=1.0)
    with EventTable(console, title="t") as table:
        for seq in range(1, 31):
            table.add(an_event(seq))
        table.add(State(faces=[reading], emotion="sad", time="", camera="ok"))
        table._live.refresh()
        shown = text.getvalue()
    assert "in view now: face 3 sad 50%" in shown
    assert table.count == 30
    last = text.getvalue().rpartition("time (UTC)")[2]
    assert "│  30 │" in last
    assert "│  12 │" not in last
