"""The publisher against a real mosquitto: outages, refusals, TLS, goodbye."""

import logging
import os
import re
import signal
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
from paho.mqtt.enums import MQTTProtocolVersion

from edge.backoff import Backoff
from edge.clock import utc_time
from edge.errors import ConfigError
from edge.events.payloads import Health, Privacy, PrivacyCommand, State
from edge.events.schema import CHANNELS, json_schema
from edge.homeassistant.discovery import Board, discovery_message
from edge.mqtt.outbox import Outbox
from edge.mqtt.publisher import Publisher
from edge.mqtt.topics import Topics
from edge.settings import HomeAssistantSettings, MqttSettings
from tests.fakes.backoff import NotedBackoff
from tests.fakes.mosquitto import Mosquitto, make_certificates
from tests.fakes.payloads import EVENT, HEALTH, replace
from tests.fakes.subscriber import Received, Subscriber
from tests.fakes.waiting import wait_for

pytestmark = pytest.mark.broker


@contextmanager
def publishing(settings: MqttSettings, outbox: Outbox, **changes: Any) -> Iterator[Publisher]:
    given = {
        "boot": "b007",
        "version": "1.0",
        "model": lambda: "default-1234",
        "backoff": Backoff(first_s=0.05, most_s=0.4),
    }
    publisher = Publisher(settings, "dev-1", outbox, **{**given, **changes})
    publisher.start()
    try:
        yield publisher
    finally:
        publisher.stop(0)
        assert not [thread for thread in threading.enumerate() if thread.name == "mqtt-sender"]


def listening(broker: Mosquitto, **more: Any) -> Subscriber:
    return Subscriber(broker.port, username=broker.username, password=broker.password, **more)


def seqs(messages: list[Received]) -> list[int]:
    return [message.json["seq"] for message in messages if message.channel == "event"]


def state(camera: Any = "ok") -> State:
    return State(faces=[], emotion=None, time=utc_time(), camera=camera)


def health(frames: int) -> Health:
    return replace(HEALTH, frames=frames)


def test_device_leaves_no_queue_behind_at_rabbitmq(mosquitto: Mosquitto, outbox: Outbox) -> None:
    # With QoS 1 RabbitMQ 3 makes a durable queue: if its node dies, no other node lets the device subscribe again.
    mosquitto.start()
    with publishing(mosquitto.settings(), outbox) as publisher:
        wait_for(lambda: publisher.stats().connected)
    asked = re.findall(r"^\d+: \t(\S+) \(QoS (\d)\)$", mosquitto.log.read_text(), flags=re.MULTILINE)
    assert asked == [("emotion/1/dev-1/status", "0"), ("emotion/1/dev-1/privacy/set", "0")]


def test_everything_is_published_and_fits_the_schemas(mosquitto: Mosquitto, outbox: Outbox) -> None:
    mosquitto.start()
    with listening(mosquitto, protocol=MQTTProtocolVersion.MQTTv5) as subscriber:
        with publishing(mosquitto.settings(), outbox) as publisher:
            publisher.publish_state(state())
            publisher.publish_health(health(7))
            publisher.publish_privacy(Privacy(paused=False, for_s=None, until=None, time=utc_time()))
            assert [publisher.publish_events([EVENT])[0] for _ in range(50)] == list(range(1, 51))
            assert publisher.drain(30)
            assert publisher.stats().depth == 0
            told = {channel.name for channel in CHANNELS if channel.action == "send"}
            subscriber.wait(lambda messages: told <= {message.channel for message in messages})
            assert publisher.stop(10)
        messages = subscriber.wait(lambda messages: messages[-1].json.get("state") == "stopped")
    for channel in CHANNELS:
        if channel.action != "send":
            continue
        payloads = [message.json for message in messages if message.channel == channel.name]
        assert payloads
        for payload in payloads:
            jsonschema.Draft202012Validator(json_schema(channel)).validate(payload)
    assert seqs(messages) == list(range(1, 51))
    first_event = next(message for message in messages if message.channel == "event")
    assert first_event.topic == "emotion/1/dev-1/event"
    assert first_event.properties is not None
    assert first_event.properties.ContentType == "application/json"
    assert 3500 < first_event.properties.MessageExpiryInterval <= 3600


def test_stop_leaves_an_empty_state_and_stopped_and_no_will(mosquitto: Mosquitto, outbox: Outbox) -> None:
    mosquitto.start()
    with publishing(mosquitto.settings(), outbox) as publisher:
        publisher.publish_events([EVENT])
        assert publisher.drain(30)
        assert publisher.stop(10)
        assert publisher.stop(10)
    with listening(mosquitto) as late:
        messages = late.wait(lambda messages: {m.channel for m in messages} >= {"state", "status"})
    kept = {message.channel: message.json for message in messages if message.retained}
    assert kept["status"]["state"] == "stopped"
    assert (kept["state"]["camera"], kept["state"]["faces"], kept["state"]["emotion"]) == ("stopped", [], None)
    assert "event" not in kept


def test_a_killed_publisher_is_offline_by_its_will(mosquitto: Mosquitto, tmp_path: Path) -> None:
    mosquitto.start()
    script = (
        "import sys, time\nfrom pathlib import Path\n"
        "from edge.mqtt.outbox import Outbox\nfrom edge.mqtt.publisher import Publisher\n"
        "from edge.settings import HomeAssistantSettings, MqttSettings\n"
        "box = Outbox(Path(sys.argv[1]), max_events=10, max_age_s=100)\n"
        "settings = MqttSettings(url=sys.argv[2], username=sys.argv[3], password_file=sys.argv[4])\n"
        "Publisher(settings, 'dev-1', box, boot='b1', version='1', model=lambda: 'm').start()\n"
        "time.sleep(120)\n"
    )
    given = mosquitto.settings()
    arguments = [str(tmp_path / "box"), given.url, given.username, given.password_file]
    with listening(mosquitto) as subscriber:
        process = subprocess.Popen(
            [sys.executable, "-c", script, *arguments], env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
        )
        try:
            subscriber.wait(lambda messages: any(m.json.get("state") == "online" for m in messages))
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait(10)
        messages = subscriber.wait(lambda messages: messages[-1].json.get("state") == "offline")
    assert messages[-1].json["boot"] == "b1"


def test_broker_that_is_down_at_the_start_gets_everything_later(
    mosquitto: Mosquitto, outbox: Outbox, caplog: pytest.LogCaptureFixture, noted: NotedBackoff
) -> None:
    caplog.set_level(logging.INFO)
    with publishing(mosquitto.settings(), outbox, backoff=noted) as publisher:
        for _ in range(30):
            publisher.publish_events([EVENT])
        publisher.publish_health(health(1))
        publisher.publish_health(health(2))
        wait_for(lambda: len(noted.asked) >= 3)
        assert not publisher.drain(0)
        mosquitto.start()
        with listening(mosquitto) as subscriber:
            # Subscribed after or before the events: the retained ones tell that it is there, new events follow.
            subscriber.wait(lambda messages: any(message.channel == "health" for message in messages))
            publisher.publish_events([EVENT])
            messages = subscriber.wait(lambda messages: 31 in seqs(messages))
            assert publisher.drain(30)
        assert [m.json["frames"] for m in messages if m.channel == "health"] == [2]
    warnings = [record.message for record in caplog.records if record.levelno >= logging.WARNING]
    assert warnings == [
        f"broker mqtt://localhost:{mosquitto.port} is not reachable (connection refused); retrying, events are kept"
    ]


def test_a_killed_broker_loses_nothing_and_order_is_kept(mosquitto: Mosquitto, outbox: Outbox) -> None:
    mosquitto.start()
    with listening(mosquitto) as subscriber, publishing(mosquitto.settings(), outbox) as publisher:
        for round_ in range(3):
            for _ in range(30):
                publisher.publish_events([EVENT])
            subscriber.wait(lambda messages, last=50 * round_ + 30: last in seqs(messages))  # type: ignore[misc]
            assert publisher.drain(30)
            mosquitto.kill()
            for _ in range(20):
                publisher.publish_events([EVENT])
            mosquitto.start()
        messages = subscriber.wait(lambda messages: 150 in seqs(messages))
        assert publisher.drain(30)
        stats = publisher.stats()
    assert list(dict.fromkeys(seqs(messages))) == list(range(1, 151))
    assert (stats.reconnects, stats.dropped) == (3, 0)


def test_unacknowledged_events_are_sent_again_in_order(mosquitto: Mosquitto, outbox: Outbox) -> None:
    mosquitto.start()
    with listening(mosquitto) as subscriber, publishing(mosquitto.settings(), outbox) as publisher:
        wait_for(lambda: publisher.stats().connected and publisher.stats().in_flight == 0)
        mosquitto.pause()  # what is sent now lies in its socket and dies with it
        for _ in range(30):
            publisher.publish_events([EVENT])
        wait_for(lambda: publisher.stats().in_flight == 20)
        mosquitto.kill()
        mosquitto.start()
        assert publisher.drain(30)
        messages = subscriber.wait(lambda messages: 30 in seqs(messages))
    assert seqs(messages) == list(range(1, 31))


def test_events_of_the_last_run_are_sent_by_the_next(mosquitto: Mosquitto, tmp_path: Path) -> None:
    box = Outbox(tmp_path / "box.sqlite", max_events=100, max_age_s=100)
    with publishing(mosquitto.settings(), box) as publisher:
        for _ in range(5):
            publisher.publish_events([EVENT])
        assert not publisher.stop(10)
    box.close()
    mosquitto.start()
    box = Outbox(tmp_path / "box.sqlite", max_events=100, max_age_s=100)
    with listening(mosquitto) as subscriber, publishing(mosquitto.settings(), box) as publisher:
        publisher.publish_events([EVENT])
        assert seqs(subscriber.wait(lambda messages: 6 in seqs(messages))) == [1, 2, 3, 4, 5, 6]
    box.close()


def test_a_refused_password_is_said_once_and_told_to_the_caller(
    mosquitto: Mosquitto, outbox: Outbox, caplog: pytest.LogCaptureFixture, noted: NotedBackoff
) -> None:
    caplog.set_level(logging.INFO)
    mosquitto.start()
    wrong = mosquitto.settings(password_file=str(mosquitto.password_file("wrong")))
    with publishing(wrong, outbox, backoff=noted) as publisher:
        publisher.publish_events([EVENT])
        wait_for(lambda: len(noted.asked) >= 3)
        stats = publisher.stats()
        assert not publisher.stop(10)
    assert stats.last_refusal is not None
    assert stats.last_refusal.startswith("not authorised: check mqtt.username, mqtt.password_file")
    assert (stats.connected, stats.depth) == (False, 1)
    (record,) = caplog.records
    assert record.message.startswith(f"broker mqtt://localhost:{mosquitto.port} refuses the login (not authorised")


def test_a_broker_that_takes_no_events_keeps_them_in_the_outbox(
    tmp_path: Path, outbox: Outbox, caplog: pytest.LogCaptureFixture
) -> None:
    allowed = [f"emotion/1/dev-1/{name}" for name in ("state", "status", "health")]
    with (
        Mosquitto(tmp_path / "strict", write_acl=allowed) as strict,
        publishing(strict.settings(), outbox) as publisher,
    ):
        publisher.publish_events([EVENT])
        wait_for(lambda: publisher.stats().reconnects >= 2)
        assert publisher.stats().depth == 1
        assert publisher.stats().last_refusal == "not authorized"
    lines = [record.message for record in caplog.records if "does not take" in record.message]
    name = f"broker mqtt://localhost:{strict.port}"
    assert lines == [f"{name} does not take emotion/1/dev-1/event (not authorized): check its access list"]


@pytest.mark.parametrize("denied", ["ha/device/emotion-edge-dev-1/config", "emotion/1/dev-1/health"])
def test_broker_that_denies_a_retained_topic_is_named_with_it(
    denied: str, tmp_path: Path, outbox: Outbox, caplog: pytest.LogCaptureFixture
) -> None:
    topics = Topics("dev-1")
    discovery = discovery_message(topics, HomeAssistantSettings(enabled=True, prefix="ha"), version="1", board=Board())
    allowed = {discovery.topic, topics.event, topics.state, topics.status, topics.health, topics.privacy_state}
    with (
        Mosquitto(tmp_path / "strict", write_acl=sorted(allowed - {denied})) as strict,
        publishing(strict.settings(), outbox, announcements=[discovery]) as publisher,
    ):
        publisher.publish_health(health(1))
        wait_for(lambda: any("does not take" in record.message for record in caplog.records))
    lines = {record.message for record in caplog.records if "does not take" in record.message}
    assert lines == {
        f"broker mqtt://localhost:{strict.port} does not take {denied} (not authorized): check its access list"
    }


def test_a_frozen_broker_does_not_hold_up_publishing_or_stopping(mosquitto: Mosquitto, outbox: Outbox) -> None:
    mosquitto.start()
    with publishing(mosquitto.settings(), outbox) as publisher:
        wait_for(lambda: publisher.stats().connected and publisher.stats().in_flight == 0)
        mosquitto.pause()
        try:
            for _ in range(50):
                publisher.publish_events([EVENT])
            wait_for(lambda: publisher.stats().in_flight == 20)
            assert publisher.stats().depth == 50
            assert not publisher.stop(0.2)
        finally:
            mosquitto.resume()
    assert outbox.depth == 50


def test_discovery_is_published_again_after_a_broker_that_forgot(
    tmp_path: Path, mosquitto: Mosquitto, outbox: Outbox
) -> None:
    mosquitto.start()
    discovery = discovery_message(
        Topics("dev-1"), HomeAssistantSettings(enabled=True, prefix="ha"), version="1", board=Board()
    )
    with publishing(mosquitto.settings(), outbox, announcements=[discovery]) as publisher:
        wait_for(lambda: publisher.stats().connected)
        mosquitto.kill()
        (mosquitto.folder / "mosquitto.db").unlink(missing_ok=True)
        mosquitto.start()
        with listening(mosquitto, topic="ha/device/#") as subscriber:
            (message, *_) = subscriber.wait(lambda messages: messages)
    assert message.topic == "ha/device/emotion-edge-dev-1/config"
    assert message.json["dev"]["ids"] == ["emotion-edge-dev-1"]


@pytest.fixture
def tls_broker(tmp_path: Path, mosquitto: Mosquitto) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path / "tls", tls=True) as broker:
        yield broker


def test_mqtts_with_the_right_authority_works(tls_broker: Mosquitto, outbox: Outbox) -> None:
    with publishing(tls_broker.settings(), outbox) as publisher:
        publisher.publish_events([EVENT])
        assert publisher.drain(30)
        assert publisher.stop(10)


# paho leaves the socket of a failed handshake to the garbage collector.
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("fault", ["wrong authority", "expired certificate", "wrong host name", "plain broker"])
def test_mqtts_that_cannot_be_trusted_is_refused_and_said_why(
    fault: str,
    tls_broker: Mosquitto,
    mosquitto: Mosquitto,
    outbox: Outbox,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    noted: NotedBackoff,
) -> None:
    changes = {"wrong host name": {"url": f"mqtts://127.0.0.1:{tls_broker.port}"}}.get(fault, {})
    if fault == "wrong authority":
        (tmp_path / "other").mkdir()
        make_certificates(tmp_path / "other")
        changes = {"ca_file": str(tmp_path / "other" / "ca.pem")}
    if fault == "plain broker":
        mosquitto.start()
        changes = {"url": f"mqtts://localhost:{mosquitto.port}"}
    if fault == "expired certificate":
        tls_broker.stop()
        make_certificates(tls_broker.folder, days=-1)
        tls_broker.start()
    with publishing(tls_broker.settings(**changes), outbox, backoff=noted) as publisher:
        publisher.publish_events([EVENT])
        wait_for(lambda: len(noted.asked) >= 2)
        assert publisher.stats().depth == 1
    said = {
        "wrong authority": r"its certificate is not accepted: .*; set mqtt.ca_file to the authority that signed it",
        "expired certificate": r"its certificate is not accepted: certificate has expired",
        "wrong host name": r"its certificate is not accepted: IP address mismatch",
        "plain broker": r"TLS failed|connection|hung up",
    }[fault]
    (record,) = caplog.records
    assert re.search(said, record.message), record.message


def test_what_is_no_broker_is_said_and_tried_again(
    outbox: Outbox, caplog: pytest.LogCaptureFixture, noted: NotedBackoff
) -> None:
    class Web(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Web) as web:
        thread = threading.Thread(target=web.serve_forever)
        thread.start()
        try:
            url = f"mqtt://127.0.0.1:{web.server_address[1]}"
            with publishing(MqttSettings(url=url), outbox, backoff=noted):
                wait_for(lambda: len(noted.asked) >= 3)
        finally:
            web.shutdown()
            thread.join()
    assert {record.message for record in caplog.records if "is not reachable" in record.message}
    assert len(caplog.records) <= 2


def test_events_of_one_frame_are_one_write_and_arrive_in_order(mosquitto: Mosquitto, outbox: Outbox) -> None:
    mosquitto.start()
    publisher = Publisher(
        mosquitto.settings(), "dev-1", outbox, boot="b007", version="1.0", model=lambda: "default-1234"
    )
    assert publisher.publish_events([EVENT] * 30) == list(range(1, 31))
    assert publisher.stats().commits == 1
    with listening(mosquitto) as subscriber:
        publisher.start()
        assert publisher.drain(30)
        messages = subscriber.wait(lambda messages: 30 in seqs(messages))
        publisher.stop(10)
    assert seqs(messages) == list(range(1, 31))


def test_an_event_on_the_wire_is_the_one_that_was_published(mosquitto: Mosquitto, outbox: Outbox) -> None:
    mosquitto.start()
    with listening(mosquitto) as subscriber, publishing(mosquitto.settings(), outbox) as publisher:
        publisher.publish_events([EVENT])
        messages = subscriber.wait(seqs)
    (received,) = [message.payload for message in messages if message.channel == "event"]
    assert received == msgspec.json.encode(msgspec.structs.replace(EVENT, seq=1)), "the same fields in the same order"


def test_commands_come_in_and_others_are_counted_and_ignored(
    mosquitto: Mosquitto, outbox: Outbox, caplog: pytest.LogCaptureFixture
) -> None:
    mosquitto.start()
    topic = "emotion/1/dev-1/privacy/set"
    with listening(mosquitto) as other:
        other.publish(topic, b'{"paused": true, "for_s": 9}', retain=True)
        with publishing(mosquitto.settings(), outbox) as publisher:
            other.wait(lambda messages: [m for m in messages if m.json.get("state") == "online"])
            for payload in (b"nonsense", bytes(300), bytes(1_000_000), b'{"paused": true, "for_s": 60}'):
                other.publish(topic, payload)
            commands: list[PrivacyCommand] = []

            def came() -> bool:
                commands.extend(publisher.take_commands())
                return bool(commands)

            wait_for(came)
            stats = publisher.stats()
            assert stats.connected
    # The megabyte is kept from us by the broker, as was the retained one: MQTT 5.
    assert commands == [PrivacyCommand(paused=True, for_s=60)]
    assert stats.commands_refused == 2
    assert len([record for record in caplog.records if "a command was ignored" in record.message]) == 2


def test_the_pause_is_told_and_kept_by_the_broker(mosquitto: Mosquitto, outbox: Outbox) -> None:
    mosquitto.start()
    with publishing(mosquitto.settings(), outbox) as publisher:
        publisher.publish_privacy(Privacy(paused=True, for_s=None, until=None, time=utc_time()))
        assert publisher.stop(10)
    with listening(mosquitto, topic="emotion/1/dev-1/privacy/#") as late:
        (message, *_) = late.wait(lambda messages: messages)
    assert message.retained
    assert message.json["paused"]


def test_the_sender_shows_that_it_turns(mosquitto: Mosquitto, outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.mqtt.sender._TURN_S", 0.01)
    beats: list[str] = []
    publisher = Publisher(mosquitto.settings(), "dev-1", outbox, boot="b", version="1", model=lambda: "m")
    publisher.watch(lambda: beats.append(threading.current_thread().name))
    publisher.start()
    wait_for(lambda: len(beats) > 20)
    publisher.stop(0)
    assert set(beats) == {"mqtt-sender"}


def test_broker_without_passwords_is_refused_if_one_is_set(
    tmp_path: Path, outbox: Outbox, caplog: pytest.LogCaptureFixture, noted: NotedBackoff
) -> None:
    with Mosquitto(tmp_path / "open", anonymous=True) as broker:
        with listening(broker) as subscriber:
            with publishing(broker.settings(), outbox, backoff=noted) as publisher:
                publisher.publish_events([EVENT])
                wait_for(lambda: len(noted.asked) >= 2)
                stats = publisher.stats()
            assert subscriber.messages == []
        assert (stats.connected, stats.depth) == (False, 1)
        assert "lets anybody in without a password" in str(stats.last_refusal)
        (record,) = caplog.records
        assert record.message.startswith(f"broker mqtt://localhost:{broker.port} is refused (it lets anybody in")
        settings = msgspec.structs.replace(broker.settings(), refuse_anonymous=False)
        with publishing(settings, outbox) as publisher:
            assert publisher.drain(30)


def test_client_certificate_is_sent_if_the_broker_asks_for_one(
    tmp_path: Path, outbox: Outbox, noted: NotedBackoff
) -> None:
    with Mosquitto(tmp_path / "mutual", tls=True, client_certificates=True) as broker:
        key = broker.folder / "server.key"
        key.chmod(0o600)
        own = {"cert_file": str(broker.folder / "server.pem"), "key_file": str(key)}
        with publishing(broker.settings(), outbox, backoff=noted) as publisher:
            publisher.publish_events([EVENT])
            wait_for(lambda: len(noted.asked) >= 2)
            assert publisher.stats().depth == 1
        with publishing(broker.settings(**own), outbox) as publisher:
            assert publisher.drain(30)
        key.chmod(0o644)
        with pytest.raises(ConfigError, match=r"mqtt.key_file: .* has mode 0644; others may read it"):
            Publisher(broker.settings(**own), "dev-1", outbox, boot="b", version="1", model=lambda: "m")
