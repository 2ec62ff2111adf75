"""What is still to be said is said by a later connection, if this one does not take it."""

from edge.mqtt.connection import Message
from edge.mqtt.outbox import Outbox
from edge.mqtt.send_queue import SendQueue
from tests.fakes.clock import FakeClock


class FakeLink:
    """Takes messages, unless it is broken."""

    def __init__(self) -> None:
        self.broken = False
        self.taken: list[Message] = []

    def publish(self, message: Message) -> int | None:
        if self.broken:
            return None
        self.taken.append(message)
        return len(self.taken)


def test_last_words_that_the_connection_does_not_take_are_not_said(outbox: Outbox) -> None:
    clock, link = FakeClock(), FakeLink()
    out = SendQueue(event_topic="event", outbox=outbox, gather_s=0, clock=clock, say=lambda *_: None)
    words = tuple(Message(topic, b"{}", retain=True) for topic in ("state", "status"))
    out.end_with(words)
    link.broken = True
    out.send(link, 20, events=False)  # type: ignore[arg-type]  # the part of it that is used
    assert not out.said_all
    link.broken = False
    out.send(link, 20, events=False)  # type: ignore[arg-type]
    assert link.taken == list(words), "in their order, and once"
    assert not out.said_all
    clock.pass_time(5)
    assert out.waits_s() == 5
    for mid in (1, 2):
        out.take_back(mid)
    assert out.said_all
    assert out.waits_s() == 0
