"""The thread that talks to the broker: connects, has everything sent, takes what comes back, and begins again."""

import contextlib
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from queue import Empty, SimpleQueue

from paho.mqtt.enums import MQTTProtocolVersion

from edge.backoff import Attempts, Backoff
from edge.clock import Clock
from edge.mqtt.address import BrokerAddress
from edge.mqtt.connection import (
    SAME_NAME,
    Acknowledged,
    Arrived,
    Connected,
    ConnectionTimeouts,
    Ended,
    Link,
    Message,
    Notice,
    Opened,
    SubscribeRefused,
)
from edge.mqtt.outbox import Outbox
from edge.mqtt.reasons import Ending, Kind
from edge.mqtt.send_queue import SendQueue


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


_LOG = logging.getLogger(__name__)
_GOODBYE_S = 1.0  # for the broker to close its side after a DISCONNECT
_ANYBODY = (
    "it lets anybody in without a password, though mqtt.password_file is set: set allow_anonymous false in the broker, "
    "or mqtt.refuse_anonymous = false here"
)
_TURN_S = 5.0  # a turn of the loop at least this often, to show that it turns
_SUSPICIOUS = 3  # connections lost early, in a row: a broker may throw a device out without saying why
_MOST_STUCK = 3
"""Threads of connections that were given up and do not end, at most; with more, the sender does not count as alive."""


class Sender:
    """Owns the connection; everything reaches it through `post`, so nothing here needs a lock.

    Parameters
    ----------
    address, client_id, will
        For each connection.
    command_topic, on_command
        Where commands come from, and who takes them: payload, and whether it was retained; must not wait.
    greeting
        Makes the message that goes out first on each connection.
    event_topic
        Where events go.
    outbox
        Where they wait.
    backoff
        Waits between attempts.
    clock
        Times all of this.
    gather_s
        For how long acknowledgements are gathered before they are noted.
    refuse_anonymous
        Visit the broker as nobody first, and refuse it where it lets nobody in: whoever wants a password checked
        has set one, and a broker that takes anybody's events takes anybody's commands to this device too.
    """

    def __init__(
        self,
        address: BrokerAddress,
        *,
        client_id: str,
        will: Callable[[], Message],
        command_topic: str,
        on_command: Callable[[bytes, bool], None],
        greeting: Callable[[], Message],
        event_topic: str,
        outbox: Outbox,
        backoff: Backoff,
        clock: Clock,
        gather_s: float = 0.0,
        refuse_anonymous: bool = False,
    ) -> None:
        self._address = address
        self._client_id = client_id
        self._will = will
        self._command_topic = command_topic
        self._on_command = on_command
        self._greeting = greeting
        self._out = SendQueue(event_topic=event_topic, outbox=outbox, gather_s=gather_s, clock=clock, say=self._say)
        self._clock = clock
        self._attempts = Attempts(backoff, clock)
        self._patience = ConnectionTimeouts(clock)
        self._probing = refuse_anonymous and address.password is not None
        self._mailbox: SimpleQueue[Mail] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="mqtt-sender", daemon=True)

        self._link: Link | None = None
        self._given_up: list[Link] = []
        self._protocol = MQTTProtocolVersion.MQTTv5
        self._window = 0
        self._retry_at: float | None = None
        self._said: set[str] = set()
        self._stop: Stop | None = None

        self._login_refusal: str | None = None
        self._event_refusal: str | None = None

        # Written by this thread, read by any.
        self.progress = threading.Condition()
        self.connections = 0
        self.on_turn: Callable[[], object] = lambda: None
        """called by the thread each time that it has done all there was to do"""
        self.said_goodbye = False

    @property
    def connected(self) -> bool:
        """Whether the broker has taken us in."""
        return self._window > 0

    @property
    def in_flight(self) -> int:
        """Messages sent and not yet acknowledged."""
        return self._out.in_flight

    @property
    def last_refusal(self) -> str | None:
        """Why the broker refuses the login or the events; None once it accepts."""
        return self._login_refusal or self._event_refusal

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Start the thread, which tries to connect at once."""
        self._thread.start()

    def post(self, mail: Mail) -> None:
        """Hand something over; from any thread, never waits."""
        self._mailbox.put(mail)

    def join(self) -> None:
        """Wait for the thread, which ends after a `Stop`, soon after its deadline at the latest."""
        self._thread.join()

    def _run(self) -> None:
        self._connect()
        while not self._is_over():
            self._take(self._next())
            with contextlib.suppress(Empty):
                while True:
                    self._take(self._mailbox.get_nowait())
            if self._out.note_acknowledged(at_once=self._stop is not None):
                with self.progress:
                    self.progress.notify_all()
            if self._link is not None:
                self._out.send(self._link, self._window, events=self._stop is None)
            self._keep_appointments()
            if len(self._given_up) <= _MOST_STUCK:
                self.on_turn()
        self._say_goodbye()
        with self.progress:
            self.progress.notify_all()

    def _next(self) -> Mail:
        """Wait for mail; nothing in the mailbox when a moment has come is an empty `Stored`."""
        moments = [at for at in (self._retry_at, self._patience.ends_at, self._out.note_at) if at is not None]
        if self._stop is not None:
            moments.append(self._stop.deadline)
        timeout_s = min(_TURN_S, max(0.0, min(moments) - self._clock.monotonic())) if moments else _TURN_S
        try:
            return self._mailbox.get(timeout=timeout_s)
        except Empty:
            return Stored()

    def _take(self, mail: Mail) -> None:  # one case a kind of mail
        match mail:
            case Retain(message) if self._stop is None:
                self._out.retain(message)
            case Greet() if self._stop is None and self.connected:
                self._out.add(self._greeting())
            case Stop():
                self._stop = mail
                self._out.end_with(mail.last_words)
            case Opened(link) if link is self._link:
                self._patience.opened(link.protocol)
            case Connected(link, in_flight) if link is self._link:
                self._on_connected(link, in_flight)
            case Acknowledged(link, mid, refusal) if link is self._link:
                self._on_acknowledged(mid, refusal)
            case Arrived(link, payload, retained) if link is self._link:
                self._on_command(payload, retained)
            case SubscribeRefused(link, refusal) if link is self._link:
                line = f"broker {self._address.shown} lets no commands through ({refusal}): check its access list"
                self._say(logging.WARNING, line)
            case Ended(link, ending) if link is self._link:
                self._on_ended(ending)

    def _keep_appointments(self) -> None:
        self._given_up = [link for link in self._given_up if not link.has_ended()]
        link, waits_s = self._link, self._out.waits_s()
        if link is not None and (ending := self._patience.overdue(link, waits_s=waits_s)) is not None:
            self._give_up(link)
            self._on_ended(ending)
        if self._retry_at is not None and self._retry_at <= self._clock.monotonic():
            self._connect()

    def _give_up(self, link: Link) -> None:
        if link.abandon(_GOODBYE_S):
            return
        self._given_up.append(link)
        if len(self._given_up) > _MOST_STUCK:
            self._say(logging.ERROR, f"more than {_MOST_STUCK} threads of connections that were given up do not end")

    def _connect(self) -> None:
        self._retry_at = None
        probing = self._probing
        self._link = Link(
            self._address.without_login() if probing else self._address,
            client_id=f"{self._client_id}-nobody" if probing else self._client_id,
            will=None if probing else self._will(),
            command_topic=None if probing else self._command_topic,
            protocol=self._protocol,
            report=self._mailbox.put,
        )
        self._patience.begin()
        self._link.open()

    def _on_connected(self, link: Link, in_flight: int) -> None:
        if self._probing:
            self._give_up(link)
            self._on_ended(Ending(Kind.REFUSED, _ANYBODY))
            return
        self._patience.connected(link.protocol)
        self._attempts.connected()
        self._login_refusal = None
        self.connections += 1
        _LOG.info("connected to broker %s (%s)", self._address.shown, link.version)
        if self._stop is None:
            self._out.begin(self._greeting())
        self._window = in_flight  # last: whoever sees it sees the rest

    def _on_acknowledged(self, mid: int, refusal: str | None) -> None:
        seq = self._out.take_back(mid)
        if refusal is not None:
            self._on_refused(refusal, is_event=seq is not None)
        elif seq is not None:
            self._out.acknowledged(seq)
            if self._event_refusal is not None:
                self._event_refusal = None
                self._said.clear()

    def _on_refused(self, refusal: str, *, is_event: bool) -> None:
        """React to a message that the broker does not take; only MQTT 5 brokers say so."""
        what = "events" if is_event else "a retained message"
        line = f"broker {self._address.shown} does not take {what} ({refusal}): check its access list"
        if is_event and self._link is not None:
            # Going on would break the order: what was refused is sent again, first, after a long pause.
            self._give_up(self._link)
            self._retry_later(refused=True)
            self._event_refusal = refusal
        self._say(logging.ERROR, line)

    def _on_ended(self, ending: Ending) -> None:
        if ending.kind is Kind.OTHER_VERSION and self._protocol is MQTTProtocolVersion.MQTTv5:
            self._forget_link(retry_in_s=0.0)
            self._protocol = MQTTProtocolVersion.MQTTv311
            return
        if self._probing and ending.kind in {Kind.REFUSED, Kind.OTHER_VERSION} and ending.reason != _ANYBODY:
            self._probing = False  # as it should be: nobody is not let in, be it with a word or without
            self._forget_link(retry_in_s=0.0)
            return
        refused = ending.kind is Kind.REFUSED
        self._retry_later(refused=refused)
        self._login_refusal = ending.reason if refused else self._login_refusal
        if ending.reason == _ANYBODY:
            self._say(logging.ERROR, f"broker {self._address.shown} is refused: {_ANYBODY}; events are kept")
            return
        what = {Kind.REFUSED: "refuses the login", Kind.LOST: "is gone"}.get(ending.kind, "is not reachable")
        line = f"broker {self._address.shown} {what} ({ending.reason}); retrying, events are kept"
        self._say(logging.ERROR if refused else logging.WARNING, line)
        if ending.kind is Kind.LOST and self._attempts.lost_early >= _SUSPICIOUS:
            self._say(logging.WARNING, f"{_SUSPICIOUS} connections in a row were lost within a minute: {SAME_NAME}")

    def _retry_later(self, *, refused: bool) -> None:
        """Wait as long as is due; what was said before a connection that held may be said again."""
        if self._attempts.has_held() and self._event_refusal is None:
            self._said.clear()
        self._forget_link(retry_in_s=self._attempts.failed(refused=refused))

    def _forget_link(self, *, retry_in_s: float) -> None:
        """Forget what was under way: the next connection begins anew, with MQTT 5 and the oldest event."""
        self._link = None
        self._patience.over()
        self._window = 0
        self._out.forget_sent()
        self._protocol = MQTTProtocolVersion.MQTTv5
        self._retry_at = self._clock.monotonic() + retry_in_s

    def _say(self, level: int, line: str) -> None:
        if line not in self._said:
            self._said.add(line)
            _LOG.log(level, "%s", line)

    def _is_over(self) -> bool:
        if self._stop is None:
            return False
        waiting = self._retry_at is not None
        said_all = self.connected and self._out.said_all
        return waiting or said_all or self._stop.deadline <= self._clock.monotonic()

    def _say_goodbye(self) -> None:
        """Disconnect, so that the broker forgets the will, and end paho's thread."""
        link, stop = self._link, self._stop
        if link is None or stop is None:
            return
        self.said_goodbye = self.connected and self._out.said_all
        link.close()
        until = max(stop.deadline, self._clock.monotonic() + _GOODBYE_S)
        with contextlib.suppress(Empty):
            while True:
                mail = self._mailbox.get(timeout=max(0.0, until - self._clock.monotonic()))
                if isinstance(mail, Ended) and mail.link is link:
                    break
        link.abandon(_GOODBYE_S)
        self._link, self._window = None, 0
