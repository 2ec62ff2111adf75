"""The whole path as a user runs it: `emotion-edge run` on a clip, a real mosquitto with a password, a subscriber."""

import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.fakes.mosquitto import Mosquitto
from tests.fakes.subscriber import Subscriber

pytestmark = pytest.mark.broker

Event = dict[str, Any]


@dataclass
class Site:
    """A device's folder, with settings that log in to the broker."""

    broker: Mosquitto
    folder: Path

    def command(self, camera: str, *flags: str, password: str | None = None) -> list[str]:
        password_file = self.broker.password_file(password or self.broker.password)
        config = self.folder / "config.toml"
        config.write_text(
            f'device = "hallway"\nstate_dir = "{self.folder}/state"\n'
            f'[mqtt]\nurl = "mqtt://127.0.0.1:{self.broker.port}"\n'
            f'username = "{self.broker.username}"\npassword_file = "{password_file}"\n'
        )
        return [sys.executable, "-m", "edge", "run", "--config", str(config), "--camera", camera, *flags]

    def subscriber(self) -> Subscriber:
        return Subscriber(self.broker.port, username=self.broker.username, password=self.broker.password)

    def play(self, clip: Path) -> list[Event]:
        """Run the daemon on a clip until it ends by itself; return the events that the broker got."""
        with self.subscriber() as subscriber:
            done = subprocess.run(
                self.command(f"file:{clip}"), capture_output=True, text=True, timeout=200, check=False
            )
            assert done.returncode == 0, done.stderr
            subscriber.wait(lambda _: {"state": "stopped"}.items() <= (subscriber.of("status") or [{}])[-1].items())
            return subscriber.of("event")


@pytest.fixture
def site(mosquitto: Mosquitto, tmp_path: Path) -> Site:
    folder = tmp_path / "device"
    folder.mkdir()
    mosquitto.start()
    return Site(mosquitto, folder)


def intervals(events: list[Event]) -> list[tuple[float, float, str]]:
    """From, to (seconds of the clip) and emotion of each stretch of a visit."""
    out = []
    for visit in {event["face"] for event in events}:
        told = [event for event in events if event["face"] == visit]
        assert [told[0]["event_type"], told[-1]["event_type"]] == ["face_appeared", "face_left"]
        last_seen_ms = told[0]["mono_ms"] + 1000 * told[-1]["duration_s"]
        ends = [event["mono_ms"] for event in told[1:-1]] + [last_seen_ms]
        out += [(a["mono_ms"] / 1000, b / 1000, a["emotion"]) for a, b in zip(told[:-1], ends, strict=True)]
    return out


def share(events: list[Event], emotion: str, begin_s: float, end_s: float) -> float:
    """How much of the face time between two moments has an emotion."""
    lengths = {True: 0.0, False: 0.0}
    for start, stop, felt in intervals(events):
        lengths[felt == emotion] += max(0.0, min(stop, end_s) - max(start, begin_s))
    assert sum(lengths.values()) > 0, "no face in this part of the clip"
    return lengths[True] / sum(lengths.values())


@pytest.mark.media
def test_from_crying_to_laughing(site: Site, media: Path) -> None:
    events = site.play(media / "sad-to-laughing.mp4")
    length_s = 472 / 24
    assert share(events, "happy", length_s * 2 / 3, length_s) >= 0.8
    assert share(events, "happy", 0, length_s / 3) < 0.2
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))


@pytest.mark.media
def test_from_neutral_to_a_smile(site: Site, media: Path) -> None:
    assert site.play(media / "neutral-to-smile.mp4")[-1]["emotion"] == "happy"


@pytest.mark.media
def test_a_clip_without_a_face_gives_no_event(site: Site, media: Path) -> None:
    assert site.play(media / "no-face.mp4") == []


@pytest.mark.media
def test_a_face_that_goes_is_one_visit(site: Site, media: Path) -> None:
    events = site.play(media / "face-then-none.mov")
    told = [(event["event_type"], event["face"]) for event in events if event["event_type"] != "emotion_changed"]
    assert told == [("face_appeared", 1), ("face_left", 1)]


def test_built_in_clip_reaches_the_broker_with_all_promised(site: Site) -> None:
    with site.subscriber() as subscriber:
        subprocess.run(site.command("demo:?pace=fast"), check=True, capture_output=True, timeout=200)
        subscriber.wait(lambda _: [s["state"] for s in subscriber.of("status")][-1:] == ["stopped"])
        assert [event["event_type"] for event in subscriber.of("event")] == ["face_appeared", "face_left"]
        assert {event["emotion"] for event in subscriber.of("event")} == {"happy"}
        assert [status["state"] for status in subscriber.of("status")] == ["online", "stopped"]
        assert subscriber.of("state")[-1]["faces"] == []
        assert subscriber.of("health")[-1]["frames"] == 210
    with site.subscriber() as late:
        late.wait(lambda _: late.of("status") and late.of("state") and late.of("health"))
        assert all(message.retained for message in late.messages)
        assert late.of("event") == []


def test_a_broker_that_is_down_at_the_start_is_waited_for(site: Site) -> None:
    site.broker.stop()
    with subprocess.Popen(site.command("demo:?pace=fast"), stderr=subprocess.PIPE, text=True) as daemon:
        assert daemon.stderr is not None
        told = []
        for line in daemon.stderr:
            told.append(line)
            if "waiting for the broker to take 2 events" in line:
                break
        assert sum("not reachable" in line for line in told) == 1
        site.broker.start()
        with site.subscriber() as subscriber:
            assert daemon.wait(120) == 0
            subscriber.wait(lambda _: len(subscriber.of("event")) == 2)


def test_a_refused_password_is_said_and_loses_nothing(site: Site) -> None:
    refused = subprocess.run(
        site.command("demo:?pace=fast", password="wrong"), capture_output=True, text=True, timeout=200, check=False
    )
    assert refused.returncode == 78
    errors = [line for line in refused.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert "2 events are kept" in errors[0]
    assert "wrong" not in refused.stderr
    with site.subscriber() as subscriber:
        subprocess.run(site.command("demo:?pace=fast"), check=True, capture_output=True, timeout=200)
        subscriber.wait(lambda _: len(subscriber.of("event")) == 4)
        assert [event["seq"] for event in subscriber.of("event")] == [1, 2, 3, 4]


def test_sigterm_ends_a_camera_that_goes_on_in_order(site: Site) -> None:
    with (
        site.subscriber() as subscriber,
        subprocess.Popen(site.command("demo:?loop=1"), stderr=subprocess.DEVNULL) as daemon,
    ):
        subscriber.wait(lambda _: subscriber.of("event"), timeout_s=60)
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(30) == 0
        subscriber.wait(lambda _: subscriber.of("status")[-1]["state"] == "stopped")
        assert [event["event_type"] for event in subscriber.of("event")] == ["face_appeared", "face_left"]


@pytest.mark.parametrize(
    ("camera", "code", "said"),
    [
        ("v4l2:/dev/video99", 69, "video99"),
        ("file:absent.mp4", 69, "absent.mp4"),
        ("file:empty.mp4", 69, "empty.mp4"),
        ("film:clip.mp4", 78, "film"),
        ("photos:.", 69, ""),
    ],
)
def test_a_camera_that_is_none_is_one_line(site: Site, camera: str, code: int, said: str) -> None:
    (site.folder / "empty.mp4").touch()
    empty = site.folder / "nothing-in-it"
    empty.mkdir()
    camera = camera.replace("empty.mp4", str(site.folder / "empty.mp4")).replace("photos:.", f"photos:{empty}")
    done = subprocess.run(site.command(camera), capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == code
    (error,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert said in error
    assert "Traceback" not in done.stderr


def test_a_cut_clip_gives_what_it_has_and_says_so(site: Site, tmp_path: Path) -> None:
    clip = tmp_path / "cut.avi"
    writer = cv2.VideoWriter(str(clip), cv2.VideoWriter.fourcc(*"MJPG"), 10, (320, 240))
    for index in range(40):
        writer.write(np.full((240, 320, 3), index * 5, np.uint8))
    writer.release()
    clip.write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])
    done = subprocess.run(site.command(f"file:{clip}"), capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stderr.splitlines() if line.startswith("WARNING") and "cut.avi" in line]


def test_a_missing_bundle_is_one_line_and_78(site: Site, tmp_path: Path) -> None:
    command = site.command("demo:", "--bundle", str(tmp_path / "none"))
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 78
    assert [line.startswith("error: ") for line in done.stderr.splitlines()] == [True]


def test_privacy_pause_survives_a_restart_and_ends_by_command(site: Site) -> None:
    state = site.folder / "state"
    with site.subscriber() as subscriber:
        with subprocess.Popen(site.command("demo:?loop=1"), stderr=subprocess.DEVNULL) as daemon:
            subscriber.wait(lambda _: subscriber.of("event"), timeout_s=100)
            subscriber.publish("emotion/1/hallway/privacy/set", b'{"paused": true}')
            subscriber.wait(lambda _: subscriber.of("state")[-1]["camera"] == "paused", timeout_s=60)
            assert subscriber.of("privacy/state")[-1]["paused"]
            assert subscriber.of("event")[-1]["event_type"] == "face_left"
            daemon.kill()
        events = len(subscriber.of("event"))
        with subprocess.Popen(site.command("demo:?loop=1"), stderr=subprocess.DEVNULL) as daemon:
            online = [status["boot"] for status in subscriber.of("status")]
            subscriber.wait(lambda _: subscriber.of("health")[-1]["paused"], timeout_s=100)
            subscriber.wait(lambda _: subscriber.of("status")[-1]["boot"] not in online, timeout_s=100)
            assert len(subscriber.of("event")) == events
            resume = [sys.executable, "-m", "edge", "privacy", "resume", "--state-dir", str(state)]
            subprocess.run(resume, check=True, capture_output=True, timeout=100)
            subscriber.wait(lambda _: len(subscriber.of("event")) > events, timeout_s=100)
            daemon.send_signal(signal.SIGTERM)
            assert daemon.wait(60) == 0
    kept = {path.name for path in state.iterdir() if not re.fullmatch(r"detector-[\w.]+-[0-9a-f]{32}\.svm", path.name)}
    outbox = {"outbox.sqlite3", "outbox.sqlite3-wal", "outbox.sqlite3-shm", "outbox.sqlite3.lock"}
    assert kept <= {*outbox, "published.json"}, "no image"
