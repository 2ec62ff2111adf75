"""The interface between the daemon and its publisher; `edge.mqtt.publisher.Publisher` implements it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from edge.events.payloads import EmotionEvent, Health, Privacy, PrivacyCommand, State


@dataclass(frozen=True, slots=True)
class PublisherStats:
    """The state of delivery, for health messages and for the end of a run."""

    connected: bool
    """True while the broker accepts messages"""
    reconnects: int
    """connections made after the first one"""
    depth: int
    """events stored and not yet acknowledged"""
    dropped: int
    """events dropped since the outbox was created"""
    in_flight: int
    """messages sent and not yet acknowledged"""
    last_refusal: str | None
    """why the broker refused the login or an event, one line; None once it accepts"""
    on_disk: bool
    """False while events wait in memory because the disk cannot be written"""
    set_aside: int
    """outboxes found damaged and set aside since the start"""
    commits: int
    """transactions written by the outbox since the start"""
    commands_refused: int
    """messages to this device that were no command"""


class EventPublisher(Protocol):
    """Publishes events and retained messages. Only `drain` and `stop` wait for the network."""

    def start(self) -> None:
        """Start to connect; returns at once, with or without a broker."""

    def publish_events(self, events: Sequence[EmotionEvent]) -> list[int]:
        """Store the events of one frame, to be sent as soon as possible; return the ``seq`` that each was given.

        Raises `DeliveryError`: none of them could be stored.
        """

    def publish_state(self, state: State) -> None:
        """Publish who is in view; after an outage only the newest is sent."""

    def publish_health(self, health: Health) -> None:
        """Publish the device's health; after an outage only the newest is sent."""

    def publish_privacy(self, privacy: Privacy) -> None:
        """Publish whether the camera is closed for privacy."""

    def take_commands(self) -> list[PrivacyCommand]:
        """Return the commands that have come since the last call, oldest first."""

    def watch(self, pulse: Callable[[], object]) -> None:
        """Have the thread that talks to the broker call this after each turn of its loop."""

    def publish_status(self) -> None:
        """Publish the status again: the model has changed."""

    def drain(self, timeout_s: float) -> bool:
        """Wait until every stored event is acknowledged; return False if the timeout came first."""

    def stop(self, timeout_s: float) -> bool:
        """Publish ``stopped`` and disconnect; return True if the broker acknowledged it in time."""

    def stats(self) -> PublisherStats:
        """Return the state of delivery."""
