"""The daemon's client: a thread that connects, sends events and retained messages, and connects again."""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from paho.mqtt.enums import MQTTProtocolVersion

from edge.backoff import Backoff
from edge.clock import Clock
from edge.mqtt.address import BrokerAddress
from edge.mqtt.client import Client
from edge.mqtt.connection import (
    GOODBYE_S,
    SAME_NAME,
    Acknowledged,
    Arrived,
    Connected,
    Connection,
    Message,
    Notice,
    Subscribed,
    SubscribeRefused,
    Subscription,
)
from edge.mqtt.name_guard import HOLD_S, NameGuard, Verdict
from edge.mqtt.outbox import Outbox
from edge.mqtt.reasons import CLOSED, Ending, Kind
from edge.mqtt.send_queue import SendQueue, Sent
from edge.mqtt.topics import Topics


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


class Sender(Client):
    """Sends what the daemon publishes. Everything reaches it through `post`, so nothing in here needs a lock.

    ``name``: this device's client id and boot, and what is known of other devices with its name.
    ``will``: returns the message that the broker publishes if a connection is lost.
    ``topics``: where this device publishes, and where commands to it come.
    ``birth_topic``: where Home Assistant says ``online`` when it starts; None: not listened to.
    ``on_command``: takes a command's payload, and whether it was retained; must not block.
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
        topics: Topics,
        birth_topic: str | None,
        on_command: Callable[[bytes, bool], None],
        greeting: Callable[[], Message],
        outbox: Outbox,
        backoff: Backoff,
        clock: Clock,
        commit_interval_s: float = 0.0,
        refuse_anonymous: bool = False,
    ) -> None:
        super().__init__(address, backoff=backoff, clock=clock)
        self._name = name
        self._will = will
        self._topics, self._birth_topic = topics, birth_topic
        self._on_command = on_command
        self._greeting = greeting
        self._queue = SendQueue(
            event_topic=topics.event, outbox=outbox, commit_interval_s=commit_interval_s, clock=clock,
            log_once=self._log_once,
        )  # fmt: skip
        self._backoff = backoff
        self._probing = refuse_anonymous and address.password is not None
        self._thread = threading.Thread(target=self._run, name="mqtt-sender", daemon=True)

        self._abandoned: list[Connection] = []
        self._window = 0
        self._allowed = 0  # what the window becomes once nobody else is online
        self._hold_until: float | None = None
        self._repeat_at: float | None = None
        self._refusal: Ending | None = None  # why this side is closing a connection
        self._stop: Stop | None = None

        self._login_refusal: str | None = None
        self._event_refusal: str | None = None

        # Written by this thread, read by any.
        self.progress = threading.Condition()
        """notified when acknowledged events have left the outbox, and when the thread ends"""
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
            stop_at = None if self._stop is None else self._stop.deadline
            self._take_mail(_TURN_S, self._queue.commit_at, self._hold_until, self._repeat_at, stop_at)
            if self._queue.commit_acknowledged(at_once=self._stop is not None):
                with self.progress:
                    self.progress.notify_all()
            self._check_deadlines(self._queue.oldest_wait_s())
            if self._connection is not None:
                self._queue.send(self._connection, self._window, events=self._stop is None)
            if len(self._abandoned) <= _MAX_STUCK:
                self.on_turn()
        if self._connection is not None and self._stop is not None:
            self.stopped_cleanly = self._all_acknowledged()
            self._disconnect(max(GOODBYE_S, self._stop.deadline - self._clock.monotonic()))
            self._window = 0
        with self.progress:
            self.progress.notify_all()

    def _handle(self, mail: Any) -> None:
        match mail:
            case Retain(message):
                if self._stop is None:
                    self._queue.retain(message)
            case Greet():
                if self._stop is None and self.connected:
                    self._queue.greet(self._greeting())
            case Stored():
                pass  # it has woken the thread, which now looks into the outbox
            case Stop():
                self._stop = mail
                self._queue.finish_with(mail.final_messages)
            case _:
                super()._handle(mail)

    def _on_notice(self, notice: Notice) -> None:
        match notice:
            case Connected():
                self._on_connected(notice)
            case Subscribed():
                self._answer_due = None
                if self._name.other is None:
                    self._begin()
            case Acknowledged(_, mid, refusal):
                self._on_acknowledged(mid, refusal)
            case Arrived(_, topic, payload, retained):
                self._on_arrived(topic, payload, retained=retained)
            case SubscribeRefused(_, topic, refusal):
                line = f"does not let this device read {topic} ({refusal}): check its access list"
                self._log_once(logging.WARNING, f"broker {self._address.shown} {line}")

    def _check_deadlines(self, oldest_wait_s: float = 0.0) -> None:
        self._abandoned = [connection for connection in self._abandoned if not connection.has_ended()]
        now_s = self._clock.monotonic()
        if self._hold_until is not None and self._hold_until <= now_s:
            self._refuse_name()
        if self._repeat_at is not None and self._repeat_at <= now_s:
            self._repeat_at = None
            if self.connected and self._stop is None:
                self._queue.start_connection(self._greeting())
        super()._check_deadlines(oldest_wait_s)

    def _abandon(self, connection: Connection) -> bool:
        has_ended = super()._abandon(connection)
        if not has_ended:
            self._abandoned.append(connection)
            if len(self._abandoned) > _MAX_STUCK:
                self._log_once(logging.ERROR, f"more than {_MAX_STUCK} threads of abandoned connections do not end")
        return has_ended

    def _new_connection(self) -> Connection:
        self._name.start_connection()
        probing = self._probing
        return Connection(
            self._address.without_login() if probing else self._address,
            client_id=f"{self._name.client_id}-nobody" if probing else self._name.client_id,
            will=None if probing else self._will(),
            subscriptions=[] if probing else self._subscriptions(),
            protocol=self._protocol,
            report=self._mailbox.put,
        )

    def _subscriptions(self) -> list[Subscription]:
        """Return what to listen to. The commands come last: their answer shows that the kept status has arrived."""
        topics = [Subscription(self._topics.status, retained=True)]
        topics += [] if self._birth_topic is None else [Subscription(self._birth_topic)]
        return [*topics, Subscription(self._topics.privacy_set)]

    def _on_connected(self, notice: Connected) -> None:
        connection = notice.connection
        if self._probing:
            self._abandon(connection)
            self._on_ended(_ANONYMOUS)
            return
        self._accept(notice)
        self._allowed = notice.in_flight
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
        if topic == self._topics.status:
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
                _LOG.info(line, self._topics.status, self._name.other, HOLD_S)
            case Verdict.TAKEN:
                self._refuse_name()
            case Verdict.FREE if self._hold_until is not None:
                self._begin()
            case Verdict.REPEAT:
                self._repeat(in_s=self._backoff.delay_s(1))
                line = f"another client has published the status of {self._topics.status}: {SAME_NAME}"
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
            f"{self._topics.status} says that {self._name.other} is online, and this device is {self._name.client_id}: "
            "give one of them another `device`",
        )
        if self._connection is not None:
            self._connection.close()
        self._await_answer(GOODBYE_S, CLOSED)

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
            self._retry(refused=True)
            self._event_refusal = refusal
        self._log_once(logging.ERROR, line)

    def _on_ended(self, ending: Ending) -> None:
        ending, self._refusal = self._refusal or ending, None
        if self._probing and ending.kind in {Kind.REFUSED, Kind.OTHER_VERSION}:
            self._probing = False  # as it should be: the broker turned a client without a password away
            self._drop_connection(retry_in_s=0.0)
            return
        refused = ending.kind in {Kind.REFUSED, Kind.ANONYMOUS, Kind.NAME_TAKEN}
        self._retry(refused=refused)
        self._login_refusal = ending.reason if refused else self._login_refusal
        line = f"{ending.told(self._address.shown)}; retrying, events are kept"
        self._log_once(logging.ERROR if refused else logging.WARNING, line)
        if ending.kind is Kind.LOST and self._attempts.lost_early >= _EARLY_LOSSES:
            line = f"{_EARLY_LOSSES} connections in a row were lost within a minute: {SAME_NAME}"
            self._log_once(logging.WARNING, line)

    def _drop_connection(self, *, retry_in_s: float) -> None:
        super()._drop_connection(retry_in_s=retry_in_s)
        self._window = 0
        self._hold_until = self._repeat_at = None
        self._queue.forget_in_flight()

    def _is_done(self) -> bool:
        if self._stop is None:
            return False
        is_away = self._retry_at is not None or self._hold_until is not None or self._refusal is not None
        return is_away or self._all_acknowledged() or self._stop.deadline <= self._clock.monotonic()

    def _all_acknowledged(self) -> bool:
        return self.connected and self._queue.all_acknowledged
