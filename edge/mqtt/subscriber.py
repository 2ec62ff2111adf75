"""The client of `collect`, `watch` and `demo`: reads messages of many devices, and acknowledges each when it is safe.

`Subscriber` is used by one thread. If the session is kept, the broker sends again what was not acknowledged,
also after a crash of either side.
"""

import logging
from collections.abc import Iterable, Sequence
from types import TracebackType

from paho.mqtt.enums import MQTTProtocolVersion

from edge.backoff import Backoff
from edge.clock import Clock, SystemClock
from edge.errors import UsageError
from edge.mqtt.address import BrokerAddress
from edge.mqtt.client import Client
from edge.mqtt.connection import (
    Arrived,
    Connected,
    Connection,
    Notice,
    Session,
    Subscribed,
    SubscribeRefused,
    Subscription,
)
from edge.mqtt.reasons import Ending, Kind

_LOG = logging.getLogger(__name__)
MAX_PACKET_BYTES = 65_536
"""The longest packet that is accepted; a state with 64 faces has about 16 kB."""
_MOST_UNASKED = 5000
"""Messages with QoS 0 that wait; more are dropped, as QoS 0 allows."""


class Subscriber(Client):
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
        super().__init__(address, backoff=backoff or Backoff(), clock=clock or SystemClock(), protocol=protocol)
        self._client_id = client_id
        self._subscriptions = [Subscription(topic, retained=True) for topic in topics]
        self._session = session
        self._persevere = persevere
        self._messages: list[Arrived] = []
        self._has_subscribed = False
        self.subscribed = False
        """True once the broker has answered every subscription of this connection"""

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
        self._messages = []
        self._take_mail(timeout_s, most=most)
        self._check_deadlines()
        return [message for message in self._messages if message.connection is self._connection]

    def acknowledge(self, messages: Iterable[Arrived]) -> None:
        """Have the broker forget these messages; those of an earlier connection come again."""
        for message in messages:
            if message.mid and message.connection is self._connection:
                message.connection.acknowledge(message.mid)

    def close(self) -> None:
        """Disconnect; a session that is kept stays at the broker."""
        self._disconnect()

    def _new_connection(self) -> Connection:
        self.subscribed = False
        return Connection(
            self._address,
            client_id=self._client_id,
            will=None,
            subscriptions=self._subscriptions,
            protocol=self._protocol,
            report=self._post,
            max_packet_bytes=MAX_PACKET_BYTES,
            session=self._session,
        )

    def _post(self, notice: Notice) -> None:
        """Take a notice, on paho's thread. Nothing limits what a publisher sends with QoS 0 but this."""
        if isinstance(notice, Arrived) and not notice.mid and self._mailbox.qsize() > _MOST_UNASKED:
            return
        self._mailbox.put(notice)

    def _on_notice(self, notice: Notice) -> None:
        match notice:
            case Arrived():
                self._messages.append(notice)
            case Connected():
                self._on_connected(notice)
            case Subscribed():
                self.subscribed = self._has_subscribed = True
                self._answer_due = None
            case SubscribeRefused(_, topic, refusal):
                line = f"broker {self._address.shown} denies reading {topic} ({refusal}): check its access list"
                self._complain(line, logging.ERROR)

    def _on_connected(self, notice: Connected) -> None:
        self._accept(notice)
        self.connections += 1
        _LOG.info("connected to broker %s (%s)", self._address.shown, notice.connection.version)
        if self.connections > 1 and self._session.keep_s and not notice.session_present:
            line = "broker %s has not kept the session: what came in the meantime may be lost"
            _LOG.warning(line, self._address.shown)

    def _on_ended(self, ending: Ending) -> None:
        refused = ending.kind is Kind.REFUSED
        self._retry(refused=refused)
        self._complain(ending.told(self._address.shown), logging.WARNING)

    def _complain(self, line: str, level: int) -> None:
        if not self._persevere and not self._has_subscribed:
            raise UsageError(line)
        self._log_once(level, f"{line}; retrying")
