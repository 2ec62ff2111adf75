"""Publishes over MQTT: events at least once and in order, and the newest retained message of each topic."""

from collections.abc import Callable, Sequence

import msgspec

from edge.backoff import Backoff
from edge.clock import Clock, SystemClock, utc_time
from edge.events.payloads import CameraState, EmotionEvent, Health, Privacy, PrivacyCommand, State, Status, StatusName
from edge.mqtt.address import broker_address
from edge.mqtt.commands import Inbox
from edge.mqtt.connection import Message
from edge.mqtt.interface import PublisherStats
from edge.mqtt.name_guard import NameGuard
from edge.mqtt.outbox import Outbox
from edge.mqtt.sender import Greet, Retain, Sender, Stop, Stored
from edge.mqtt.topics import Topics
from edge.settings import MqttSettings

STOP_LIMIT_S = 5.0
"""Seconds after a stop's timeout at which its thread is no longer waited for: it hangs, in a driver or on a card."""


class Publisher:
    """The `edge.mqtt.interface.EventPublisher` of a device.

    An event is in the outbox when `publish_events` returns and leaves it when the broker has acknowledged it. Retained
    messages (state, health, privacy, announcements) are sent again on every connection, the newest of each topic;
    the status follows them: a subscriber that reads ``online`` finds no message of an earlier connection.

    ``device``: its name in the topics, checked by the settings.
    ``outbox``: where events wait; the caller closes it after `stop`.
    ``model``: returns the name of the model that runs now: bundle name and short hash.
    ``client_id``: another device with the same name must have another one; None: made of the name alone.
    ``birth_topic``: where Home Assistant says ``online`` when it starts: every retained message is then sent again.
    ``announcements``: more retained messages to publish on each connection, such as Home Assistant's discovery.
    Raises `ConfigError`: the password file or a certificate file cannot be used.
    """

    def __init__(
        self,
        settings: MqttSettings,
        device: str,
        outbox: Outbox,
        *,
        boot: str,
        version: str,
        model: Callable[[], str],
        client_id: str | None = None,
        birth_topic: str | None = None,
        announcements: Sequence[Message] = (),
        backoff: Backoff | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._outbox = outbox
        self._topics = Topics(device)
        self._boot, self._version, self._model = boot, version, model
        self._client_id = client_id or f"emotion-edge-{device}"
        self._inbox = Inbox()
        self._camera: CameraState = "starting"
        self._clock = clock or SystemClock()
        self._sender = Sender(
            broker_address(settings),
            name=NameGuard(self._client_id, boot),
            will=lambda: self._status("offline", at=None),
            topics=self._topics,
            birth_topic=birth_topic,
            on_command=self._inbox.put,
            greeting=lambda: self._status("online", at=utc_time()),
            outbox=outbox,
            refuse_anonymous=settings.refuse_anonymous,
            commit_interval_s=settings.outbox_commit_s,
            backoff=backoff or Backoff(),
            clock=self._clock,
        )
        for message in announcements:
            self._sender.post(Retain(message))
        self.publish_state(_nobody(self._camera))

    def start(self) -> None:
        """Start to connect; returns at once."""
        self._sender.start()

    def publish_events(self, events: Sequence[EmotionEvent]) -> list[int]:
        """Store events in one write, to be sent as soon as possible; return the ``seq`` that each was given.

        Raises `DeliveryError`: they could not be stored, none of them.
        """
        seqs = self._outbox.append(events)
        self._sender.post(Stored())
        return seqs

    def publish_state(self, state: State) -> None:
        """Publish who is in view, retained."""
        self._camera = state.camera
        self._retain(self._topics.state, state)

    def publish_health(self, health: Health) -> None:
        """Publish the device's health, retained."""
        self._retain(self._topics.health, health)

    def publish_privacy(self, privacy: Privacy) -> None:
        """Publish whether the camera is closed for privacy, retained."""
        self._retain(self._topics.privacy_state, privacy)

    def take_commands(self) -> list[PrivacyCommand]:
        """Return the commands that have come since the last call, oldest first."""
        return self._inbox.take()

    def watch(self, pulse: Callable[[], object]) -> None:
        """Have the sender's thread call this after each turn of its loop, every few seconds at least."""
        self._sender.on_turn = pulse

    def publish_status(self) -> None:
        """Publish the status again: the model has changed."""
        self._sender.post(Greet())

    def drain(self, timeout_s: float) -> bool:
        """Wait until every stored event is acknowledged; return False if the timeout came first."""
        with self._sender.progress:
            return self._sender.progress.wait_for(lambda: self._outbox.depth == 0, timeout_s)

    def stop(self, timeout_s: float) -> bool:
        """Publish an empty state and ``stopped``, then disconnect; return True if the broker acknowledged both in time.

        The state's camera is ``stopped``, or stays ``failed``. Events that are not acknowledged by then stay in the
        outbox for the next start. Without a connection it returns at once, and in any case `STOP_LIMIT_S`
        after its timeout. May be called twice, and without `start`.
        """
        if not self._sender.alive:
            return self._sender.stopped_cleanly
        camera: CameraState = "failed" if self._camera == "failed" else "stopped"
        state = Message(self._topics.state, msgspec.json.encode(_nobody(camera)), retain=True)
        final_messages = (state, self._status("stopped", at=utc_time()))
        self._sender.post(Stop(final_messages, deadline=self._clock.monotonic() + timeout_s))
        self._sender.join(timeout_s + STOP_LIMIT_S)
        return self._sender.stopped_cleanly

    def stats(self) -> PublisherStats:
        """Return the state of delivery."""
        return PublisherStats(
            connected=self._sender.connected,
            reconnects=max(0, self._sender.connections - 1),
            depth=self._outbox.depth,
            dropped=self._outbox.dropped,
            in_flight=self._sender.in_flight,
            last_refusal=self._sender.last_refusal,
            on_disk=self._outbox.on_disk,
            set_aside=self._outbox.set_aside,
            commits=self._outbox.commits,
            commands_refused=self._inbox.refused,
        )

    def _retain(self, topic: str, payload: msgspec.Struct) -> None:
        self._sender.post(Retain(Message(topic, msgspec.json.encode(payload), retain=True)))

    def _status(self, state: StatusName, *, at: str | None) -> Message:
        status = Status(
            state=state, boot=self._boot, version=self._version, model=self._model(), time=at, client=self._client_id
        )  # fmt: skip
        return Message(self._topics.status, msgspec.json.encode(status), retain=True)


def _nobody(camera: CameraState) -> State:
    return State(faces=[], emotion=None, time=utc_time(), camera=camera)
