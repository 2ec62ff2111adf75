"""The client of `doctor` and `homeassistant`: asks a broker what it keeps of some topics, or if it takes a message."""

import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from edge.backoff import Backoff
from edge.clock import SystemClock
from edge.errors import EmotionEdgeError
from edge.mqtt.address import BrokerAddress
from edge.mqtt.client import Client
from edge.mqtt.connection import (
    CONNECT_TIMEOUT_S,
    Acknowledged,
    Arrived,
    Connected,
    Connection,
    Message,
    Notice,
    Subscribed,
    SubscribeRefused,
    Subscription,
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


class Exchange(Client):
    """An open short connection; made by `exchange`."""

    def __init__(self, address: BrokerAddress, client_id: str, topics: Sequence[str]) -> None:
        super().__init__(
            address, backoff=Backoff(), clock=SystemClock(), open_s=CONNECT_TIMEOUT_S + 1, acknowledge_s=_ANSWER_S
        )
        self._client_id = client_id
        # The last one is nobody's: its answer shows that what is kept of the others has been sent.
        filters = (*topics, f"{client_id}/end") if topics else ()
        self._subscriptions = [Subscription(topic, retained=True) for topic in filters]
        self._is_ready = False
        self._answers: dict[int, Answer] = {}
        self.version = ""
        """``MQTT 5`` or ``MQTT 3.1.1``"""
        self.kept: dict[str, bytes] = {}
        """what the broker keeps of the topics that were asked for, by topic"""
        self.refused: dict[str, str] = {}
        """topics that this user may not read, as far as the broker says, with its reason"""

    def publish(self, message: Message) -> Answer:
        """Publish one message and return the broker's answer; raise `BrokerError` if there is none."""
        mid = None if self._connection is None else self._connection.publish(message)
        if mid is None:
            raise BrokerError(self._address, _LOST)
        self._await_acknowledgement()
        self._work_until(lambda: mid in self._answers)
        return self._answers.pop(mid)

    def log_in(self) -> None:
        """Wait until the broker has accepted the login and has sent what it keeps."""
        self._connect()
        self._work_until(lambda: self._is_ready)
        if self._subscriptions:
            settled_at = self._clock.monotonic() + _SETTLE_S
            self._work_until(lambda: self._clock.monotonic() >= settled_at, settled_at)

    def close(self) -> None:
        """Disconnect."""
        self._disconnect()

    def _work_until(self, is_done: Callable[[], bool], *moments: float) -> None:
        while not is_done():
            self._take_mail(_ANSWER_S, *moments)
            self._check_deadlines()
        self._answer_due = None

    def _new_connection(self) -> Connection:
        connection = Connection(
            self._address, client_id=self._client_id, will=None, subscriptions=self._subscriptions,
            protocol=self._protocol, report=self._mailbox.put, max_packet_bytes=MAX_KEPT_BYTES,
        )  # fmt: skip
        self.version = connection.version
        return connection

    def _on_notice(self, notice: Notice) -> None:
        match notice:
            case Connected():
                self._accept(notice)
                self._is_ready = not self._subscriptions
            case Subscribed():
                self._is_ready = True
            case SubscribeRefused(_, topic, refusal):
                self.refused[topic] = refusal
            case Arrived(_, topic, payload, True) if payload:
                self.kept[topic] = payload
            case Acknowledged(_, mid, refusal, unheard):
                self._answers[mid] = Answer(refusal, unheard)

    def _on_ended(self, ending: Ending) -> None:
        self._drop_connection(retry_in_s=0.0)
        raise BrokerError(self._address, ending)


@contextmanager
def exchange(address: BrokerAddress, *, topics: Sequence[str] = (), purpose: str) -> Iterator[Exchange]:
    """Log in with the newest version of MQTT that the broker speaks, read what it keeps of some topics, and close.

    ``topics``: topics or filters; what is kept of them is in ``kept``.
    ``purpose``: a word of the client id, which is new each time: with the device's own the broker would disconnect the
    daemon.
    """
    link = Exchange(address, f"emotion-edge-{purpose}-{secrets.token_hex(4)}", topics)
    try:
        link.log_in()
        yield link
    finally:
        link.close()
