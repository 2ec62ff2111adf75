"""The access list of docs/mqtt.md lets a device and Home Assistant do what they need."""

import re
import threading
from pathlib import Path

import pytest

from edge.backoff import Backoff
from edge.homeassistant.discovery import Board, discovery_message
from edge.mqtt.outbox import Outbox
from edge.mqtt.publisher import Publisher
from edge.mqtt.topics import Topics
from edge.settings import HomeAssistantSettings
from tests.edge.mqtt.test_name_guard import AtOnce
from tests.fakes.mosquitto import Mosquitto
from tests.fakes.subscriber import Subscriber

pytestmark = pytest.mark.broker

PAGE = Path(__file__).parents[3] / "docs" / "mqtt.md"


@pytest.fixture
def guarded(mosquitto: Mosquitto) -> Mosquitto:
    """A broker with that access list and the users `camera`, a device's, and `homeassistant`."""
    (acl,) = re.findall(r"```\n(pattern readwrite.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    mosquitto.limit(acl, "homeassistant", "reader")
    mosquitto.start()
    return mosquitto


def test_home_assistant_finds_a_device_pauses_it_and_removes_it(guarded: Mosquitto, tmp_path: Path) -> None:
    device = guarded.username
    settings = HomeAssistantSettings(enabled=True)
    discovery = discovery_message(Topics(device), settings, version="1", board=Board())
    outbox = Outbox(tmp_path / "outbox.sqlite", max_events=10, max_age_s=60)
    publisher = Publisher(
        guarded.settings(), device, outbox, boot="b", version="1", model=lambda: "m", announcements=[discovery],
        birth_topic=settings.birth_topic, backoff=Backoff(rng=AtOnce()),
    )  # fmt: skip
    paused = threading.Event()

    def take_commands() -> None:
        if publisher.take_commands():
            paused.set()

    publisher.watch(take_commands)
    publisher.start()
    with Subscriber(guarded.port, username="homeassistant", password=guarded.password) as home:
        told = home.wait(lambda messages: {"config", "state", "status"} <= {message.channel for message in messages})
        assert discovery.payload in {message.payload for message in told}
        home.publish("homeassistant/status", b"online")
        home.wait(lambda messages: sum(message.payload == discovery.payload for message in messages) == 2)
        home.publish(Topics(device).privacy_set, b'{"paused": true}')
        assert paused.wait(30)
        assert publisher.stop(10)
        outbox.close()
        home.publish(discovery.topic, b"", retain=True)
        home.wait(lambda messages: any(m.topic == discovery.topic and m.payload == b"" for m in messages))
