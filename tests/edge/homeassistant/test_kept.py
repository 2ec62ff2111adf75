"""What a broker keeps of a device: cleared after a rename and when Home Assistant is turned off, and on request."""

import json
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from edge import cli
from edge.cli.support import run
from edge.homeassistant.kept import FILE_NAME, FormerNames, Published, published_by, read_names
from edge.mqtt.name_guard import client_id
from edge.settings import HomeAssistantSettings, Settings
from tests.fakes.mosquitto import Mosquitto
from tests.fakes.subscriber import Subscriber
from tests.fakes.waiting import wait_for

pytestmark = pytest.mark.broker

DISCOVERY = "homeassistant/device/emotion-edge-{}/config"


def settings(folder: Path, device: str, broker: Mosquitto | None = None, *, enabled: bool = True) -> Settings:
    given = Settings(device=device, state_dir=str(folder), homeassistant=HomeAssistantSettings(enabled=enabled))
    return given if broker is None else msgspec.structs.replace(given, mqtt=broker.settings())


@pytest.fixture
def home(mosquitto: Mosquitto) -> Iterator[Subscriber]:
    mosquitto.start()
    with Subscriber(mosquitto.port, username=mosquitto.username, password=mosquitto.password) as subscriber:
        yield subscriber


def publish_all(home: Subscriber, name: Published, *, client: str | None, state: str = "stopped") -> None:
    """Leave behind what a daemon leaves."""
    for topic in name.topics():
        payload = json.dumps({"cmps": {}})
        if topic.endswith("/status"):
            payload = json.dumps({"state": state, "boot": "b", "version": "1", "client": client})
        home.publish(topic, payload.encode(), retain=True)
    home.wait(lambda messages: {message.topic for message in messages} >= set(name.topics()))


def kept(broker: Mosquitto) -> set[str]:
    with Subscriber(broker.port, username=broker.username, password=broker.password) as late:
        late.publish("end", b"")
        messages = late.wait(lambda messages: any(message.topic == "end" for message in messages))
        return {message.topic for message in messages if message.retained}


def start_and_wait(given: Settings) -> None:
    names = FormerNames(given)
    names.start()
    wait_for(lambda: read_names(Path(given.state_dir)) == [published_by(given)])
    names.close(10)


def test_rename_clears_the_former_name(home: Subscriber, mosquitto: Mosquitto, tmp_path: Path) -> None:
    old, new = settings(tmp_path, "hall", mosquitto), settings(tmp_path, "bath", mosquitto)
    start_and_wait(old)
    publish_all(home, published_by(old), client=client_id("hall", tmp_path))
    start_and_wait(new)
    home.wait(lambda messages: len([1 for message in messages if not message.payload]) == 5)
    assert home.messages[-5].topic == DISCOVERY.format("hall"), "Home Assistant removes the device first"
    assert kept(mosquitto) == set()


def test_names_of_renames_without_a_broker_are_all_cleared_later(mosquitto: Mosquitto, tmp_path: Path) -> None:
    for name in ("hall", "kitchen"):
        offline = FormerNames(settings(tmp_path, name))
        offline.start()
        offline.close(10)
    mosquitto.start()
    with Subscriber(mosquitto.port, username=mosquitto.username, password=mosquitto.password) as home:
        for name in ("hall", "kitchen"):
            publish_all(home, Published(name, DISCOVERY.format(name)), client=client_id(name, tmp_path))
        start_and_wait(settings(tmp_path, "bath", mosquitto))
    assert kept(mosquitto) == set()


def test_discovery_alone_is_cleared_if_home_assistant_is_off(
    home: Subscriber, mosquitto: Mosquitto, tmp_path: Path
) -> None:
    on, off = settings(tmp_path, "hall", mosquitto), settings(tmp_path, "hall", mosquitto, enabled=False)
    start_and_wait(on)
    publish_all(home, published_by(on), client=client_id("hall", tmp_path), state="online")
    start_and_wait(off)
    assert kept(mosquitto) == set(published_by(off).topics())


@pytest.mark.parametrize(
    ("client", "state"),
    [("emotion-edge-hall-another", "online"), ("emotion-edge-hall-another", "offline"), (None, "online")],
)
def test_name_that_another_device_took_is_left_alone(
    home: Subscriber, mosquitto: Mosquitto, tmp_path: Path, client: str | None, state: str
) -> None:
    start_and_wait(settings(tmp_path, "hall", mosquitto))
    name = Published("hall", DISCOVERY.format("hall"))
    publish_all(home, name, client=client, state=state)
    start_and_wait(settings(tmp_path, "bath", mosquitto))
    assert kept(mosquitto) == set(name.topics())


@pytest.fixture
def refusing(mosquitto: Mosquitto, tmp_path: Path) -> Iterator[Mosquitto]:
    """A broker whose user may only write the topics of the device ``bath``."""
    with Mosquitto(tmp_path / "refusing", write_acl=["emotion/1/bath/#"]) as broker:
        yield broker


def test_name_that_the_broker_lets_nobody_clear_is_said_and_kept(
    refusing: Mosquitto, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    FormerNames(settings(tmp_path, "hall")).start()
    names = FormerNames(settings(tmp_path, "bath", refusing))
    names.start()
    wait_for(lambda: "homeassistant remove --device hall" in caplog.text)
    names.close(10)
    assert [name.device for name in read_names(tmp_path)] == ["hall", "bath"]


@pytest.mark.parametrize("content", [b"", b"{", b'[{"device": 1}]', b"[" * 60_000, bytes(100_000)])
def test_names_that_cannot_be_read_are_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE_NAME).write_bytes(content)
    FormerNames(settings(tmp_path, "hall")).start()
    assert [name.device for name in read_names(tmp_path)] == ["hall"]


def command(broker: Mosquitto, folder: Path, *words: str) -> int:
    password = str(broker.password_file(broker.password))
    login = ["--mqtt", f"mqtt://{broker.username}@localhost:{broker.port}", "--password-file", password]
    return run(cli.app, ["homeassistant", *words, *login])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EMOTION_EDGE__STATE_DIR", str(tmp_path))
    return tmp_path


def test_show_prints_what_is_kept(
    home: Subscriber, mosquitto: Mosquitto, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = Published("hall", DISCOVERY.format("hall"))
    assert command(mosquitto, folder, "show", "--device", "hall", "--json") == 0
    assert set(json.loads(capsys.readouterr().out)["topics"].values()) == {None}
    publish_all(home, name, client="c")
    assert command(mosquitto, folder, "show", "--device", "hall") == 0
    shown = capsys.readouterr().out
    assert f"{DISCOVERY.format('hall')}  None, 0 entities and triggers" in shown
    assert '"state": "stopped"' in shown


def test_remove_clears_a_device_that_is_gone(
    home: Subscriber, mosquitto: Mosquitto, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    FormerNames(settings(folder, "hall")).start()
    publish_all(home, Published("hall", DISCOVERY.format("hall")), client="c")
    assert command(mosquitto, folder, "remove", "--device", "hall") == 0
    assert "hall: 5 retained topics cleared" in capsys.readouterr().out
    assert kept(mosquitto) == set()
    assert read_names(folder) == []
    assert command(mosquitto, folder, "remove", "--device", "hall") == 0
    assert "nothing was kept" in capsys.readouterr().out


def test_remove_of_a_device_that_is_online_needs_force(
    home: Subscriber, mosquitto: Mosquitto, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = Published("hall", DISCOVERY.format("hall"))
    publish_all(home, name, client="c", state="online")
    assert command(mosquitto, folder, "remove", "--device", "hall") == 2
    assert "hall is online and would publish again" in capsys.readouterr().err
    assert kept(mosquitto) == set(name.topics())
    assert command(mosquitto, folder, "remove", "--device", "hall", "--force") == 0
    assert kept(mosquitto) == set()


def test_remove_that_the_broker_refuses_says_so(
    refusing: Mosquitto, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(refusing, folder, "remove", "--device", "hall") == 1
    assert "does not let this user clear homeassistant/device/emotion-edge-hall/config" in capsys.readouterr().err


def test_command_without_a_broker_says_so(
    mosquitto: Mosquitto, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(mosquitto, folder, "show", "--device", "hall") == 1
    assert "connection refused" in capsys.readouterr().err
