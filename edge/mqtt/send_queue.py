"""What the sender has to say: which message is next, which are under way, and which the broker has."""

import logging
from collections.abc import Callable
from typing import NamedTuple

from edge.clock import Clock
from edge.errors import DeliveryError
from edge.mqtt.connection import Link, Message
from edge.mqtt.outbox import Outbox
from edge.mqtt.outbox.tables import StoredEvent

Say = Callable[[int, str], None]


class _Sent(NamedTuple):
    seq: int | None
    """None for what is not an event"""
    at_s: float
    """of clock.monotonic()"""


class SendQueue:
    """Retained messages, the newest of each topic, and then the outbox's events in order; for the sender's thread.

    Parameters
    ----------
    event_topic
        Where events go.
    outbox
        Where they wait.
    gather_s
        For how long acknowledgements are gathered before they are noted.
    clock
        Times both.
    say
        Logs a line at a level, once until something changes.
    """

    def __init__(self, *, event_topic: str, outbox: Outbox, gather_s: float, clock: Clock, say: Say) -> None:
        self._event_topic = event_topic
        self._outbox = outbox
        self._gather_s = gather_s
        self._clock = clock
        self._say = say
        self._retained: dict[str, Message] = {}
        self._unsent: dict[str, Message] = {}
        self._sent: dict[int, _Sent] = {}  # by message id, oldest first
        self._acknowledged: list[int] = []
        self._after_seq = 0
        self.note_at: float | None = None
        """when what was acknowledged is to be noted, of clock.monotonic(); None while there is nothing to note"""

    @property
    def in_flight(self) -> int:
        """Messages sent and not yet acknowledged."""
        return len(self._sent)

    def waits_s(self) -> float:
        """Seconds for which the oldest of them has not been acknowledged, 0 where there is none."""
        oldest = next(iter(self._sent.values()), None)
        return 0.0 if oldest is None else self._clock.monotonic() - oldest.at_s

    @property
    def said_all(self) -> bool:
        """Whether all but the events is sent, and all that was sent is acknowledged."""
        return not self._unsent and not self._sent

    def retain(self, message: Message) -> None:
        """Send this now and after every reconnect; a newer one of the topic replaces it."""
        self._retained[message.topic] = message
        self._unsent[message.topic] = message

    def add(self, message: Message) -> None:
        """Send this once."""
        self._unsent[message.topic] = message

    def end_with(self, last_words: tuple[Message, ...]) -> None:
        """Send these as the last ones, and nothing after a reconnect."""
        self._retained = {}
        for message in last_words:
            self._unsent.pop(message.topic, None)  # so that these come last
            self._unsent[message.topic] = message

    def begin(self, greeting: Message) -> None:
        """Start a connection: the greeting first, then all that is retained."""
        self._unsent = {greeting.topic: greeting, **self._retained}

    def forget_sent(self) -> None:
        """Forget what was under way: the next connection begins with the oldest event."""
        self._sent.clear()
        self._after_seq = 0

    def take_back(self, mid: int) -> int | None:
        """Return the ``seq`` of a message that the broker has answered, None if it was no event."""
        sent = self._sent.pop(mid, None)
        return None if sent is None else sent.seq

    def acknowledged(self, seq: int) -> None:
        """Take in that the broker has an event."""
        self._acknowledged.append(seq)

    def note_acknowledged(self, *, at_once: bool) -> bool:
        """Note what the broker has, now or once enough is gathered; return whether something was noted."""
        if not self._acknowledged:
            return False
        if self.note_at is None:
            self.note_at = self._clock.monotonic() + self._gather_s
        # Nothing is under way any more: whoever waits for that waits for this.
        if self.note_at > self._clock.monotonic() and self._sent and not at_once:
            return False
        self.note_at = None
        try:
            self._outbox.acknowledge(*self._acknowledged)
        except DeliveryError as error:
            self._say(logging.ERROR, f"{error}; what was delivered could not be noted and may be sent again")
            return False
        self._acknowledged.clear()
        return True

    def send(self, link: Link, window: int, *, events: bool) -> None:
        """Hand over as much as may be under way.

        Parameters
        ----------
        window
            How many messages may be under way at once.
        events
            Whether events are sent too.
        """
        while self._unsent and len(self._sent) < window:
            message = next(iter(self._unsent.values()))
            if not self._hand_over(link, message, seq=None):
                return
            del self._unsent[message.topic]
        if not events:
            return
        for event in self._batch(window - len(self._sent)):
            left_s = self._outbox.max_age_s - self._outbox.age_s(event)
            message = Message(self._event_topic, event.payload, retain=False, expires_s=left_s)
            if not self._hand_over(link, message, seq=event.seq):
                return
            self._after_seq = event.seq

    def _batch(self, room: int) -> list[StoredEvent]:
        if room <= 0:
            return []
        try:
            return self._outbox.batch(self._after_seq, room)
        except DeliveryError as error:
            self._say(logging.ERROR, f"{error}; events cannot be read")
            return []

    def _hand_over(self, link: Link, message: Message, *, seq: int | None) -> bool:
        mid = link.publish(message)
        if mid is not None:
            self._sent[mid] = _Sent(seq, self._clock.monotonic())
        return mid is not None
