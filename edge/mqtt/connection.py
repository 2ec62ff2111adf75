"""One connection to the broker: paho-mqtt, from the attempt to its end, and never used twice.

A fresh client for each attempt keeps paho's own queue, resending and message ids out of the way: what was sent and not
acknowledged is the outbox's to know. paho calls back on its own thread, for some callbacks with its lock held, so every
callback does nothing but put a notice into the mailbox that the sender's thread reads.
"""

import contextlib
import errno
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from edge.clock import Clock
from edge.mqtt.address import BrokerAddress
from edge.mqtt.commands import MOST_BYTES
from edge.mqtt.reasons import Ending, Kind, of_connack, of_error

MOST_PACKET_BYTES = 4096
"""The longest packet that is taken in. A broker that speaks MQTT 5 is asked to send none, any other may."""
STUCK_S = 30.0
"""paho's thread turns once a second; after so many without a turn it does not work any more"""


class OneConnection(paho.Client):
    """paho's client, whose thread ends with the connection and says why.

    paho's own loop retries for ever, with no jitter, and keeps the error to itself. It would also collect a packet of
    any length, up to 256 MB.

    Parameters
    ----------
    on_too_long
        Told that a message ends the connection, because it is longer than `MOST_PACKET_BYTES`; nothing of it is read.
    on_end
        Told, as the last thing, that the connection or the attempt at it is over, and the error if there was one.
    """

    def __init__(
        self,
        client_id: str,
        protocol: MQTTProtocolVersion,
        *,
        on_too_long: Callable[[], None],
        on_end: Callable[[Ending | None], None],
    ) -> None:
        super().__init__(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            clean_session=None if protocol is MQTTProtocolVersion.MQTTv5 else True,
            protocol=protocol,
            reconnect_on_failure=False,
        )
        self._on_too_long: Callable[[], None] | None = on_too_long
        self._on_end: Callable[[Ending | None], None] | None = on_end
        self._turned_s: float | None = None
        self._loop_thread: threading.Thread | None = None

    def loop_forever(self, timeout: float = 1.0, retry_first_connection: bool = False) -> MQTTErrorCode:  # noqa: ARG002
        """Work until the connection ends; paho runs this in its thread."""
        self._loop_thread = threading.current_thread()
        failure: Ending | None = None
        try:
            return super().loop_forever(timeout, retry_first_connection=False)
        except Exception as caught:  # noqa: BLE001  whatever a stranger on that port makes paho raise ends the attempt
            # Not the error itself: its traceback would keep paho's socket open until the garbage collector comes.
            failure = of_error(caught)
            return MQTTErrorCode.MQTT_ERR_CONN_LOST
        finally:
            on_end, self._on_end, self._on_too_long = self._on_end, None, None
            if on_end is not None:
                on_end(failure)

    def _loop(self, timeout: float = 1.0) -> MQTTErrorCode:
        self._turned_s = time.monotonic()
        return super()._loop(timeout)

    def _sock_recv(self, bufsize: int) -> bytes:
        if bufsize > MOST_PACKET_BYTES:  # paho asks for all that the packet's header has announced
            if self._on_too_long is not None:
                self._on_too_long()
            raise OSError(errno.EMSGSIZE, f"a packet of {bufsize} bytes")
        return super()._sock_recv(bufsize)

    def is_stuck(self) -> bool:
        """Whether paho's thread has a connection and has not looked at it for `STUCK_S`."""
        return self._turned_s is not None and time.monotonic() - self._turned_s > STUCK_S

    def has_ended(self) -> bool:
        """Whether paho's thread is gone."""
        return self._loop_thread is not None and not self._loop_thread.is_alive()

    def sever(self) -> None:
        """Cut the connection under paho's feet: its thread sees the end and leaves its loop."""
        raw = self.socket()
        if isinstance(raw, socket.socket):
            with contextlib.suppress(OSError):  # it is gone already
                # Not SSLSocket.shutdown, which takes the TLS layer away from under the other thread.
                socket.socket.shutdown(raw, socket.SHUT_RDWR)

    def join(self, timeout_s: float) -> bool:
        """Wait for paho's thread; return whether it has ended."""
        thread = self._loop_thread
        if thread is not None:
            thread.join(timeout_s)
        return thread is None or not thread.is_alive()


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
class SubscribeRefused:
    """The broker does not let us hear what is sent to this device."""

    link: "Link"
    refusal: str


@dataclass(frozen=True, slots=True)
class Ended:
    """A connection, or the attempt at one, is over; nothing more comes from it."""

    link: "Link"
    ending: Ending


Notice = Opened | Connected | Acknowledged | Arrived | SubscribeRefused | Ended


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
                self._report(SubscribeRefused(self, code.getName().lower()))

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


OPEN_S = 30.0
"""For a name to be resolved and a connection to be made, with TLS; a resolver may have no limit of its own."""
ACKNOWLEDGE_S = 60.0
"""For a message to be acknowledged. A broker that answers pings and nothing else would hold delivery up for ever."""

_UNREACHED = Ending(Kind.UNREACHABLE, "no answer")
_SILENT = Ending(Kind.OTHER_VERSION, "it does not answer the login")
_UNACKNOWLEDGED = Ending(Kind.LOST, f"no acknowledgement for {ACKNOWLEDGE_S:.0f} s")
_STUCK = Ending(Kind.LOST, "the thread that talks to it is stuck")


class ConnectionTimeouts:
    """The limits of one connection after another; a broker that has spoken MQTT 5 is given time to do so again."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._spoke_5 = False
        self._unless = _UNREACHED
        self.ends_at: float | None = None
        """when the next answer is due, of clock.monotonic(); None while none is"""

    def begin(self) -> None:
        """An attempt begins."""
        self.ends_at, self._unless = self._clock.monotonic() + OPEN_S, _UNREACHED

    def opened(self, protocol: MQTTProtocolVersion) -> None:
        """The login goes out."""
        answer_s = ANSWER_S[MQTTProtocolVersion.MQTTv311 if self._spoke_5 else protocol]
        self.ends_at, self._unless = self._clock.monotonic() + answer_s, _SILENT

    def connected(self, protocol: MQTTProtocolVersion) -> None:
        """The login is answered."""
        self._spoke_5 = self._spoke_5 or protocol is MQTTProtocolVersion.MQTTv5
        self.ends_at = None

    def over(self) -> None:
        """The attempt, or the connection, has ended."""
        self.ends_at = None

    def overdue(self, link: Link, *, waits_s: float) -> Ending | None:
        """Return why a connection is over although it has not ended, None where it is not.

        Parameters
        ----------
        waits_s
            For how long the oldest message under way has waited for its acknowledgement, seconds.
        """
        if self.ends_at is not None and self.ends_at <= self._clock.monotonic():
            return self._unless
        if waits_s > ACKNOWLEDGE_S:
            return _UNACKNOWLEDGED
        return _STUCK if link.is_stuck() else None
