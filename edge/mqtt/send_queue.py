"""What the sender sends: which message is next, which are in flight, and which the broker has acknowledged."""

import logging
from collections.abc import Callable
from typing import NamedTuple

from edge.clock import Clock
from edge.errors import DeliveryError
from edge.mqtt.connection import Connection, Message
from edge.mqtt.outbox import Outbox
from edge.mqtt.outbox.tables import StoredEvent

LogOnce = Callable[[int, str], None]


class Sent(NamedTuple):
    """A message that the broker has not answered yet."""

    topic: str
    seq: int | None
    """None for anything but an event"""
    at_s: float
    """of clock.monotonic()"""


class SendQueue:
    """Orders what is sent on a connection; used by the sender's thread alone.

    First the newest retained message of each topic, then the greeting, then the outbox's events in order. The greeting
    says ``online``, and subscribers believe the retained messages from then on: none of an earlier connection may be
    left by then.

    ``commit_interval_s``: seconds for which acknowledgements are gathered before they are written to the outbox
    together.
    ``log_once``: logs a line at a level, and no second time until something changes.
    """

    def __init__(
        self, *, event_topic: str, outbox: Outbox, commit_interval_s: float, clock: Clock, log_once: LogOnce
    ) -> None:
        self._event_topic = event_topic
        self._outbox = outbox
        self._commit_interval_s = commit_interval_s
        self._clock = clock
        self._log_once = log_once
        self._retained: dict[str, Message] = {}
        self._unsent: dict[str, Message] = {}
        self._greeting: Message | None = None
        self._sent: dict[int, Sent] = {}  # by message id, oldest first
        self._acknowledged: list[int] = []
        self._after_seq = 0
        self.commit_at: float | None = None
        """when acknowledgements are written to the outbox, of clock.monotonic(); None while there are none"""

    @property
    def in_flight(self) -> int:
        """Messages sent and not yet acknowledged."""
        return len(self._sent)

    @property
    def all_acknowledged(self) -> bool:
        """True if everything but the events is sent, and everything sent is acknowledged."""
        return not self._unsent and self._greeting is None and not self._sent

    def oldest_wait_s(self) -> float:
        """Return the seconds for which the oldest message in flight has waited, 0 if there is none."""
        oldest = next(iter(self._sent.values()), None)
        return 0.0 if oldest is None else self._clock.monotonic() - oldest.at_s

    def retain(self, message: Message) -> None:
        """Send a retained message now and on each new connection; it replaces an older one of its topic."""
        self._retained[message.topic] = message
        self._unsent[message.topic] = message

    def greet(self, greeting: Message) -> None:
        """Send a greeting once every retained message is sent."""
        self._greeting = greeting

    def start_connection(self, greeting: Message) -> None:
        """Send every retained message again, then the greeting."""
        self._unsent = dict(self._retained)
        self._greeting = greeting

    def finish_with(self, final_messages: tuple[Message, ...]) -> None:
        """Send these messages last, and nothing on a later connection."""
        self._retained = {}
        self._greeting = None
        for message in final_messages:
            self._unsent.pop(message.topic, None)  # so that these come last
            self._unsent[message.topic] = message

    def forget_in_flight(self) -> None:
        """Forget what was sent: the next connection starts with the oldest event."""
        self._sent.clear()
        self._after_seq = 0

    def take_answered(self, mid: int) -> Sent | None:
        """Return the message that the broker has answered, None if it was sent on an earlier connection."""
        return self._sent.pop(mid, None)

    def acknowledged(self, seq: int) -> None:
        """Note that the broker has an event."""
        self._acknowledged.append(seq)

    def commit_acknowledged(self, *, at_once: bool) -> bool:
        """Remove acknowledged events from the outbox, at once or when due; return True if some were removed."""
        if not self._acknowledged:
            return False
        if self.commit_at is None:
            self.commit_at = self._clock.monotonic() + self._commit_interval_s
        # With nothing in flight, no more will come, and somebody may wait for the outbox to be empty.
        if self.commit_at > self._clock.monotonic() and self._sent and not at_once:
            return False
        self.commit_at = None
        try:
            self._outbox.acknowledge(*self._acknowledged)
        except DeliveryError as error:
            self._log_once(logging.ERROR, f"{error}; what was delivered could not be noted and may be sent again")
            return False
        self._acknowledged.clear()
        return True

    def send(self, connection: Connection, window: int, *, events: bool) -> None:
        """Send messages until the in-flight limit is reached.

        ``window``: maximum number of messages in flight.
        ``events``: False sends everything but events.
        """
        while self._unsent and len(self._sent) < window:
            message = next(iter(self._unsent.values()))
            if not self._publish(connection, message, seq=None):
                return
            del self._unsent[message.topic]
        if self._greeting is not None and len(self._sent) < window:
            if not self._publish(connection, self._greeting, seq=None):
                return
            self._greeting = None
        if not events:
            return
        for event in self._next_events(window - len(self._sent)):
            left_s = self._outbox.max_age_s - self._outbox.age_s(event)
            message = Message(self._event_topic, event.payload, retain=False, expires_s=left_s)
            if not self._publish(connection, message, seq=event.seq):
                return
            self._after_seq = event.seq

    def _next_events(self, limit: int) -> list[StoredEvent]:
        if limit <= 0:
            return []
        try:
            return self._outbox.batch(self._after_seq, limit)
        except DeliveryError as error:
            self._log_once(logging.ERROR, f"{error}; events cannot be read")
            return []

    def _publish(self, connection: Connection, message: Message, *, seq: int | None) -> bool:
        mid = connection.publish(message)
        if mid is not None:
            self._sent[mid] = Sent(message.topic, seq, self._clock.monotonic())
        return mid is not None
