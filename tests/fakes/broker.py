"""A publisher that records what it is given; it stands for the outbox, the connection and the broker."""

from collections.abc import Callable, Sequence

import msgspec

from edge.events.payloads import EmotionEvent, Health, Privacy, PrivacyCommand, State
from edge.mqtt.interface import PublisherStats


class FakePublisher:
    """An `edge.mqtt.interface.EventPublisher` whose broker acknowledges at once, unless `acknowledges` is False."""

    def __init__(self, *, acknowledges: bool = True) -> None:
        self.acknowledges = acknowledges
        self.started = False
        self.stopped = False
        self.events: list[EmotionEvent] = []
        self.batches: list[int] = []
        self.states: list[State] = []
        self.healths: list[Health] = []
        self.privacies: list[Privacy] = []
        self.commands: list[PrivacyCommand] = []
        self.pulse: Callable[[], object] | None = None
        self.statuses = 0

    def start(self) -> None:
        self.started = True

    def publish_events(self, events: Sequence[EmotionEvent]) -> list[int]:
        first = len(self.events) + 1
        self.events += [msgspec.structs.replace(event, seq=seq) for seq, event in enumerate(events, first)]
        self.batches.append(len(events))
        return [event.seq for event in self.events[first - 1 :]]

    def publish_state(self, state: State) -> None:
        self.states.append(state)

    def publish_health(self, health: Health) -> None:
        self.healths.append(health)

    def publish_privacy(self, privacy: Privacy) -> None:
        self.privacies.append(privacy)

    def take_commands(self) -> list[PrivacyCommand]:
        taken, self.commands = self.commands, []
        return taken

    def watch(self, pulse: Callable[[], object]) -> None:
        self.pulse = pulse

    def publish_status(self) -> None:
        self.statuses += 1

    def drain(self, timeout_s: float) -> bool:
        return self.acknowledges or not self.events

    def stop(self, timeout_s: float) -> bool:
        self.stopped = True
        return self.acknowledges

    def stats(self) -> PublisherStats:
        return PublisherStats(
            connected=self.started and not self.stopped and self.acknowledges,
            reconnects=0,
            depth=0 if self.acknowledges else len(self.events),
            dropped=0,
            in_flight=0,
            last_refusal=None,
            on_disk=True,
            set_aside=0,
            commits=len(self.batches),
            commands_refused=0,
        )
