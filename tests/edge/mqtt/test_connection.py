"""A message that is too long to be a command is not even read, whatever the broker's version of MQTT."""

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from queue import SimpleQueue

import pytest
from paho.mqtt.enums import MQTTProtocolVersion

from edge.backoff import Backoff
from edge.events.payloads import PrivacyCommand
from edge.mqtt.address import BrokerAddress, broker_address
from edge.mqtt.commands import MAX_COMMAND_BYTES
from edge.mqtt.connection import Arrived, Connected, Connection, Ended, Notice, Opened
from edge.mqtt.outbox import Outbox
from edge.mqtt.publisher import Publisher
from edge.mqtt.reasons import Kind
from edge.settings import MqttSettings
from tests.edge.mqtt.test_publisher import listening
from tests.edge.mqtt.test_timeouts import trusting
from tests.fakes.mosquitto import Mosquitto
from tests.fakes.waiting import wait_for

CONNACK = {MQTTProtocolVersion.MQTTv311: b"\x20\x02\x00\x00", MQTTProtocolVersion.MQTTv5: b"\x20\x03\x00\x00\x00"}
PUBLISH_OF_256_MB = b"\x32\xff\xff\xff\x7f"


@contextmanager
def broker_that_says(*packets: bytes) -> Iterator[BrokerAddress]:
    """Answers what comes first with these, goes on with zeros, and waits until the other side hangs up."""

    class Broker(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(4096)
            try:
                self.request.sendall(b"".join(packets) + bytes(100_000))
                while self.request.recv(4096):
                    pass
            except OSError:
                pass  # hung up in the middle of it

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Broker) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield broker_address(MqttSettings(url=f"mqtt://127.0.0.1:{server.server_address[1]}"))
        finally:
            server.shutdown()
            thread.join()


def notices_of(address: BrokerAddress, protocol: MQTTProtocolVersion) -> Iterator[Notice]:
    mailbox: SimpleQueue[Notice] = SimpleQueue()
    link = Connection(address, client_id="c", will=None, protocol=protocol, report=mailbox.put)
    link.open()
    while not isinstance(notice := mailbox.get(timeout=30), Ended):
        yield notice
    yield notice
    assert link.abandon(30)


@pytest.mark.parametrize("protocol", list(CONNACK))
def test_a_long_message_ends_the_connection_unread_and_is_told(protocol: MQTTProtocolVersion) -> None:
    with broker_that_says(CONNACK[protocol], PUBLISH_OF_256_MB) as address:
        opened, connected, arrived, ended = notices_of(address, protocol)
    assert (type(opened), type(connected)) == (Opened, Connected)
    assert isinstance(arrived, Arrived)
    assert len(arrived.payload) > MAX_COMMAND_BYTES
    assert isinstance(ended, Ended)
    assert ended.ending.kind is Kind.LOST
    assert ended.ending.reason == "it sent a message of more than 4096 bytes"


def test_a_stranger_that_answers_a_login_with_it_is_no_broker() -> None:
    with broker_that_says(PUBLISH_OF_256_MB) as address:
        _, ended = notices_of(address, MQTTProtocolVersion.MQTTv311)
    assert isinstance(ended, Ended)
    assert ended.ending.kind is Kind.UNREACHABLE


@pytest.mark.broker
def test_long_message_over_3_1_1_is_counted_and_commands_go_on(
    mosquitto: Mosquitto, outbox: Outbox, caplog: pytest.LogCaptureFixture
) -> None:
    mosquitto.start()
    topic = "emotion/1/dev-1/privacy/set"
    publisher = Publisher(
        trusting(mosquitto), "dev-1", outbox, boot="b", version="1", model=lambda: "m", backoff=Backoff(0.05, 0.4)
    )
    publisher._sender._protocol = MQTTProtocolVersion.MQTTv311  # as for a broker that speaks no other

    def is_online(times: int) -> None:
        other.wait(lambda messages: [m.json.get("state") for m in messages].count("online") == times)

    with listening(mosquitto, topic="emotion/1/dev-1/status") as other:
        publisher.start()
        is_online(1)
        other.publish(topic, bytes(1_000_000))
        is_online(2)
        assert publisher.stats().commands_refused == 1
        other.publish(topic, b'{"paused": true}')
        commands: list[PrivacyCommand] = []

        def came() -> bool:
            commands.extend(publisher.take_commands())
            return bool(commands)

        wait_for(came)
        assert publisher.stop(10)
    assert commands == [PrivacyCommand(paused=True)]
    assert caplog.text.count("a command was ignored: longer than 256 bytes") == 1
    assert caplog.text.count("is gone (it sent a message of more than 4096 bytes)") == 1
