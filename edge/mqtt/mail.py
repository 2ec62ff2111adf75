"""What the sender's thread finds in its mailbox, beside the notices of the connection."""

from dataclasses import dataclass

from edge.mqtt.client import Message, Notice


@dataclass(frozen=True, slots=True)
class Retain:
    """Publish this retained message now and after every reconnect; a newer one of the topic replaces it."""

    message: Message


@dataclass(frozen=True, slots=True)
class Greet:
    """Say again that the device is online: what the greeting says has changed."""


@dataclass(frozen=True, slots=True)
class Stored:
    """The outbox has something new."""


@dataclass(frozen=True, slots=True)
class Stop:
    """Send these retained messages as the last ones, then say goodbye."""

    last_words: tuple[Message, ...]
    deadline: float
    """of time.monotonic()"""


Mail = Notice | Retain | Greet | Stored | Stop
