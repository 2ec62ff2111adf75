"""A subscriber that records every message; a test can wait for one."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion


@dataclass(frozen=True, slots=True)
class Received:
    topic: str
    payload: bytes
    retained: bool
    properties: Any
    """MQTT 5 properties, None with 3.1.1"""

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.payload)

    @property
    def channel(self) -> str:
        """The part of the topic after the device (event, state, privacy/state, …); of other topics, the last part."""
        parts = self.topic.split("/", 3)
        return parts[3] if self.topic.startswith("emotion/") else self.topic.rsplit("/", 1)[-1]


class Subscriber:
    """Connects, and reconnects to the session that the broker kept; subscribes with QoS 1."""

    def __init__(
        self,
        port: int,
        topic: str = "#",
        *,
        username: str | None = None,
        password: str | None = None,
        protocol: MQTTProtocolVersion = MQTTProtocolVersion.MQTTv311,
    ) -> None:
        self.messages: list[Received] = []
        self._changed = threading.Condition()
        self._topic = topic
        self._subscribed = threading.Event()
        self.subscriptions = 0
        """how many times the broker has confirmed the subscription"""
        self._client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id="subscriber",
            clean_session=None if protocol is MQTTProtocolVersion.MQTTv5 else False,
            protocol=protocol,
        )
        self._client.username_pw_set(username, password)
        self._client.reconnect_delay_set(1, 1)
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = self._on_subscribe
        self._client.on_message = self._on_message
        self._client.connect_async("127.0.0.1", port)

    def __enter__(self) -> "Subscriber":
        self._client.loop_start()
        assert self._subscribed.wait(20), "the subscriber could not reach the broker"
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()
        # This breaks a reference cycle: paho closes its wake-up sockets when the client is freed.
        self._client.on_connect = self._client.on_subscribe = self._client.on_message = None

    def wait(self, enough: Callable[[list[Received]], object], timeout_s: float = 30) -> list[Received]:
        """Wait until ``enough`` is true of the received messages, and return them all."""
        with self._changed:
            came = self._changed.wait_for(lambda: enough(self.messages), timeout_s)
            shown = [(message.channel, message.payload[:80]) for message in self.messages[-10:]]
            assert came, f"not in {timeout_s} s; {len(self.messages)} messages, the last {shown}"
            return list(self.messages)

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        self._client.publish(topic, payload, qos=1, retain=retain)

    def of(self, channel: str) -> list[Any]:
        with self._changed:
            return [message.json for message in self.messages if message.channel == channel]

    def _on_connect(self, *_: object) -> None:
        self._client.subscribe(self._topic, qos=1)

    def _on_subscribe(self, *_: object) -> None:
        self.subscriptions += 1
        self._subscribed.set()

    def _on_message(self, _client: object, _data: object, message: paho.MQTTMessage) -> None:
        received = Received(message.topic, bytes(message.payload), message.retain, getattr(message, "properties", None))
        with self._changed:
            self.messages.append(received)
            self._changed.notify_all()
