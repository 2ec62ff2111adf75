"""A network that is stuck, rather than broken, is given up and tried again."""

import logging
import socket
import threading
from typing import Any

import msgspec
import pytest
from paho.mqtt import client as paho
from paho.mqtt.enums import MQTTErrorCode, MQTTProtocolVersion

from edge.backoff import Backoff
from edge.clock import SystemClock
from edge.mqtt.address import broker_address
from edge.mqtt.client import Client
from edge.mqtt.connection import Connected, Connection, Notice, Opened, Subscribed
from edge.mqtt.outbox import Outbox
from edge.mqtt.publisher import Publisher
from edge.mqtt.reasons import Ending, Kind
from edge.settings import MqttSettings
from tests.edge.mqtt.test_publisher import listening, publishing, seqs
from tests.fakes.clock import FakeClock
from tests.fakes.mosquitto import Mosquitto, free_port
from tests.fakes.payloads import EVENT
from tests.fakes.waiting import wait_for

V5, V311 = MQTTProtocolVersion.MQTTv5, MQTTProtocolVersion.MQTTv311


class SkippingClock(SystemClock):
    """Runs as the machine's does, and is moved on by a test."""

    def __init__(self) -> None:
        self._skipped_s = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self._skipped_s

    def skip(self, seconds: float) -> None:
        self._skipped_s += seconds


class FakeConnection:
    """The part of a `Connection` that is asked whether it works."""

    def __init__(self) -> None:
        self.protocol = V5
        self.stuck = self.ended = False
        self.asked = 0

    def is_stuck(self) -> bool:
        return self.stuck

    def open(self) -> None:
        pass

    def abandon(self, timeout_s: float) -> bool:
        return True

    def has_ended(self) -> bool:
        self.asked += 1
        return self.ended


@pytest.fixture
def clock() -> SkippingClock:
    return SkippingClock()


def trusting(broker: Mosquitto) -> MqttSettings:
    """Log in at once, without a visit as nobody."""
    return msgspec.structs.replace(broker.settings(), refuse_anonymous=False)


def logins(broker: Mosquitto) -> int:
    return broker.log.read_text().count("as emotion-edge-dev-1 ")


@pytest.mark.broker
def test_name_that_is_resolved_too_late_changes_nothing(
    mosquitto: Mosquitto,
    outbox: Outbox,
    clock: SkippingClock,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mosquitto.start()
    resolve, asked, answered = socket.getaddrinfo, threading.Event(), threading.Event()
    late: list[threading.Thread] = []

    def hang_once(*arguments: Any, **more: Any) -> Any:
        if not late:
            late.append(threading.current_thread())
            asked.set()
            answered.wait(60)
        return resolve(*arguments, **more)

    monkeypatch.setattr(socket, "getaddrinfo", hang_once)
    with publishing(trusting(mosquitto), outbox, clock=clock) as publisher:
        assert asked.wait(30)
        clock.skip(31)
        publisher.publish_events([EVENT])
        assert publisher.drain(30)
        assert "is not reachable (no answer)" in caplog.text
        answered.set()
        late[0].join(30)
        publisher.publish_events([EVENT])
        assert publisher.drain(30)
        assert publisher.stats().reconnects == 0
    assert logins(mosquitto) == 1, "a second one would have thrown out the first"


@pytest.mark.broker
def test_broker_that_acknowledges_nothing_is_left_for_a_while(
    mosquitto: Mosquitto, outbox: Outbox, clock: SkippingClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    mosquitto.start()
    with (
        listening(mosquitto) as subscriber,
        publishing(trusting(mosquitto), outbox, clock=clock) as publisher,
    ):
        sender = publisher._sender
        wait_for(lambda: publisher.stats().connected and publisher.stats().in_flight == 0)
        mosquitto.pause()
        try:
            publisher.publish_events([EVENT] * 30)
            wait_for(lambda: publisher.stats().in_flight == 20)
            clock.skip(59)
            publisher.publish_events([EVENT])
            assert publisher.stats().connected
            clock.skip(2)
            publisher.publish_events([EVENT])
            wait_for(lambda: not publisher.stats().connected)
            wait_for(lambda: sender._connection is not None and sender._when_missed.kind is Kind.OTHER_VERSION)
            clock.skip(5)
            publisher.publish_events([EVENT])
            assert sender._protocol is V5
        finally:
            mosquitto.resume()
        assert publisher.drain(30)
        messages = subscriber.wait(lambda messages: 33 in seqs(messages))
    assert list(dict.fromkeys(seqs(messages))) == list(range(1, 34))
    assert "is gone (no acknowledgement for 60 s)" in caplog.text
    assert caplog.text.count("(MQTT 5)") == 2
    assert "3.1.1" not in caplog.text


@pytest.mark.broker
def test_a_connection_whose_thread_is_stuck_is_replaced(
    mosquitto: Mosquitto, outbox: Outbox, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    mosquitto.start()
    look, hang, hangs, let_go = paho.Client.loop_misc, threading.Event(), threading.Event(), threading.Event()

    def hang_once(client: paho.Client) -> MQTTErrorCode:
        if hang.is_set() and not hangs.is_set():
            hangs.set()
            let_go.wait(60)
        return look(client)

    monkeypatch.setattr(paho.Client, "loop_misc", hang_once)
    with publishing(mosquitto.settings(), outbox) as publisher:
        wait_for(lambda: publisher.stats().connected)
        link = publisher._sender._connection
        assert link is not None
        hang.set()
        assert hangs.wait(30)
        assert not link.is_stuck(), "for a moment only"
        link._client._last_loop_s = float("-inf")
        publisher.publish_events([EVENT])
        try:
            assert publisher.drain(30)
        finally:
            let_go.set()
        wait_for(link.has_ended)
    assert "is gone (the thread that talks to it is stuck)" in caplog.text


def test_sender_with_stuck_threads_does_not_count_as_alive(
    outbox: Outbox, mosquitto: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.mqtt.sender._TURN_S", 0.01)
    beats: list[float] = []
    publisher = Publisher(mosquitto.settings(), "dev-1", outbox, boot="b", version="1", model=lambda: "m")
    left = [FakeConnection() for _ in range(4)]
    publisher._sender._abandoned = list(left)  # type: ignore[arg-type]  # the part of it that is asked
    publisher.watch(lambda: beats.append(1.0))
    publisher.start()
    wait_for(lambda: left[0].asked > 20)
    assert beats == []
    left[0].ended = True
    wait_for(lambda: beats)
    publisher.stop(0)


class PatientClient(Client):
    """Speaks to a `FakeConnection`, and notes why it was given up."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(broker_address(MqttSettings()), backoff=Backoff(), clock=clock)
        self.clock = clock
        self.link = FakeConnection()
        self.missed: list[Kind] = []
        self._connect()

    def _new_connection(self) -> Connection:
        self.link = FakeConnection()
        self.link.protocol = self._protocol
        return self.link  # type: ignore[return-value]  # the part of it that is asked

    def _on_notice(self, notice: Notice) -> None:
        if isinstance(notice, Connected):
            self._accept(notice)
        else:
            self._answer_due = None

    def _on_ended(self, ending: Ending) -> None:
        self.missed.append(ending.kind)
        self._drop_connection(retry_in_s=0.0)

    def hear(self, notice: Any) -> None:
        self._handle(notice(self.link))

    def lasts(self, seconds: float) -> bool:
        """Return True if the connection is the same after this time."""
        link = self.link
        self.clock.pass_time(seconds)
        self._check_deadlines()
        return link is self.link


def test_each_answer_is_waited_for_as_long_as_is_due() -> None:
    client = PatientClient(FakeClock())

    def connected(link: Any) -> Connected:
        return Connected(link, 20)

    assert (client.lasts(29), client.lasts(1), client.missed) == (True, False, [Kind.UNREACHABLE])
    client.hear(Opened)
    assert (client.lasts(1.5), client.lasts(0.5), client.link.protocol) == (True, False, V311)
    client.hear(Opened)
    assert (client.lasts(9), client.lasts(1), client.missed.pop()) == (True, False, Kind.OTHER_VERSION)
    client.hear(connected)
    assert (client.lasts(59), client.lasts(1), client.missed.pop()) == (True, False, Kind.LOST)
    client.hear(Opened)
    client.hear(connected)
    client.hear(Subscribed)
    assert client.lasts(1000)
    client.link.stuck = True
    assert (client.lasts(0), client.missed.pop()) == (False, Kind.LOST)
    client.hear(Opened)
    assert (client.lasts(9), client.lasts(1)) == (True, False), "it has spoken MQTT 5 before"


def test_stop_does_not_wait_for_a_sender_that_hangs(outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.mqtt.publisher.STOP_LIMIT_S", 0.1)
    hangs, let_go = threading.Event(), threading.Event()

    def hang() -> None:
        hangs.set()
        let_go.wait(60)

    settings = MqttSettings(url=f"mqtt://127.0.0.1:{free_port()}")
    publisher = Publisher(settings, "dev-1", outbox, boot="b", version="1", model=lambda: "m")
    publisher.watch(hang)
    publisher.start()
    assert hangs.wait(30)
    try:
        assert not publisher.stop(0)
    finally:
        let_go.set()
    assert not publisher.stop(10), "it has ended since"
