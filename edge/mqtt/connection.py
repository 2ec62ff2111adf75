"""One connection to the broker, from the attempt to its end; `edge.mqtt.client` makes a new one for every attempt.

With a new paho client each time, paho's own queue, its resending and its message ids never matter: the outbox alone
knows which events were sent and not acknowledged. paho calls back on its own thread, at times with its lock held, so
each callback only puts a notice into the client's mailbox.
"""

import contextlib
import errno
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from edge.mqtt.address import BrokerAddress
from edge.mqtt.reasons import CLOSED, Ending, Kind, of_connack, of_error

IN_FLIGHT = 20
"""Maximum number of unacknowledged messages: Mosquitto's default for one client."""
KEEPALIVE_S = 30
"""Seconds of silence after which each side pings the other. After 1.5 times that the broker publishes the will."""
CONNECT_TIMEOUT_S = 10.0
"""Seconds for the TCP connection and the TLS handshake."""
GOODBYE_S = 1.0
"""Seconds for the broker to close its side after a DISCONNECT."""
STUCK_S = 30.0
"""paho's thread loops once a second; after this many seconds without a loop it counts as stuck."""
MAX_PACKET_BYTES = 4096
"""The longest packet that is accepted. A broker that speaks MQTT 5 is asked to send none longer; others may."""
SAME_NAME = "does another device have the same `device` setting?"

_TAKEN_OVER = "session taken over"
_QOS = 1
_DO_NOT_SEND = SubscribeOptions.RETAIN_DO_NOT_SEND
_NO_MATCHING_SUBSCRIBERS = 0x10  # MQTT 5.0, table 3-4 "PUBACK Reason Codes"
_MAX_EXPIRY_S = 0xFFFF_FFFF
_VERSIONS = {MQTTProtocolVersion.MQTTv5: "MQTT 5", MQTTProtocolVersion.MQTTv311: "MQTT 3.1.1"}


@dataclass(frozen=True, slots=True)
class Message:
    """A message to publish with QoS 1."""

    topic: str
    payload: bytes
    retain: bool
    expires_s: float | None = None
    """seconds for which the broker keeps it for subscribers that are away (MQTT 5 only)"""


@dataclass(frozen=True, slots=True)
class Subscription:
    """What to listen to on a connection."""

    topic: str
    retained: bool = False
    """False: a message that the broker kept is not wanted (with 3.1.1 it comes nevertheless)"""


@dataclass(frozen=True, slots=True)
class Session:
    """What a reader asks for that acknowledges each message itself, when it is safe."""

    keep_s: int = 0
    """seconds for which the broker keeps the session, and what comes in the meantime, while nobody is connected; with
    3.1.1 for ever, unless it is 0"""
    max_in_flight: int = 1000
    """messages that the broker sends before it waits for an acknowledgement (MQTT 5; others choose themselves)"""


@dataclass(frozen=True, slots=True)
class Opened:
    """The TCP connection is open and TLS is set up; the login is being sent."""

    connection: "Connection"


@dataclass(frozen=True, slots=True)
class Connected:
    """The broker accepted the login."""

    connection: "Connection"
    in_flight: int
    """unacknowledged messages that the broker allows, at most `IN_FLIGHT`"""
    session_present: bool = False
    """True if the broker has kept the session"""


@dataclass(frozen=True, slots=True)
class Subscribed:
    """The broker has answered every subscription. What it kept of the earlier ones has arrived before this."""

    connection: "Connection"


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """The broker acknowledged a message, or refused it."""

    connection: "Connection"
    mid: int
    """paho's message id"""
    refusal: str | None
    """the broker's reason, None if it accepted the message"""
    unheard: bool = False
    """True if the broker says that nobody subscribes to the topic (MQTT 5 only)"""


@dataclass(frozen=True, slots=True)
class Arrived:
    """A message of a subscribed topic has come."""

    connection: "Connection"
    topic: str
    """empty if the message was too long to be read"""
    payload: bytes
    """of one that was not read, more zeros than ``max_packet_bytes``"""
    retained: bool
    mid: int = 0
    """for `Connection.acknowledge`, if there is a `Session`; 0 for a message that needs none"""


@dataclass(frozen=True, slots=True)
class SubscribeRefused:
    """The broker refused a subscription."""

    connection: "Connection"
    topic: str
    refusal: str


@dataclass(frozen=True, slots=True)
class Ended:
    """The connection, or the attempt at one, has ended; no other notice follows."""

    connection: "Connection"
    ending: Ending


Notice = Opened | Connected | Subscribed | Acknowledged | Arrived | SubscribeRefused | Ended


class Connection:
    """One connection to the broker.

    ``client_id``: unique per device: a broker closes the older of two connections with the same id.
    ``will``: published by the broker if this connection ends without a DISCONNECT; None for no will.
    ``subscriptions``: what to listen to. They are made one after another, and before `Connected` is reported.
    ``report``: receives the notices; called on paho's thread, must not block or take a lock.
    ``max_packet_bytes``: the longest packet that is accepted.
    ``session``: for a reader that acknowledges messages itself; None: a new session, in which paho acknowledges.
    """

    def __init__(
        self,
        address: BrokerAddress,
        *,
        client_id: str,
        will: Message | None,
        subscriptions: Sequence[Subscription] = (),
        protocol: MQTTProtocolVersion,
        report: Callable[[Notice], None],
        max_packet_bytes: int = MAX_PACKET_BYTES,
        session: Session | None = None,
    ) -> None:
        self.protocol = protocol
        self.version = _VERSIONS[protocol]
        self._subscriptions = subscriptions
        self._unanswered: dict[int, str] = {}  # topics by message id
        self._report = report
        self._max_packet_bytes = max_packet_bytes
        self._session = session
        self._ending: Ending | None = None
        self._connected = False
        self._client = _SingleUseClient(
            client_id, protocol, address, session=session, max_packet_bytes=max_packet_bytes,
            on_too_long=self._on_too_long, on_end=self._on_thread_end,
        )  # fmt: skip
        self._client.connect_timeout = CONNECT_TIMEOUT_S
        self._client.max_inflight_messages_set(IN_FLIGHT)
        self._client.max_queued_messages_set(IN_FLIGHT)
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
        """Start to connect; `Opened` and `Connected`, or an `Ended`, follow."""
        self._client.loop_start()

    def publish(self, message: Message) -> int | None:
        """Send a message and return its id; None if the connection is already lost."""
        properties = self._properties(PacketTypes.PUBLISH, message)
        info = self._client.publish(message.topic, message.payload, _QOS, message.retain, properties)
        return info.mid if info.rc == MQTTErrorCode.MQTT_ERR_SUCCESS else None

    def acknowledge(self, mid: int) -> None:
        """Acknowledge a message that has arrived: the broker forgets it."""
        self._client.ack(mid, _QOS)

    def close(self) -> None:
        """Send a DISCONNECT, so that the broker discards the will; an `Ended` follows if the broker still answers."""
        self._ending = self._ending or CLOSED
        self._client.disconnect()

    def abandon(self, timeout_s: float) -> bool:
        """Cut the connection and wait for paho's thread; return True if the thread has ended."""
        self._ending = self._ending or CLOSED
        self._client.sever()
        return self._client.join(timeout_s)

    def is_stuck(self) -> bool:
        """Return True if paho's thread has neither read nor written for `STUCK_S`."""
        return self._client.is_stuck()

    def has_ended(self) -> bool:
        """Return True once paho's thread has ended."""
        return self._client.has_ended()

    def _on_socket_open(self, _client: object, _data: object, _socket: object) -> None:
        if self._ending is not None:  # abandoned before: a login now would close the connection that replaced this one
            self._client.sever()
            return
        self._report(Opened(self))

    def _on_connect(
        self, _client: object, _data: object, flags: paho.ConnectFlags, code: ReasonCode, properties: Properties | None
    ) -> None:
        if code.is_failure:
            self._ending = of_connack(code)
            return
        if self._ending is not None:  # closed while the broker was answering
            self._client.disconnect()
            return
        self._connected = True
        allowed = getattr(properties, "ReceiveMaximum", IN_FLIGHT)
        # Subscribe first: a subscriber that reads "online" may send a command at once.
        for subscription in self._subscriptions:
            self._subscribe(subscription)
        self._report(Connected(self, min(IN_FLIGHT, allowed), flags.session_present))

    def _subscribe(self, subscription: Subscription) -> None:
        # Without a session that is kept, QoS 1 promises nothing more while the connection lasts, and nothing after it.
        # But RabbitMQ 3 then makes a durable queue, and if its node dies, no other lets this client subscribe again.
        qos = _QOS if self._session is not None else 0
        if self.protocol is MQTTProtocolVersion.MQTTv5:
            kept = SubscribeOptions.RETAIN_SEND_ON_SUBSCRIBE if subscription.retained else _DO_NOT_SEND
            _, mid = self._client.subscribe(subscription.topic, options=SubscribeOptions(qos=qos, retainHandling=kept))
        else:
            _, mid = self._client.subscribe(subscription.topic, qos=qos)
        if mid is not None:
            self._unanswered[mid] = subscription.topic

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
        refusal = code.getName().lower() if code.is_failure else None
        self._report(Acknowledged(self, mid, refusal, unheard=code.value == _NO_MATCHING_SUBSCRIBERS))

    def _on_message(self, _client: object, _data: object, message: paho.MQTTMessage) -> None:
        self._report(Arrived(self, message.topic, bytes(message.payload), message.retain, message.mid))

    def _on_too_long(self) -> None:
        kind = Kind.LOST if self._connected else Kind.UNREACHABLE
        self._ending = self._ending or Ending(kind, f"it sent a message of more than {self._max_packet_bytes} bytes")
        if self._connected:
            self._report(Arrived(self, "", bytes(self._max_packet_bytes + 1), retained=False))

    def _on_subscribe(
        self, _client: object, _data: object, mid: int, codes: list[ReasonCode], _properties: Properties | None
    ) -> None:
        topic = self._unanswered.pop(mid, "")
        for code in codes:
            if code.is_failure:
                self._report(SubscribeRefused(self, topic, code.getName().lower()))
        if not self._unanswered:
            self._report(Subscribed(self))

    def _on_thread_end(self, failure: Ending | None) -> None:
        ending = self._ending or failure or Ending(Kind.UNREACHABLE, "connection lost")
        # Callbacks and client refer to each other: without this the sockets would stay open until garbage collection.
        self._client.on_socket_open = self._client.on_connect = None
        self._client.on_disconnect = self._client.on_publish = None
        self._client.on_message = self._client.on_subscribe = None
        self._report(Ended(self, ending))

    def _limits(self) -> dict[str, Any]:
        """Return what is asked of the broker: no packet that is too large, and the session (MQTT 5 only)."""
        if self.protocol is not MQTTProtocolVersion.MQTTv5:
            return {}
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.MaximumPacketSize = self._max_packet_bytes
        if self._session is None:
            return {"properties": properties}
        properties.ReceiveMaximum = self._session.max_in_flight
        properties.SessionExpiryInterval = self._session.keep_s
        return {"properties": properties, "clean_start": self._session.keep_s == 0}

    def _properties(self, kind: int, message: Message) -> Properties | None:
        if self.protocol is not MQTTProtocolVersion.MQTTv5:
            return None
        properties = Properties(kind)  # type: ignore[no-untyped-call]
        properties.ContentType = "application/json"
        properties.PayloadFormatIndicator = 1  # UTF-8 text
        if message.expires_s is not None:
            properties.MessageExpiryInterval = min(max(1, round(message.expires_s)), _MAX_EXPIRY_S)
        return properties


class _SingleUseClient(paho.Client):
    """paho's client for a single connection: its thread ends with the connection and reports why.

    paho's own loop retries for ever, without jitter, and does not report the error. It would also read a packet of any
    length, up to 256 MB.

    ``max_packet_bytes``, ``on_too_long``: called when a longer packet is announced: the connection ends, none of it is
    read.
    ``on_end``: called last, when the connection or the attempt has ended, with the error if there was one.
    """

    def __init__(
        self,
        client_id: str,
        protocol: MQTTProtocolVersion,
        address: BrokerAddress,
        *,
        session: Session | None,
        max_packet_bytes: int,
        on_too_long: Callable[[], None],
        on_end: Callable[[Ending | None], None],
    ) -> None:
        super().__init__(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            clean_session=None if protocol is MQTTProtocolVersion.MQTTv5 else not (session and session.keep_s),
            protocol=protocol,
            reconnect_on_failure=False,
            transport=address.transport,
            manual_ack=session is not None,
        )
        self.username_pw_set(address.username, address.password)
        if address.tls is not None:
            self.tls_set_context(address.tls)
        if address.websocket_path is not None:
            self.ws_set_options(address.websocket_path, address.websocket_headers)
        self._line: socket.socket | None = None
        self._max_packet_bytes = max_packet_bytes
        self._on_too_long: Callable[[], None] | None = on_too_long
        self._on_end: Callable[[Ending | None], None] | None = on_end
        self._last_loop_s: float | None = None
        self._loop_thread: threading.Thread | None = None

    def loop_forever(self, timeout: float = 1.0, retry_first_connection: bool = False) -> MQTTErrorCode:  # noqa: ARG002
        """Work until the connection ends; paho runs this in its thread."""
        self._loop_thread = threading.current_thread()
        failure: Ending | None = None
        try:
            return super().loop_forever(timeout, retry_first_connection=False)
        except Exception as caught:  # noqa: BLE001  whatever a stranger on that port makes paho raise ends the attempt
            # Keep the text, not the error: its traceback would keep paho's socket open until garbage collection.
            failure = of_error(caught)
            return MQTTErrorCode.MQTT_ERR_CONN_LOST
        finally:
            if self._line is not None:
                self._line.close()
            on_end, self._on_end, self._on_too_long = self._on_end, None, None
            if on_end is not None:
                on_end(failure)

    def _loop(self, timeout: float = 1.0) -> MQTTErrorCode:
        self._last_loop_s = time.monotonic()
        return super()._loop(timeout)

    def _create_socket_connection(self) -> socket.socket:
        connected = super()._create_socket_connection()
        self._line = connected.dup()  # TLS and WebSockets will stand between; this one is always the TCP connection
        return connected

    def _sock_recv(self, bufsize: int) -> bytes:
        if bufsize > self._max_packet_bytes:  # paho asks for as much as the packet's header announces
            if self._on_too_long is not None:
                self._on_too_long()
            raise OSError(errno.EMSGSIZE, f"a packet of {bufsize} bytes")
        return super()._sock_recv(bufsize)

    def is_stuck(self) -> bool:
        """Return True if paho's thread is connected and has not looped for `STUCK_S`."""
        return self._last_loop_s is not None and time.monotonic() - self._last_loop_s > STUCK_S

    def has_ended(self) -> bool:
        """Return True once paho's thread has ended."""
        return self._loop_thread is not None and not self._loop_thread.is_alive()

    def sever(self) -> None:
        """Shut the socket down, so that paho's thread sees the end and leaves its loop."""
        if self._line is not None:
            with contextlib.suppress(OSError):  # already closed
                self._line.shutdown(socket.SHUT_RDWR)

    def join(self, timeout_s: float) -> bool:
        """Wait for paho's thread; return True if it has ended."""
        thread = self._loop_thread
        if thread is not None:
            thread.join(timeout_s)
        return thread is None or not thread.is_alive()
