"""The doctor on Home Assistant: whether it listens, and whether its user may read what this device publishes."""

import json
from pathlib import Path

import pytest

from edge.doctor.examination import examine
from edge.doctor.finding import Finding
from edge.doctor.homeassistant import Login, check_homeassistant
from edge.homeassistant.kept import Published, published_by
from edge.mqtt.address import broker_address
from edge.mqtt.connection import Message
from edge.mqtt.exchange import exchange
from edge.mqtt.name_guard import client_id
from edge.settings import HomeAssistantSettings, Settings
from tests.fakes.mosquitto import Mosquitto
from tests.fakes.subscriber import Subscriber

pytestmark = pytest.mark.broker

ACL = """
user camera
topic readwrite #
user homeassistant
topic read emotion/#
topic readwrite homeassistant/#
user reader
topic read emotion/#
"""


@pytest.fixture
def guarded(mosquitto: Mosquitto) -> Mosquitto:
    mosquitto.limit(ACL, "homeassistant", "reader")
    mosquitto.start()
    return mosquitto


def check(broker: Mosquitto, folder: Path, user: str | None = None) -> Finding:
    given = Settings(
        device="hall", state_dir=str(folder), mqtt=broker.settings(), homeassistant=HomeAssistantSettings(enabled=True)
    )
    return check_homeassistant(given, None if user is None else Login(user, broker.password))


def publish_all(broker: Mosquitto, folder: Path, **changes: str) -> None:
    status = {"state": "online", "boot": "b", "version": "1", "client": client_id("hall", folder)} | changes
    name: Published = published_by(Settings(device="hall", homeassistant=HomeAssistantSettings(enabled=True)))
    with exchange(broker_address(broker.settings()), purpose="test") as device:
        for topic in name.topics():
            payload = status if topic.endswith("/status") else {"topic": topic}
            device.publish(Message(topic, json.dumps(payload).encode(), retain=True))


def test_home_assistant_check_before_the_first_start(guarded: Mosquitto, tmp_path: Path) -> None:
    found = check(guarded, tmp_path)
    assert (found.status, found.found) == ("warning", "this device has not announced itself yet")


def test_home_assistant_that_does_not_listen_is_a_warning(guarded: Mosquitto, tmp_path: Path) -> None:
    publish_all(guarded, tmp_path)
    found = check(guarded, tmp_path)
    assert (found.status, "nobody on" in found.found) == ("warning", True)
    assert "homeassistant.prefix" in found.advice


def test_home_assistant_that_listens_is_fine_and_sees_no_change(guarded: Mosquitto, tmp_path: Path) -> None:
    publish_all(guarded, tmp_path)
    discovery = "homeassistant/+/+/config"
    with Subscriber(guarded.port, discovery, username="homeassistant", password=guarded.password) as home:
        home.wait(lambda messages: messages)
        assert check(guarded, tmp_path).status == "ok"
        found = check(guarded, tmp_path, "homeassistant")
        assert (found.status, "reads this device's topics" in found.found) == ("ok", True)
        home.wait(lambda messages: len(messages) == 3)
        assert len({message.payload for message in home.messages}) == 1


@pytest.mark.parametrize(
    ("user", "words"), [("reader", "may not read homeassistant/device/"), ("stranger", "does not accept its user")]
)
def test_user_that_home_assistant_has_in_vain_is_a_problem(
    guarded: Mosquitto, tmp_path: Path, user: str, words: str
) -> None:
    """Whether or not somebody listens."""
    publish_all(guarded, tmp_path)
    found = check(guarded, tmp_path, user)
    assert (found.status, words in found.found) == ("problem", True)
    assert guarded.password not in repr(found)


def test_name_online_elsewhere_is_a_problem_with_both_ids(guarded: Mosquitto, tmp_path: Path) -> None:
    publish_all(guarded, tmp_path, client="emotion-edge-hall-other")
    found = check(guarded, tmp_path)
    assert found.status == "problem"
    assert "emotion-edge-hall-other" in found.found
    assert client_id("hall", tmp_path) in found.found


@pytest.mark.parametrize("enabled", ["true", "false"])
def test_home_assistant_is_checked_only_where_it_is_on(tmp_path: Path, enabled: str) -> None:
    path = tmp_path / "config.toml"
    path.write_text(f'camera = "demo:"\n[mqtt]\nurl = "mqtt://127.0.0.1:1"\n[homeassistant]\nenabled = {enabled}\n')
    found = {finding.check: finding.status for finding in examine(path)}
    assert found["broker"] == "problem"
    assert found.get("home assistant") == ("skipped" if enabled == "true" else None)


def test_login_of_home_assistant_is_not_printed() -> None:
    assert "secret" not in repr(Login("ha", "secret"))
