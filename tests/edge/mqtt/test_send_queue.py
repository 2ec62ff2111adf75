"""What is sent, in which order, and what a later connection sends again."""

from edge.mqtt.connection import Message
from edge.mqtt.outbox import Outbox
from edge.mqtt.send_queue import SendQueue
from tests.fakes.clock import FakeClock
from tests.fakes.outbox import EVENT


class FakeConnection:
    """Takes messages, unless it is broken."""

    def __init__(self) -> None:
        self.broken = False
        self.taken: list[Message] = []

    def publish(self, message: Message) -> int | None:
        if self.broken:
            return None
        self.taken.append(message)
        return len(self.taken)


def a_queue(outbox: Outbox, clock: FakeClock) -> SendQueue:
    return SendQueue(event_topic="event", outbox=outbox, commit_interval_s=0, clock=clock, log_once=lambda *_: None)


def test_greeting_follows_retained_messages_and_precedes_events(outbox: Outbox) -> None:
    queue, connection = a_queue(outbox, FakeClock()), FakeConnection()
    outbox.append([EVENT])
    for topic in ("discovery", "state"):
        queue.retain(Message(topic, b"{}", retain=True))
    queue.start_connection(Message("status", b"online", retain=True))
    queue.retain(Message("health", b"{}", retain=True))  # comes up while the connection is being greeted
    for window in (1, 2, 3, 4, 5):  # however slowly the broker acknowledges
        queue.send(connection, window, events=True)  # type: ignore[arg-type]  # the part of it that is used
    assert [message.topic for message in connection.taken] == ["discovery", "state", "health", "status", "event"]


def test_last_words_not_taken_by_the_connection_are_not_sent(outbox: Outbox) -> None:
    clock, link = FakeClock(), FakeConnection()
    out = a_queue(outbox, clock)
    words = tuple(Message(topic, b"{}", retain=True) for topic in ("state", "status"))
    out.finish_with(words)
    link.broken = True
    out.send(link, 20, events=False)  # type: ignore[arg-type]  # the part of it that is used
    assert not out.all_acknowledged
    link.broken = False
    out.send(link, 20, events=False)  # type: ignore[arg-type]
    assert link.taken == list(words), "in their order, and once"
    assert not out.all_acknowledged
    clock.pass_time(5)
    assert out.oldest_wait_s() == 5
    for mid in (1, 2):
        out.take_answered(mid)
    assert out.all_acknowledged
    assert out.oldest_wait_s() == 0
