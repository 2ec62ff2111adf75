"""What a newcomer sees: the demo, and the table of events."""

import io
import subprocess
import sys
from pathlib import Path

import cv2
import msgspec
import pytest
from rich.console import Console

from edge.cli import app
from edge.cli.support import run
from edge.cli.watch import EventTable, listening, read
from edge.events.payloads import EmotionEvent, State
from tests.fakes.mosquitto import Mosquitto
from tests.fakes.payloads import EVENT, READING, replace
from tests.fakes.subscriber import Subscriber


def an_event(seq: int) -> EmotionEvent:
    return replace(EVENT, seq=seq, event_type="face_appeared", device="d")


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


@pytest.mark.broker
def test_watch_says_that_a_login_is_refused(mosquitto: Mosquitto, capsys: pytest.CaptureFixture[str]) -> None:
    mosquitto.start()
    url = f"mqtt://{mosquitto.username}@localhost:{mosquitto.port}"
    assert run(app, ["watch", "--mqtt", url, "--password-file", str(mosquitto.password_file("wrong"))]) == 2
    assert "refuses the login (not authorised" in capsys.readouterr().err


@pytest.mark.broker
def test_watch_reads_events_and_ignores_what_is_none(mosquitto: Mosquitto) -> None:
    mosquitto.start()
    home = Subscriber(mosquitto.port, username=mosquitto.username, password=mosquitto.password)
    with listening(mosquitto.settings(), "+") as subscriber, home:
        for payload in (b"{", b"\xff", msgspec.json.encode(an_event(7))):
            home.publish("emotion/1/d/event", payload)
        found: list[EmotionEvent | State] = []
        while not found:
            found += read(subscriber, timeout_s=1.0)
    assert found == [an_event(7)]


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
    reading = replace(READING, face=3, emotion="sad", confidence=0.5)
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
