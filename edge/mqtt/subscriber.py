"""Reads messages of many devices: one connection after another; its user acknowledges each message.

`Subscriber` is used by one thread. If the session is kept, the broker sends again what was not acknowledged,
also after a crash of either side.
"""

import contextlib
import logging
from collections.abc import Iterable, Sequence
from queue import Empty, SimpleQueue
from types import TracebackType

from paho.mqtt.enums import MQTTProtocolVersion

from edge.backoff import Attempts, Backoff
from edge.clock import Clock, SystemClock
from edge.errors import UsageError
from edge.mqtt.address import BrokerAddress
from edge.mqtt.connection import (
    GOODBYE_S,
    Arrived,
    Connected,
    Connection,
    ConnectionTimeouts,
    Ended,
    Notice,
    Opened,
    Session,
    Subscribed,
    SubscribeRefused,
    Subscription,
    disconnect,
)
from edge.mqtt.reasons import Ending, Kind

_LOG = logging.getLogger(__name__)
MAX_PACKET_BYTES = 65_536
"""The longest packet that is accepted; a state with 64 faces has about 16 kB."""
_MOST_UNASKED = 5000
"""Messages with QoS 0 that wait; more are dropped, as QoS 0 allows."""


class Subscriber:
    """Connects, subscribes, and connects again; `receive` returns what has come.

    ``client_id``: names the session: a broker closes the older of two connections with the same id.
    ``topics``: topic filters to read with QoS 1, retained messages included.
    ``session``: whether the broker keeps it, and how many messages may wait for an acknowledgement.
    ``persevere``: retry without end, and log each reason once; False raises an error before the first subscription.
    ``protocol``: version to try first.
    ``backoff``, ``clock``: waits between attempts, and what times them.
    """

    def __init__(
        self,
        address: BrokerAddress,
        *,
        client_id: str,
        topics: Sequence[str],
        session: Session,
        persevere: bool = True,
        protocol: MQTTProtocolVersion = MQTTProtocolVersion.MQTTv5,
        backoff: Backoff | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._address = address
        self._client_id = client_id
        self._subscriptions = [Subscription(topic, retained=True) for topic in topics]
        self._session = session
        self._persevere = persevere
        self._clock = clock or SystemClock()
        self._attempts = Attempts(backoff or Backoff(), self._clock)
        self._timeouts = ConnectionTimeouts(self._clock)
        self._mailbox: SimpleQueue[Notice] = SimpleQueue()
        self._connection: Connection | None = None
        self._protocol = protocol
        self._retry_at: float | None = None
        self._logged: set[str] = set()
        self._has_subscribed = False
        self.subscribed = False
        """True once the broker has answered every subscription of this connection"""
        self.connections = 0
        """accepted logins since the start"""

    def __enter__(self) -> "Subscriber":
        self._connect()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def receive(self, timeout_s: float, *, most: int = 1000) -> list[Arrived]:
        """Return the messages that have come, in order; wait for the first one.

        ``timeout_s``: longest wait, seconds; an empty list is returned after it, or earlier when anything else has
        happened.
        Raises `UsageError`: the broker cannot be reached or refuses, and this subscriber does not persevere.
        """
        messages: list[Arrived] = []
        due = [at for at in (self._retry_at, self._timeouts.deadline) if at is not None]
        wait_s = min([timeout_s, *(max(0.0, at - self._clock.monotonic()) for at in due)])
        with contextlib.suppress(Empty):
            self._handle(self._mailbox.get(timeout=wait_s), messages)
            while len(messages) < most:
                self._handle(self._mailbox.get_nowait(), messages)
        self._check_deadlines()
        return [message for message in messages if message.connection is self._connection]

    def acknowledge(self, messages: Iterable[Arrived]) -> None:
        """Have the broker forget these messages; those of an earlier connection come again."""
        for message in messages:
            if message.mid and message.connection is self._connection:
                message.connection.acknowledge(message.mid)

    def close(self) -> None:
        """Disconnect; a session that is kept stays at the broker."""
        connection, self._connection = self._connection, None
        self._retry_at = None
        if connection is not None:
            disconnect(connection, self._mailbox)

    def _connect(self) -> None:
        self._retry_at = None
        self.subscribed = False
        self._connection = Connection(
            self._address,
            client_id=self._client_id,
            will=None,
            subscriptions=self._subscriptions,
            protocol=self._protocol,
            report=self._post,
            max_packet_bytes=MAX_PACKET_BYTES,
            session=self._session,
        )
        self._timeouts.attempt_started()
        self._connection.open()

    def _post(self, notice: Notice) -> None:
        """Take a notice, on paho's thread. Nothing limits what a publisher sends with QoS 0 but this."""
        if isinstance(notice, Arrived) and not notice.mid and self._mailbox.qsize() > _MOST_UNASKED:
            return
        self._mailbox.put(notice)

    def _handle(self, notice: Notice, messages: list[Arrived]) -> None:
        if notice.connection is not self._connection:
            return
        match notice:
            case Arrived():
                messages.append(notice)
            case Opened(connection):
                self._timeouts.opened(connection.protocol)
            case Connected(connection, session_present=kept):
                self._on_connected(connection, kept=kept)
            case Subscribed():
                self.subscribed = self._has_subscribed = True
                self._timeouts.subscribed()
            case SubscribeRefused(_, topic, refusal):
                line = f"broker {self._address.shown} denies reading {topic} ({refusal}): check its access list"
                self._complain(line, logging.ERROR)
            case Ended(_, ending):
                self._on_ended(ending)
            case _:
                pass

    def _on_connected(self, connection: Connection, *, kept: bool) -> None:
        self._timeouts.connected(connection.protocol)
        self._attempts.connected()
        self.connections += 1
        _LOG.info("connected to broker %s (%s)", self._address.shown, connection.version)
        if self.connections > 1 and self._session.keep_s and not kept:
            line = "broker %s has not kept the session: what came in the meantime may be lost"
            _LOG.warning(line, self._address.shown)

    def _check_deadlines(self) -> None:
        connection = self._connection
        if connection is not None and (ending := self._timeouts.missed(connection, oldest_wait_s=0.0)) is not None:
            connection.abandon(GOODBYE_S)
            self._on_ended(ending)
        if self._retry_at is not None and self._retry_at <= self._clock.monotonic():
            self._connect()

    def _on_ended(self, ending: Ending) -> None:
        self._connection = None
        self._timeouts.ended()
        now_s = self._clock.monotonic()
        if ending.kind is Kind.OTHER_VERSION and self._protocol is MQTTProtocolVersion.MQTTv5:
            self._protocol = MQTTProtocolVersion.MQTTv311
            self._retry_at = now_s
            return
        self._protocol = MQTTProtocolVersion.MQTTv5
        if self._attempts.has_held():
            self._logged.clear()
        refused = ending.kind is Kind.REFUSED
        what = {Kind.REFUSED: "refuses the login", Kind.LOST: "is gone"}.get(ending.kind, "is not reachable")
        self._complain(f"broker {self._address.shown} {what} ({ending.reason})", logging.WARNING)
        self._retry_at = now_s + self._attempts.failed(refused=refused)

    def _complain(self, line: str, level: int) -> None:
        if not self._persevere and not self._has_subscribed:
            raise UsageError(line)
        if line not in self._logged:
            self._logged.add(line)
            _LOG.log(level, "%s; retrying", line)
