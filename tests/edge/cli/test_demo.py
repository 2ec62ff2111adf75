"""What a newcomer sees: the demo, and the table of events."""

import io
import re
import subprocess
import sys
from pathlib import Path

import cv2
import msgspec
import pytest
from rich.cells import cell_len
from rich.console import Console

from edge.cli import app
from edge.cli.support import run
from edge.cli.watch import EventTable, Seen, listening, read
from edge.clock import utc_time
from edge.events.payloads import EmotionEvent, State
from edge.record.messages import read as read_row
from tests.fakes.mosquitto import Mosquitto
from tests.fakes.payloads import EVENT, READING, replace
from tests.fakes.subscriber import Subscriber

NOW = utc_time()


def an_event(seq: int) -> EmotionEvent:
    return replace(EVENT, seq=seq, event_type="face_appeared", device="d")


def seen(table: str, message: EmotionEvent | State, device: str = "d") -> Seen:
    return Seen(read_row(f"emotion/1/{device}/{table}", msgspec.json.encode(message), 5), message)


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
        found: list[Seen] = []
        while not found:
            found += read(subscriber, timeout_s=1.0)
    assert [seen.message for seen in found] == [an_event(7)]


def test_without_a_terminal_an_event_is_a_line() -> None:
    text = io.StringIO()
    with EventTable(Console(file=text, width=40), title="t") as table:
        table.add(seen("event", an_event(7)))
        table.add(seen("state", State(faces=[], emotion=None, time=NOW, camera="ok")))
    (line,) = text.getvalue().splitlines()
    assert line.split()[:7] == ["2026-11-22T19:14:09.722Z", "d", "#7", "face", "1", "appeared", "happy"]


def test_table_has_the_newest_events_and_who_is_in_view() -> None:
    text = io.StringIO()
    console = Console(file=text, width=110, height=30, force_terminal=True, color_system=None)
    reading = replace(READING, face=3, emotion="sad", confidence=0.5)
    with EventTable(console, title="t") as table:
        for seq in range(1, 31):
            table.add(seen("event", an_event(seq)))
        table.add(seen("state", State(faces=[reading], emotion="sad", time=NOW, camera="ok")))
        table._live.refresh()
        shown = text.getvalue()
    assert "face 3 sad 50%" in shown
    assert table.count == 30
    last = text.getvalue().rpartition("UTC")[2]
    assert re.search(r" 30 +1 +appeared", last)
    assert not re.search(r" 12 +1 +appeared", last)


def test_watch_shows_several_devices_in_80_columns() -> None:
    text = io.StringIO()
    console = Console(file=text, width=80, height=30, force_terminal=True, color_system=None)
    reading = replace(READING, face=3, emotion="surprise", confidence=1.0)
    health = b'{"time": "2026-11-27T10:00:00Z", "frames_per_s": 29.97, "temperature_c": 51.4, "outbox_depth": 0}'
    with EventTable(console, title="emotion/1/+/event at mqtt://broker.example.org") as table:
        for name in ("door", "hall", "a-very-long-name-of-a-device-in-the-attic"):
            event = replace(an_event(123_456), device=name, emotion="surprise", duration_s=3599.9)
            table.add(seen("event", event, name))
            table.add(seen("state", State(faces=[reading] * 9, emotion="sad", time=NOW, camera="ok"), name))
            for payload, channel in (
                (health, "health"),
                (b'{"state": "online", "boot": "b", "version": "1"}', "status"),
            ):
                table.add(Seen(read_row(f"emotion/1/{name}/{channel}", payload, 5), None))
        gone = b'{"state": "offline", "boot": "b", "version": "1"}'
        table.add(Seen(read_row("emotion/1/gone/status", gone, 5), None))
        table._live.refresh()
    lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text.getvalue().rpartition("UTC")[2]).splitlines()
    assert max(map(cell_len, lines)) <= 80
    devices = [line.split() for line in lines[lines.index(next(one for one in lines if "°C" in one)) + 2 :]]
    assert devices[0][:2] == ["gone", "offline"]
    assert ["hall", "online", "30.0", "51", "0"] in [line[:5] for line in devices]
