"""What the daemon asks of whatever publishes for it; `edge.mqtt.publisher.Publisher` is the real one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from edge.events.payloads import EmotionEvent, Health, Privacy, PrivacyCommand, State


@dataclass(frozen=True, slots=True)
class PublisherStats:
    """How delivery goes, for health messages and for the end of a run."""

    connected: bool
    reconnects: int
    """connections made after the first one"""
    depth: int
    """events stored and not yet acknowledged"""
    dropped: int
    """events given up since the outbox was made"""
    in_flight: int
    """messages sent and not yet acknowledged"""
    last_refusal: str | None
    """why the broker refused the login or an event, one line; None once it accepts"""
    on_disk: bool
    """False while events wait in memory, because the disk does not take them"""
    set_aside: int
    """outboxes found damaged since the start"""
    commits: int
    """transactions that the outbox has written since the start"""
    commands_refused: int
    """messages to this device that were no command"""


class EventPublisher(Protocol):
    """Publishes what happens. No method but `drain` and `stop` waits for the network."""

    def start(self) -> None:
        """Begin to connect; returns at once, whether or not there is a broker."""
        ...

    def publish_events(self, events: Sequence[EmotionEvent]) -> list[int]:
        """Store the events of one frame, to be sent as soon as possible; return the ``seq`` that each was given.

        Raises
        ------
        DeliveryError
            They could not be stored, none of them: the disk is full or cannot be written.
        """
        ...

    def publish_state(self, state: State) -> None:
        """Publish who is in view; after an outage only the newest is sent."""
        ...

    def publish_health(self, health: Health) -> None:
        """Publish how the device does; after an outage only the newest is sent."""
        ...

    def publish_privacy(self, privacy: Privacy) -> None:
        """Publish whether the camera is closed for privacy."""
        ...

    def take_commands(self) -> list[PrivacyCommand]:
        """Return the commands that have come since the last call, oldest first."""
        ...

    def watch(self, pulse: Callable[[], object]) -> None:
        """Have this called by whatever thread talks to the broker, each time that it gets something done."""
        ...

    def publish_status(self) -> None:
        """Publish the status again: the model has changed."""
        ...

    def drain(self, timeout_s: float) -> bool:
        """Wait until every stored event is acknowledged; return whether that came to be in time."""
        ...

    def stop(self, timeout_s: float) -> bool:
        """Say ``stopped``, disconnect and end; return whether the broker acknowledged it in time."""
        ...

    def stats(self) -> PublisherStats:
        """Return how delivery goes."""
        ...
