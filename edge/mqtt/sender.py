"""The thread that talks to the broker: it connects, sends, handles what comes back, and connects again."""

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
    GOODBYE_S,
    SAME_NAME,
    Acknowledged,
    Arrived,
    Connected,
    Connection,
    ConnectionTimeouts,
    Ended,
    Message,
    Notice,
    Opened,
    Subscribed,
    SubscribeRefused,
    Subscription,
    disconnect,
)
from edge.mqtt.name_guard import HOLD_S, NameGuard, Verdict
from edge.mqtt.outbox import Outbox
from edge.mqtt.reasons import Ending, Kind
from edge.mqtt.send_queue import SendQueue, Sent


@dataclass(frozen=True, slots=True)
class Retain:
    """Publish a retained message now and on each new connection; it replaces an older one of its topic."""

    message: Message


@dataclass(frozen=True, slots=True)
class Greet:
    """Publish the greeting again: its content has changed."""


@dataclass(frozen=True, slots=True)
class Stored:
    """There are new events in the outbox."""


@dataclass(frozen=True, slots=True)
class Stop:
    """Send these retained messages as the last ones, then disconnect."""

    final_messages: tuple[Message, ...]
    deadline: float
    """of clock.monotonic()"""


Mail = Notice | Retain | Greet | Stored | Stop

_LOG = logging.getLogger(__name__)
_TURN_S = 5.0  # the loop turns at least this often, to show that the thread is alive
_EARLY_LOSSES = 3
"""Connections lost early, in a row, before a hint is logged: a broker may close one of two equal clients silently."""
BIRTH_DELAY_S = 5.0
"""Longest wait after Home Assistant's birth message, so that a fleet does not answer all at once."""
_MAX_STUCK = 3
"""Threads of abandoned connections that may be stuck; with more, the sender no longer counts as alive."""
_ANONYMOUS = Ending(
    Kind.ANONYMOUS,
    "it lets anybody in without a password, though mqtt.password_file is set: set allow_anonymous false in the broker, "
    "or mqtt.refuse_anonymous = false here",
)


class Sender:
    """Owns the connection. Everything reaches it through `post`, so nothing in here needs a lock.

    ``name``: this device's client id and boot, and what is known of other devices with its name.
    ``will``: returns the message that the broker publishes if a connection is lost.
    ``status_topic``: where this device, and any other with its name, says that it is online.
    ``birth_topic``: where Home Assistant says ``online`` when it starts; None: not listened to.
    ``command_topic``, ``on_command``: topic of the commands, and their receiver: payload, and whether it was retained.
    It must not block.
    ``greeting``: returns the message that ends the retained ones on each connection: it says ``online``.
    ``commit_interval_s``: seconds for which acknowledgements are gathered before they are written to the outbox
    together.
    ``refuse_anonymous``: log in without a password first, and refuse a broker that accepts it. Whoever sets a password
    wants it checked; a broker that checks none also accepts anybody's commands to this device.
    """

    def __init__(
        self,
        address: BrokerAddress,
        *,
        name: NameGuard,
        will: Callable[[], Message],
        status_topic: str,
        birth_topic: str | None,
        command_topic: str,
        on_command: Callable[[bytes, bool], None],
        greeting: Callable[[], Message],
        event_topic: str,
        outbox: Outbox,
        backoff: Backoff,
        clock: Clock,
        commit_interval_s: float = 0.0,
        refuse_anonymous: bool = False,
    ) -> None:
        self._address = address
        self._name = name
        self._will = will
        self._status_topic, self._birth_topic, self._command_topic = status_topic, birth_topic, command_topic
        self._on_command = on_command
        self._greeting = greeting
        self._queue = SendQueue(
            event_topic=event_topic, outbox=outbox, commit_interval_s=commit_interval_s, clock=clock,
            log_once=self._log_once,
        )  # fmt: skip
        self._clock = clock
        self._backoff = backoff
        self._attempts = Attempts(backoff, clock)
        self._timeouts = ConnectionTimeouts(clock)
        self._probing = refuse_anonymous and address.password is not None
        self._mailbox: SimpleQueue[Mail] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="mqtt-sender", daemon=True)

        self._connection: Connection | None = None
        self._abandoned: list[Connection] = []
        self._protocol = MQTTProtocolVersion.MQTTv5
        self._window = 0
        self._allowed = 0  # what the window becomes once nobody else is online
        self._hold_until: float | None = None
        self._repeat_at: float | None = None
        self._refusal: Ending | None = None  # why this side is closing a connection
        self._retry_at: float | None = None
        self._logged: set[str] = set()
        self._stop: Stop | None = None

        self._login_refusal: str | None = None
        self._event_refusal: str | None = None

        # Written by this thread, read by any.
        self.progress = threading.Condition()
        """notified when acknowledged events have left the outbox, and when the thread ends"""
        self.connections = 0
        """accepted logins since the start"""
        self.on_turn: Callable[[], object] = lambda: None
        """called by the thread after each turn of its loop"""
        self.stopped_cleanly = False
        """True once the broker has acknowledged everything that `Stop` asked for"""

    @property
    def connected(self) -> bool:
        """True while the broker accepts messages."""
        return self._window > 0

    @property
    def in_flight(self) -> int:
        """Messages sent and not yet acknowledged."""
        return self._queue.in_flight

    @property
    def last_refusal(self) -> str | None:
        """Why the broker refuses the login or the events; None once it accepts."""
        return self._login_refusal or self._event_refusal

    @property
    def alive(self) -> bool:
        """True while the thread runs."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Start the thread, which connects at once."""
        self._thread.start()

    def post(self, mail: Mail) -> None:
        """Put mail into the mailbox; from any thread, never blocks."""
        self._mailbox.put(mail)

    def join(self, timeout_s: float) -> None:
        """Wait for the thread, which ends after a `Stop`, at the latest soon after its deadline unless it hangs."""
        self._thread.join(timeout_s)

    def _run(self) -> None:
        self._connect()
        while not self._is_done():
            self._handle(self._wait_for_mail())
            with contextlib.suppress(Empty):
                while True:
                    self._handle(self._mailbox.get_nowait())
            if self._queue.commit_acknowledged(at_once=self._stop is not None):
                with self.progress:
                    self.progress.notify_all()
            self._check_deadlines()
            if self._connection is not None:
                self._queue.send(self._connection, self._window, events=self._stop is None)
            if len(self._abandoned) <= _MAX_STUCK:
                self.on_turn()
        self._disconnect()
        with self.progress:
            self.progress.notify_all()

    def _wait_for_mail(self) -> Mail:
        """Return the next mail; a timeout is reported as `Stored`, which does no harm."""
        moments = (
            self._retry_at, self._timeouts.deadline, self._queue.commit_at, self._hold_until, self._repeat_at
        )  # fmt: skip
        due = [at for at in moments if at is not None]
        if self._stop is not None:
            due.append(self._stop.deadline)
        timeout_s = min(_TURN_S, max(0.0, min(due) - self._clock.monotonic())) if due else _TURN_S
        try:
            return self._mailbox.get(timeout=timeout_s)
        except Empty:
            return Stored()

    def _handle(self, mail: Mail) -> None:
        """Act on one mail. Notices of an abandoned connection are ignored."""
        match mail:
            case Retain(message) if self._stop is None:
                self._queue.retain(message)
            case Greet() if self._stop is None and self.connected:
                self._queue.greet(self._greeting())
            case Stop():
                self._stop = mail
                self._queue.finish_with(mail.final_messages)
            case Opened() | Connected() | Subscribed() | Acknowledged() | Arrived() | SubscribeRefused() | Ended():
                if mail.connection is self._connection:
                    self._on_notice(mail)

    def _on_notice(self, notice: Notice) -> None:
        match notice:
            case Opened(connection):
                self._timeouts.opened(connection.protocol)
            case Connected(connection, in_flight):
                self._on_connected(connection, in_flight)
            case Subscribed():
                self._timeouts.subscribed()
                if self._name.other is None:
                    self._begin()
            case Acknowledged(_, mid, refusal):
                self._on_acknowledged(mid, refusal)
            case Arrived(_, topic, payload, retained):
                self._on_arrived(topic, payload, retained=retained)
            case SubscribeRefused(_, topic, refusal):
                line = f"does not let this device read {topic} ({refusal}): check its access list"
                self._log_once(logging.WARNING, f"broker {self._address.shown} {line}")
            case Ended(_, ending):
                self._on_ended(ending)

    def _check_deadlines(self) -> None:
        self._abandoned = [connection for connection in self._abandoned if not connection.has_ended()]
        connection, oldest_wait_s = self._connection, self._queue.oldest_wait_s()
        if connection is not None:
            ending = self._timeouts.missed(connection, oldest_wait_s=oldest_wait_s)
            if ending is not None:
                self._abandon(connection)
                self._on_ended(ending)
        now_s = self._clock.monotonic()
        if self._hold_until is not None and self._hold_until <= now_s:
            self._refuse_name()
        if self._repeat_at is not None and self._repeat_at <= now_s:
            self._repeat_at = None
            if self.connected and self._stop is None:
                self._queue.start_connection(self._greeting())
        if self._retry_at is not None and self._retry_at <= now_s:
            self._connect()

    def _abandon(self, connection: Connection) -> None:
        if connection.abandon(GOODBYE_S):
            return
        self._abandoned.append(connection)
        if len(self._abandoned) > _MAX_STUCK:
            self._log_once(logging.ERROR, f"more than {_MAX_STUCK} threads of abandoned connections do not end")

    def _connect(self) -> None:
        self._retry_at = None
        probing = self._probing
        self._connection = Connection(
            self._address.without_login() if probing else self._address,
            client_id=f"{self._name.client_id}-nobody" if probing else self._name.client_id,
            will=None if probing else self._will(),
            subscriptions=[] if probing else self._subscriptions(),
            protocol=self._protocol,
            report=self._mailbox.put,
        )
        self._name.start_connection()
        self._timeouts.attempt_started()
        self._connection.open()

    def _subscriptions(self) -> list[Subscription]:
        """Return what to listen to. The commands come last: their answer shows that the kept status has arrived."""
        topics = [Subscription(self._status_topic, retained=True)]
        topics += [] if self._birth_topic is None else [Subscription(self._birth_topic)]
        return [*topics, Subscription(self._command_topic)]

    def _on_connected(self, connection: Connection, in_flight: int) -> None:
        if self._probing:
            self._abandon(connection)
            self._on_ended(_ANONYMOUS)
            return
        self._timeouts.connected(connection.protocol)
        self._attempts.connected()
        self._allowed = in_flight
        silent = ", which does not say what its access list denies"
        hint = "" if connection.protocol is MQTTProtocolVersion.MQTTv5 else silent
        _LOG.info("connected to broker %s (%s%s)", self._address.shown, connection.version, hint)

    def _begin(self) -> None:
        """Publish: the broker has answered, and no other device is online with this name."""
        self._hold_until = None
        self._login_refusal = None
        self.connections += 1
        if self._stop is None:
            self._queue.start_connection(self._greeting())
        self._window = self._allowed  # last: `connected` is true from here on, and the rest must be set by then

    def _on_arrived(self, topic: str, payload: bytes, *, retained: bool) -> None:
        if topic == self._status_topic:
            self._on_status(payload, retained=retained)
        elif topic == self._birth_topic:
            if payload == b"online" and not retained:  # a kept one tells of an earlier start
                self._repeat(in_s=self._backoff.rng.uniform(0, BIRTH_DELAY_S))
        else:
            self._on_command(payload, retained)

    def _on_status(self, payload: bytes, *, retained: bool) -> None:
        """Give way to a device that was first; if this one was, repeat what the other has overwritten."""
        if self._stop is not None or self._refusal is not None:
            return
        match self._name.judge(payload, retained=retained):
            case Verdict.HOLD:
                self._window = 0
                self._hold_until = self._clock.monotonic() + HOLD_S
                line = "%s says that %s is online; waiting up to %.0f s in case it was cut off"
                _LOG.info(line, self._status_topic, self._name.other, HOLD_S)
            case Verdict.TAKEN:
                self._refuse_name()
            case Verdict.FREE if self._hold_until is not None:
                self._begin()
            case Verdict.REPEAT:
                self._repeat(in_s=self._backoff.delay_s(1))
                line = f"another client has published the status of {self._status_topic}: {SAME_NAME}"
                self._log_once(logging.WARNING, line)

    def _repeat(self, *, in_s: float) -> None:
        """Publish every retained message and the greeting again, soon."""
        if self._repeat_at is None:
            self._repeat_at = self._clock.monotonic() + in_s

    def _refuse_name(self) -> None:
        """End this connection with a DISCONNECT, so that its will does not say that the other device is offline."""
        self._hold_until, self._window = None, 0
        self._refusal = Ending(
            Kind.NAME_TAKEN,
            f"{self._status_topic} says that {self._name.other} is online, and this device is {self._name.client_id}: "
            "give one of them another `device`",
        )
        if self._connection is not None:
            self._connection.close()
        self._timeouts.closing()

    def _on_acknowledged(self, mid: int, refusal: str | None) -> None:
        sent = self._queue.take_answered(mid)
        if sent is None:
            return
        if refusal is not None:
            self._on_refused(sent, refusal)
        elif sent.seq is not None:
            self._queue.acknowledged(sent.seq)
            if self._event_refusal is not None:
                self._event_refusal = None
                self._logged.clear()

    def _on_refused(self, sent: Sent, refusal: str) -> None:
        """Handle a message that the broker refuses; only MQTT 5 brokers say so."""
        line = f"broker {self._address.shown} does not take {sent.topic} ({refusal}): check its access list"
        if sent.seq is not None and self._connection is not None:
            # Sending the next event would break the order: the refused one is sent again, first, after a long wait.
            self._abandon(self._connection)
            self._retry_later(refused=True)
            self._event_refusal = refusal
        self._log_once(logging.ERROR, line)

    def _on_ended(self, ending: Ending) -> None:
        ending, self._refusal = self._refusal or ending, None
        if ending.kind is Kind.OTHER_VERSION and self._protocol is MQTTProtocolVersion.MQTTv5:
            self._drop_connection(retry_in_s=0.0)
            self._protocol = MQTTProtocolVersion.MQTTv311
            return
        if self._probing and ending.kind in {Kind.REFUSED, Kind.OTHER_VERSION}:
            self._probing = False  # as it should be: the broker turned a client without a password away
            self._drop_connection(retry_in_s=0.0)
            return
        refused = ending.kind in {Kind.REFUSED, Kind.ANONYMOUS, Kind.NAME_TAKEN}
        self._retry_later(refused=refused)
        self._login_refusal = ending.reason if refused else self._login_refusal
        if ending.kind is Kind.ANONYMOUS:
            self._log_once(logging.ERROR, f"broker {self._address.shown} is refused: {ending.reason}; events are kept")
            return
        what = {
            Kind.REFUSED: "refuses the login", Kind.LOST: "is gone", Kind.NAME_TAKEN: "has another device of this name"
        }.get(ending.kind, "is not reachable")  # fmt: skip
        line = f"broker {self._address.shown} {what} ({ending.reason}); retrying, events are kept"
        self._log_once(logging.ERROR if refused else logging.WARNING, line)
        if ending.kind is Kind.LOST and self._attempts.lost_early >= _EARLY_LOSSES:
            line = f"{_EARLY_LOSSES} connections in a row were lost within a minute: {SAME_NAME}"
            self._log_once(logging.WARNING, line)

    def _retry_later(self, *, refused: bool) -> None:
        """Wait before the next attempt; after a connection that lasted, the same lines may be logged again."""
        if self._attempts.has_held() and self._event_refusal is None:
            self._logged.clear()
        self._drop_connection(retry_in_s=self._attempts.failed(refused=refused))

    def _drop_connection(self, *, retry_in_s: float) -> None:
        """Forget the connection: the next one starts with MQTT 5 and the oldest event."""
        self._connection = None
        self._timeouts.ended()
        self._window = 0
        self._hold_until = self._repeat_at = None
        self._queue.forget_in_flight()
        self._protocol = MQTTProtocolVersion.MQTTv5
        self._retry_at = self._clock.monotonic() + retry_in_s

    def _log_once(self, level: int, line: str) -> None:
        if line not in self._logged:
            self._logged.add(line)
            _LOG.log(level, "%s", line)

    def _is_done(self) -> bool:
        if self._stop is None:
            return False
        is_away = self._retry_at is not None or self._hold_until is not None or self._refusal is not None
        return is_away or self._all_acknowledged() or self._stop.deadline <= self._clock.monotonic()

    def _all_acknowledged(self) -> bool:
        return self.connected and self._queue.all_acknowledged

    def _disconnect(self) -> None:
        """Disconnect, so that the broker discards the will, and end paho's thread."""
        connection, stop = self._connection, self._stop
        if connection is None or stop is None:
            return
        self.stopped_cleanly = self._all_acknowledged()
        disconnect(connection, self._mailbox, max(GOODBYE_S, stop.deadline - self._clock.monotonic()))
        self._connection, self._window = None, 0
