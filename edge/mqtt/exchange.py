"""A short connection that asks a broker something and closes: what it keeps of some topics, if it takes a message."""

import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from queue import Empty, SimpleQueue

from paho.mqtt.enums import MQTTProtocolVersion

from edge.errors import EmotionEdgeError
from edge.mqtt.address import BrokerAddress
from edge.mqtt.connection import (
    ANSWER_S,
    CONNECT_TIMEOUT_S,
    GOODBYE_S,
    Acknowledged,
    Arrived,
    Connected,
    Connection,
    Ended,
    Message,
    Notice,
    Opened,
    Subscribed,
    SubscribeRefused,
    Subscription,
    disconnect,
)
from edge.mqtt.reasons import Ending, Kind

MAX_KEPT_BYTES = 1_000_000
"""The longest packet that is read: a discovery message has about 10 kB."""
_ANSWER_S = 10.0  # for an acknowledgement
_SETTLE_S = 0.3  # some brokers send what they keep after they have answered the subscription
_LOST = Ending(Kind.LOST, "connection lost")


class BrokerError(EmotionEdgeError):
    """The broker cannot be reached, refuses the login, or does not answer; ``ending`` says which."""

    def __init__(self, address: BrokerAddress, ending: Ending) -> None:
        super().__init__(f"{address.shown}: {ending.reason}")
        self.ending = ending


@dataclass(frozen=True, slots=True)
class Answer:
    """What the broker says to a message."""

    refusal: str | None
    """its reason, None if it accepted the message; a broker of MQTT 3.1.1 accepts all and may still discard it"""
    unheard: bool
    """True if nobody subscribes to the topic (MQTT 5 only)"""


class Exchange:
    """An open short connection; made by `exchange`."""

    def __init__(self, address: BrokerAddress, connection: Connection, notices: "SimpleQueue[Notice]") -> None:
        self._address = address
        self._connection = connection
        self._notices = notices
        self.version = connection.version
        """``MQTT 5`` or ``MQTT 3.1.1``"""
        self.kept: dict[str, bytes] = {}
        """what the broker keeps of the topics that were asked for, by topic"""
        self.refused: dict[str, str] = {}
        """topics that this user may not read, as far as the broker says, with its reason"""

    def publish(self, message: Message) -> Answer:
        """Publish one message and return the broker's answer; raise `BrokerError` if there is none."""
        mid = self._connection.publish(message)
        if mid is None:
            raise BrokerError(self._address, _LOST)
        deadline = time.monotonic() + _ANSWER_S
        while True:
            notice = self._next(deadline, Ending(Kind.LOST, f"no acknowledgement for {_ANSWER_S:.0f} s"))
            if isinstance(notice, Acknowledged) and notice.mid == mid:
                return Answer(notice.refusal, notice.unheard)

    def read(self) -> None:
        """Read what the broker keeps, until it has sent all."""
        deadline = time.monotonic() + _ANSWER_S
        while not isinstance(
            self._take(self._next(deadline, Ending(Kind.LOST, "it answers no subscription"))), Subscribed
        ):
            pass
        deadline = time.monotonic() + _SETTLE_S
        while (left_s := deadline - time.monotonic()) > 0:
            try:
                self._take(self._notices.get(timeout=left_s))
            except Empty:
                return

    def log_in(self) -> None:
        """Wait until the broker has accepted the login."""
        deadline = time.monotonic() + CONNECT_TIMEOUT_S + 1
        while not isinstance(
            notice := self._next(deadline, Ending(Kind.OTHER_VERSION, "it does not answer the login")), Connected
        ):
            if isinstance(notice, Opened):
                deadline = time.monotonic() + ANSWER_S[self._connection.protocol]

    def _next(self, deadline: float, when_missed: Ending) -> Notice:
        try:
            notice = self._notices.get(timeout=max(0.0, deadline - time.monotonic()))
        except Empty:
            raise BrokerError(self._address, when_missed) from None
        if isinstance(notice, Ended):
            raise BrokerError(self._address, notice.ending)
        return notice

    def _take(self, notice: Notice) -> Notice:
        match notice:
            case Arrived(_, topic, payload, True) if payload:
                self.kept[topic] = payload
            case SubscribeRefused(_, topic, refusal):
                self.refused[topic] = refusal
        return notice


@contextmanager
def exchange(address: BrokerAddress, *, topics: Sequence[str] = (), purpose: str) -> Iterator[Exchange]:
    """Log in with the newest version of MQTT that the broker speaks, read what it keeps of some topics, and close.

    ``topics``: topics or filters; what is kept of them is in ``kept``.
    ``purpose``: a word of the client id, which is new each time: with the device's own the broker would disconnect the
    daemon.
    """
    client_id = f"emotion-edge-{purpose}-{secrets.token_hex(4)}"
    # The last one is nobody's: its answer shows that what is kept of the others has been sent.
    subscriptions = [Subscription(topic, retained=True) for topic in (*topics, f"{client_id}/end")] if topics else []
    notices: SimpleQueue[Notice] = SimpleQueue()
    for protocol in (MQTTProtocolVersion.MQTTv5, MQTTProtocolVersion.MQTTv311):
        connection = Connection(
            address, client_id=client_id, will=None, subscriptions=subscriptions, protocol=protocol,
            report=notices.put, max_packet_bytes=MAX_KEPT_BYTES,
        )  # fmt: skip
        connection.open()
        link = Exchange(address, connection, notices)
        try:
            link.log_in()
            if topics:
                link.read()
        except BrokerError as error:
            connection.abandon(GOODBYE_S)
            if error.ending.kind is Kind.OTHER_VERSION and protocol is MQTTProtocolVersion.MQTTv5:
                notices = SimpleQueue()
                continue
            raise
        break
    try:
        yield link
    finally:
        disconnect(connection, notices)
