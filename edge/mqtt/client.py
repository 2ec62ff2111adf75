"""One connection to the broker: paho-mqtt, from the attempt to its end, and never used twice.

A fresh client for each attempt keeps paho's own queue, resending and message ids out of the way: what was sent and not
acknowledged is the outbox's to know. paho calls back on its own thread, for some callbacks with its lock held, so every
callback does nothing but put a notice into the mailbox that the sender's thread reads.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from paho.mqtt import client as paho
from paho.mqtt.enums import MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from edge.mqtt.address import BrokerAddress
from edge.mqtt.commands import MOST_BYTES
from edge.mqtt.one_connection import MOST_PACKET_BYTES, OneConnection
from edge.mqtt.reasons import Ending, Kind, of_connack

IN_FLIGHT = 20
"""Messages sent and not yet acknowledged, at most: Mosquitto's default for what it takes from one client."""
KEEPALIVE_S = 30
"""Seconds of silence after which both sides ask whether the other is there; twice that, and a connection is lost."""
CONNECT_TIMEOUT_S = 10.0
ANSWER_S = {MQTTProtocolVersion.MQTTv5: 2.0, MQTTProtocolVersion.MQTTv311: 10.0}
"""Seconds to wait for the answer to a login. Some brokers that know only 3.1.1 (amqtt 0.12) misread a login of MQTT 5
and wait for more instead of refusing it; a broker that is merely slow gets its time with 3.1.1."""
SAME_NAME = "does another device have the same `device` setting?"
_TAKEN_OVER = "session taken over"
_QOS = 1
_LONGEST_EXPIRY_S = 0xFFFF_FFFF
_VERSIONS = {MQTTProtocolVersion.MQTTv5: "MQTT 5", MQTTProtocolVersion.MQTTv311: "MQTT 3.1.1"}


@dataclass(frozen=True, slots=True)
class Opened:
    """Somebody listens, TLS is set up, the login goes out."""

    link: "Link"


@dataclass(frozen=True, slots=True)
class Connected:
    """The broker took us in."""

    link: "Link"
    in_flight: int
    """messages it lets us have under way at once, at most `IN_FLIGHT`"""


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """The broker has a message, or says why it does not take it."""

    link: "Link"
    mid: int
    refusal: str | None


@dataclass(frozen=True, slots=True)
class Arrived:
    """Somebody sent something to this device."""

    link: "Link"
    payload: bytes
    """no more of it than tells that it is too long"""
    retained: bool


@dataclass(frozen=True, slots=True)
class Deaf:
    """The broker does not let us hear what is sent to this device."""

    link: "Link"
    refusal: str


@dataclass(frozen=True, slots=True)
class Ended:
    """A connection, or the attempt at one, is over; nothing more comes from it."""

    link: "Link"
    ending: Ending


Notice = Opened | Connected | Acknowledged | Arrived | Deaf | Ended


@dataclass(frozen=True, slots=True)
class Message:
    """What goes out, QoS 1."""

    topic: str
    payload: bytes
    retain: bool
    expires_s: float | None = None
    """seconds for which the broker keeps it for subscribers that are away (MQTT 5 only)"""


class Link:
    """One connection.

    Parameters
    ----------
    address
        The broker.
    client_id
        One a device: a broker ends the older connection of two with the same.
    will
        What the broker publishes when this connection ends without a goodbye; None for nothing.
    command_topic
        Where commands to this device come; None for none.
    protocol
        MQTT 5 or 3.1.1.
    report
        Takes the notices; called on paho's thread, must neither block nor take a lock.
    """

    def __init__(
        self,
        address: BrokerAddress,
        *,
        client_id: str,
        will: Message | None,
        command_topic: str | None,
        protocol: MQTTProtocolVersion,
        report: Callable[[Notice], None],
    ) -> None:
        self.protocol = protocol
        self._command_topic = command_topic
        self.version = _VERSIONS[protocol]
        self._report = report
        self._ending: Ending | None = None
        self._connected = False
        self._client = OneConnection(client_id, protocol, on_too_long=self._on_too_long, on_end=self._on_thread_end)
        self._client.connect_timeout = CONNECT_TIMEOUT_S
        self._client.max_inflight_messages_set(IN_FLIGHT)
        self._client.max_queued_messages_set(IN_FLIGHT)
        self._client.username_pw_set(address.username, address.password)
        if address.tls is not None:
            self._client.tls_set_context(address.tls)
        if will is not None:
            properties = self._properties(PacketTypes.WILLMESSAGE, will)
            self._client.will_set(will.topic, will.payload, _QOS, will.retain, properties)
        self._client.on_socket_open = self._on_socket_open
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = self._on_disconnect
        self._client.on_publish = self._on_publish
        self._client.on_message = self._on_message
        self._client.on_subscribe = self._on_subscribe
        self._client.connect_async(address.host, address.port, keepalive=KEEPALIVE_S, **self._limits())

    def open(self) -> None:
        """Start the attempt; `Opened` and `Connected`, or an `Ended`, follow."""
        self._client.loop_start()

    def publish(self, message: Message) -> int | None:
        """Hand a message to the connection and return its id, None where the connection is already lost."""
        properties = self._properties(PacketTypes.PUBLISH, message)
        info = self._client.publish(message.topic, message.payload, _QOS, message.retain, properties)
        return info.mid if info.rc == MQTTErrorCode.MQTT_ERR_SUCCESS else None

    def close(self) -> None:
        """Say goodbye, so that the broker forgets the will; an `Ended` follows if the broker still answers."""
        self._ending = self._ending or Ending(Kind.CLOSED, "closed")
        self._client.disconnect()

    def abandon(self, timeout_s: float) -> bool:
        """End without the broker's help and wait for paho's thread; return whether it is gone."""
        self._ending = self._ending or Ending(Kind.CLOSED, "closed")
        self._client.sever()
        return self._client.join(timeout_s)

    def is_stuck(self) -> bool:
        """Whether the thread that reads from the broker and writes to it does neither any more."""
        return self._client.is_stuck()

    def has_ended(self) -> bool:
        """Whether that thread is gone."""
        return self._client.has_ended()

    def _on_socket_open(self, _client: object, _data: object, _socket: object) -> None:
        if self._ending is not None:  # given up long ago: a login now would throw out the connection that came after
            self._client.sever()
            return
        self._report(Opened(self))

    def _on_connect(
        self, _client: object, _data: object, _flags: object, code: ReasonCode, properties: Properties | None
    ) -> None:
        if code.is_failure:
            self._ending = of_connack(code)
            return
        if self._ending is not None:  # asked to end while the broker was thinking
            self._client.disconnect()
            return
        self._connected = True
        allowed = getattr(properties, "ReceiveMaximum", IN_FLIGHT)
        if self._command_topic is not None:
            self._subscribe(self._command_topic)
        # Only now, so that whoever reads "online" may send commands.
        self._report(Connected(self, min(IN_FLIGHT, allowed)))

    def _subscribe(self, topic: str) -> None:
        if self.protocol is MQTTProtocolVersion.MQTTv5:
            without_retained = SubscribeOptions(qos=_QOS, retainHandling=SubscribeOptions.RETAIN_DO_NOT_SEND)
            self._client.subscribe(topic, options=without_retained)
        else:
            self._client.subscribe(topic, qos=_QOS)

    def _on_disconnect(
        self, _client: object, _data: object, _flags: object, code: ReasonCode, _properties: Properties | None
    ) -> None:
        if self._ending is None:
            name = code.getName().lower()
            if self._connected:
                words = {
                    "unspecified error": "connection lost",
                    _TAKEN_OVER: f"{_TAKEN_OVER}: {SAME_NAME}",
                }
                self._ending = Ending(Kind.LOST, words.get(name, name))
            else:
                self._ending = Ending(Kind.OTHER_VERSION, "it hung up without an answer")

    def _on_publish(
        self, _client: object, _data: object, mid: int, code: ReasonCode, _properties: Properties | None
    ) -> None:
        self._report(Acknowledged(self, mid, code.getName().lower() if code.is_failure else None))

    def _on_message(self, _client: object, _data: object, message: paho.MQTTMessage) -> None:
        self._report(Arrived(self, bytes(message.payload[: MOST_BYTES + 1]), message.retain))

    def _on_too_long(self) -> None:
        kind = Kind.LOST if self._connected else Kind.UNREACHABLE
        self._ending = self._ending or Ending(kind, f"it sent a message of more than {MOST_PACKET_BYTES} bytes")
        if self._connected:
            self._report(Arrived(self, bytes(MOST_BYTES + 1), retained=False))

    def _on_subscribe(
        self, _client: object, _data: object, _mid: int, codes: list[ReasonCode], _properties: Properties | None
    ) -> None:
        for code in codes:
            if code.is_failure:
                self._report(Deaf(self, code.getName().lower()))

    def _on_thread_end(self, failure: Ending | None) -> None:
        ending = self._ending or failure or Ending(Kind.UNREACHABLE, "connection lost")
        # Callbacks and client hold each other; without this the sockets would wait for the garbage collector.
        self._client.on_socket_open = self._client.on_connect = None
        self._client.on_disconnect = self._client.on_publish = None
        self._client.on_message = self._client.on_subscribe = None
        self._report(Ended(self, ending))

    def _limits(self) -> dict[str, Any]:
        """Ask the broker to keep from us what is too large to be a command (MQTT 5 only)."""
        if self.protocol is not MQTTProtocolVersion.MQTTv5:
            return {}
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.MaximumPacketSize = MOST_PACKET_BYTES
        return {"properties": properties}

    def _properties(self, kind: int, message: Message) -> Properties | None:
        if self.protocol is not MQTTProtocolVersion.MQTTv5:
            return None
        properties = Properties(kind)  # type: ignore[no-untyped-call]
        properties.ContentType = "application/json"
        properties.PayloadFormatIndicator = 1  # UTF-8 text
        if message.expires_s is not None:
            properties.MessageExpiryInterval = min(max(1, round(message.expires_s)), _LONGEST_EXPIRY_S)
        return properties
