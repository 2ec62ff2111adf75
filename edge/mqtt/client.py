"""What the three clients of a broker share: opening a connection, its deadlines, and the next attempt."""

import logging
import time
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any

from paho.mqtt.enums import MQTTProtocolVersion

from edge.backoff import Attempts, Backoff
from edge.clock import Clock
from edge.mqtt.address import BrokerAddress
from edge.mqtt.connection import GOODBYE_S, Connected, Connection, Ended, Notice, Opened
from edge.mqtt.reasons import Ending, Kind

ANSWER_S = {MQTTProtocolVersion.MQTTv5: 2.0, MQTTProtocolVersion.MQTTv311: 10.0}
"""Seconds to wait for the answer to a login. Some brokers that know only 3.1.1 (amqtt 0.12) misread an MQTT 5 login
and wait for more bytes instead of refusing it; a broker that is merely slow gets its time with 3.1.1."""
_LOG = logging.getLogger(__name__)
_UNREACHED = Ending(Kind.UNREACHABLE, "no answer")
_SILENT = Ending(Kind.OTHER_VERSION, "it does not answer the login")
_STUCK = Ending(Kind.LOST, "the thread that talks to it is stuck")


class Client:
    """Opens one connection to the broker after another; a subclass says with what, and acts on what comes back.

    One thread calls `_take_mail` and `_check_deadlines` in turn. A broker that does not answer MQTT 5 is tried with
    3.1.1 at once; after any other end the subclass decides.

    ``protocol``: version to try first.
    ``open_s``: seconds to resolve the name and to connect, TLS included; a resolver may have no limit of its own.
    ``acknowledge_s``: seconds for an acknowledgement. A broker that only answers pings would otherwise stop delivery
    for good.
    """

    def __init__(
        self,
        address: BrokerAddress,
        *,
        backoff: Backoff,
        clock: Clock,
        protocol: MQTTProtocolVersion = MQTTProtocolVersion.MQTTv5,
        open_s: float = 30.0,
        acknowledge_s: float = 60.0,
    ) -> None:
        self._address = address
        self._clock = clock
        self._attempts = Attempts(backoff, clock)
        self._open_s, self._acknowledge_s = open_s, acknowledge_s
        self._mailbox: SimpleQueue[Any] = SimpleQueue()
        self._connection: Connection | None = None
        self._protocol = protocol
        self._retry_at: float | None = None
        self._answer_due: float | None = None  # of clock.monotonic(); None while no answer is awaited
        self._when_missed = _UNREACHED
        self._speaks_5 = False
        self._logged: set[str] = set()
        self.connections = 0
        """accepted logins since the start"""

    def _new_connection(self) -> Connection:
        """Return a connection of version ``_protocol`` that reports to the mailbox."""
        raise NotImplementedError

    def _on_notice(self, notice: Notice) -> None:
        """Act on a notice of the present connection; `Opened` and `Ended` are dealt with."""
        raise NotImplementedError

    def _on_ended(self, ending: Ending) -> None:
        """Act on the end of the connection or of the attempt, by `_retry` or an error."""
        raise NotImplementedError

    def _connect(self) -> None:
        self._retry_at = None
        self._connection = self._new_connection()
        self._await_answer(self._open_s, _UNREACHED)
        self._connection.open()

    def _await_answer(self, seconds: float, when_missed: Ending) -> None:
        self._answer_due, self._when_missed = self._clock.monotonic() + seconds, when_missed

    def _await_acknowledgement(self) -> None:
        self._await_answer(self._acknowledge_s, _unacknowledged(self._acknowledge_s))

    def _take_mail(self, timeout_s: float, *moments: float | None, most: int = 1000) -> None:
        """Wait for mail and handle all that has come, at most as many as ``most``.

        ``timeout_s``: longest wait; it ends earlier at one of ``moments`` of the clock, or when an answer is due.
        """
        now_s = self._clock.monotonic()
        due = [at for at in (self._retry_at, self._answer_due, *moments) if at is not None]
        with suppress(Empty):
            self._handle(self._mailbox.get(timeout=min([timeout_s, *(max(0.0, at - now_s) for at in due)])))
            for _ in range(most - 1):
                self._handle(self._mailbox.get_nowait())

    def _handle(self, notice: Any) -> None:
        """Act on one notice; those of an abandoned connection are ignored."""
        if notice.connection is not self._connection:
            return
        match notice:
            case Opened(connection):
                # a broker that has spoken MQTT 5 gets more time to do so again
                protocol = MQTTProtocolVersion.MQTTv311 if self._speaks_5 else connection.protocol
                self._await_answer(ANSWER_S[protocol], _SILENT)
            case Ended(_, ending):
                self._end(ending)
            case _:
                self._on_notice(notice)

    def _accept(self, notice: Connected) -> None:
        """Note that the broker has accepted the login, and wait for its answers to the subscriptions."""
        self._speaks_5 = self._speaks_5 or notice.connection.protocol is MQTTProtocolVersion.MQTTv5
        self._await_acknowledgement()
        self._attempts.connected()

    def _check_deadlines(self, oldest_wait_s: float = 0.0) -> None:
        """Give up a connection that is late, and open the next one when it is time.

        ``oldest_wait_s``: seconds for which the oldest unacknowledged message has waited.
        """
        connection, ending = self._connection, None
        if connection is not None:
            if self._answer_due is not None and self._answer_due <= self._clock.monotonic():
                ending = self._when_missed
            elif oldest_wait_s > self._acknowledge_s:
                ending = _unacknowledged(self._acknowledge_s)
            elif connection.is_stuck():
                ending = _STUCK
            if ending is not None:
                self._abandon(connection)
                self._end(ending)
        if self._retry_at is not None and self._retry_at <= self._clock.monotonic():
            self._connect()

    def _abandon(self, connection: Connection) -> bool:
        """Cut a connection; return True if its thread has ended."""
        return connection.abandon(GOODBYE_S)

    def _end(self, ending: Ending) -> None:
        if ending.kind is Kind.OTHER_VERSION and self._protocol is MQTTProtocolVersion.MQTTv5:
            self._drop_connection(retry_in_s=0.0)
            self._protocol = MQTTProtocolVersion.MQTTv311
        else:
            self._on_ended(ending)

    def _drop_connection(self, *, retry_in_s: float) -> None:
        """Forget the connection: the next one starts with MQTT 5."""
        self._connection = self._answer_due = None
        self._protocol = MQTTProtocolVersion.MQTTv5
        self._retry_at = self._clock.monotonic() + retry_in_s

    def _retry(self, *, refused: bool) -> None:
        """Wait before the next attempt; if a connection that lasted is lost, the same lines may be logged again."""
        if self._attempts.has_held() and not refused:
            self._logged.clear()
        self._drop_connection(retry_in_s=self._attempts.failed(refused=refused))

    def _log_once(self, level: int, line: str) -> None:
        if line not in self._logged:
            self._logged.add(line)
            _LOG.log(level, "%s", line)

    def _disconnect(self, timeout_s: float = GOODBYE_S) -> None:
        """Disconnect, and wait until the broker has closed its side: a cut before that may lose the DISCONNECT.

        What else is in the mailbox by then is dropped.
        """
        connection, self._connection, self._retry_at = self._connection, None, None
        if connection is None:
            return
        connection.close()
        until_s = time.monotonic() + timeout_s
        with suppress(Empty):
            while True:
                notice = self._mailbox.get(timeout=max(0.0, until_s - time.monotonic()))
                if isinstance(notice, Ended) and notice.connection is connection:
                    break
        connection.abandon(GOODBYE_S)


def _unacknowledged(seconds: float) -> Ending:
    return Ending(Kind.LOST, f"no acknowledgement for {seconds:.0f} s")
