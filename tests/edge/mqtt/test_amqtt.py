"""A broker that speaks only MQTT 3.1.1: the one of the demo, in this process."""

import asyncio
import logging
import threading
from collections.abc import Iterator

import pytest

from edge.backoff import Backoff
from edge.mqtt.outbox import Outbox
from edge.mqtt.publisher import Publisher
from edge.settings import MqttSettings
from tests.fakes.mosquitto import free_port
from tests.fakes.payloads import EVENT
from tests.fakes.subscriber import Subscriber


@pytest.fixture
def amqtt_port() -> Iterator[int]:
    broker_module = pytest.importorskip("amqtt.broker", reason="needs amqtt (the demo extra)")
    port = free_port()
    started, loop = threading.Event(), asyncio.new_event_loop()
    finish = asyncio.Event()

    async def serve() -> None:
        broker = broker_module.Broker(
            {
                "listeners": {"default": {"type": "tcp", "bind": f"127.0.0.1:{port}"}},
                "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
            }
        )
        await broker.start()
        started.set()
        await finish.wait()
        await broker.shutdown()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    assert started.wait(20)
    yield port
    loop.call_soon_threadsafe(finish.set)
    thread.join(20)
    loop.close()


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
