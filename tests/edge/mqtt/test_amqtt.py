"""A broker that speaks only MQTT 3.1.1: the one of the demo, in this process."""

import gc
import logging
import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from edge.backoff import Backoff
from edge.cli.demo import broker
from edge.mqtt.outbox import Outbox
from edge.mqtt.publisher import Publisher
from edge.settings import MqttSettings
from tests.fakes.payloads import EVENT
from tests.fakes.subscriber import Subscriber


@pytest.fixture
def amqtt_port() -> Iterator[int]:
    pytest.importorskip("amqtt.broker", reason="needs amqtt (the demo extra)")
    with broker() as port:
        yield port


def test_a_broker_without_mqtt_5_gets_3_1_1(amqtt_port: int, outbox: Outbox, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="edge")
    settings = MqttSettings(url=f"mqtt://127.0.0.1:{amqtt_port}")
    publisher = Publisher(
        settings, "dev-1", outbox, boot="b", version="1", model=lambda: "m", backoff=Backoff(0.1, 0.5)
    )
    with Subscriber(amqtt_port) as subscriber:
        publisher.start()
        for _ in range(30):
            publisher.publish_events([EVENT])
        assert publisher.drain(30)
        subscriber.wait(lambda _: len(subscriber.of("event")) == 30)
        assert publisher.stop(10)
        subscriber.wait(lambda _: subscriber.of("status")[-1:] and subscriber.of("status")[-1]["state"] == "stopped")
    assert [event["seq"] for event in subscriber.of("event")] == list(range(1, 31))
    assert "(MQTT 3.1.1, which does not say what its access list denies)" in caplog.text
    assert not [record for record in caplog.records if record.name.startswith("edge") and record.levelno > logging.INFO]


def test_the_broker_of_the_demo_leaves_no_connection_open() -> None:
    pytest.importorskip("amqtt.broker", reason="needs amqtt (the demo extra)")
    with ExitStack() as clients:
        with broker() as port:
            clients.enter_context(socket.create_connection(("127.0.0.1", port)))  # one that never logs in
            clients.enter_context(Subscriber(port))
        gc.collect()  # an open connection of a closed loop is told of when it is freed; pytest makes that an error
