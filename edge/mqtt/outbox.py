"""The outbox: events on disk from the moment they happen until the broker has acknowledged them.

Looked at before this was written: persist-queue (SQLite queues with acknowledgements; pickled items, no
bound, and the number of an item is known only after it is stored, so it cannot be part of the payload),
litequeue (needs Python 3.12; a bound refuses the new instead of dropping the old), peewee and SQLAlchemy (an
object mapper for two tables), paho-mqtt's own queue (memory only). None gives out a number in the transaction
that stores the payload, drops the oldest with a count, and deletes by number; with SQLite from the standard
library that is what follows.
"""

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from edge.errors import DeliveryError
from edge.mqtt.outbox_file import connect, lock, plain, prepare

_NEXT_SEQ = "UPDATE counter SET value = value + 1 WHERE name = 'seq' RETURNING value"
_OLDEST = "SELECT seq, stored_s FROM event ORDER BY seq LIMIT 1"
_COUNTER = "SELECT value FROM counter WHERE name = ?"


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An event that waits."""

    seq: int
    stored_s: float
    """Unix seconds at which it was stored"""
    payload: bytes


class Outbox:
    """Events that wait for the broker, in the order in which they happened.

    One thread appends, another reads and acknowledges; `depth` and `dropped` may be asked from anywhere. An
    append is on the disk when it returns (SQLite WAL, synchronous FULL): neither SIGKILL nor a power cut
    takes it back. An acknowledgement that a power cut takes back only means that an event is sent twice.

    A damaged database is renamed to ``<name>.damaged-<UTC time>`` and a new one made. Its ``seq`` goes on
    where the old one's ended if that can be read, else at the Unix time in milliseconds, which is larger than
    any number that was counted up by one.

    Parameters
    ----------
    path
        The database; its folder is made where it is missing.
    max_events
        Events kept; beyond it the oldest are dropped and counted.
    max_age_s
        Seconds after which an event is dropped and counted.
    clock
        Unix time, seconds.

    Raises
    ------
    DeliveryError
        The folder cannot be written to, the disk is full, another process has this outbox open, or a newer
        version made it. Methods raise it too, where storing or reading fails.
    """

    def __init__(
        self, path: Path, *, max_events: int, max_age_s: float, clock: Callable[[], float] = time.time
    ) -> None:
        self._path = path
        self._max_events = max_events
        self._max_age_s = max_age_s
        self._clock = clock
        self._append_lock = threading.Lock()
        self._send_lock = threading.Lock()
        self._lock_file = lock(path)
        try:
            prepare(path, now_s=clock())
            # Two connections: an append must reach the disk and an acknowledgement need not, and neither
            # waits for the other's Python lock.
            self._append_db = connect(path, synchronous="FULL")
            self._send_db = connect(path, synchronous="NORMAL")
        except (sqlite3.Error, OSError, DeliveryError) as error:
            os.close(self._lock_file)
            raise plain(error, path) from error

    @property
    def max_age_s(self) -> float:
        """Seconds after which an event is dropped."""
        return self._max_age_s

    def age_s(self, event: StoredEvent) -> float:
        """Return how long an event has waited, seconds, never negative."""
        return max(0.0, self._clock() - event.stored_s)

    def append(self, make: Callable[[int], bytes]) -> int:
        """Store one event and return its ``seq``, which is one more than the last one's, for ever.

        Parameters
        ----------
        make
            Builds the payload for a ``seq``. If it raises, nothing is stored and the number is not used up.
        """
        with self._append_lock, self._transaction(self._append_db) as database:
            (seq,) = database.execute(_NEXT_SEQ).fetchone()
            database.execute("INSERT INTO event VALUES (?, ?, ?)", (seq, self._clock(), make(seq)))
            self._drop_beyond_bounds(database)
        return int(seq)

    def batch(self, after_seq: int, limit: int) -> list[StoredEvent]:
        """Return up to `limit` events above `after_seq`, in order; those too old are dropped."""
        with self._send_lock, self._plain_errors():
            oldest = self._send_db.execute(_OLDEST).fetchone()
            if oldest and oldest[1] < self._clock() - self._max_age_s:
                with self._transaction(self._send_db) as database:
                    self._drop_beyond_bounds(database)
            rows = self._send_db.execute(
                "SELECT seq, stored_s, payload FROM event WHERE seq > ? ORDER BY seq LIMIT ?",
                (after_seq, limit),
            )
            return [StoredEvent(*row) for row in rows]

    def acknowledge(self, *seqs: int) -> None:
        """Forget events that the broker has; a number that is not there (any more) is fine."""
        with self._send_lock, self._transaction(self._send_db) as database:
            database.executemany("DELETE FROM event WHERE seq = ?", [(seq,) for seq in seqs])

    def depth(self) -> int:
        """Return how many events wait."""
        return self._counter("depth")

    @property
    def dropped(self) -> int:
        """Events given up since the outbox was made, over all restarts."""
        return self._counter("dropped")

    def close(self) -> None:
        """Close the database; what waits stays."""
        with self._append_lock, self._send_lock:
            self._append_db.close()
            self._send_db.close()
            if self._lock_file >= 0:
                os.close(self._lock_file)
            self._lock_file = -1

    def _counter(self, name: str) -> int:
        with self._send_lock, self._plain_errors():
            return int(self._send_db.execute(_COUNTER, (name,)).fetchone()[0])

    def _drop_beyond_bounds(self, database: sqlite3.Connection) -> None:
        """Drop from the front while it is too old or too many wait, so that the order is never broken."""
        keep_from_s = self._clock() - self._max_age_s
        dropped = 0
        while (oldest := database.execute(_OLDEST).fetchone()) is not None:
            (depth,) = database.execute(_COUNTER, ("depth",)).fetchone()
            if depth <= self._max_events and oldest[1] >= keep_from_s:
                break
            database.execute("DELETE FROM event WHERE seq = ?", (oldest[0],))
            dropped += 1
        if dropped:
            database.execute("UPDATE counter SET value = value + ? WHERE name = 'dropped'", (dropped,))

    @contextmanager
    def _transaction(self, database: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
        with self._plain_errors():
            database.execute("BEGIN IMMEDIATE")
            try:
                yield database
                database.execute("COMMIT")
            finally:
                if database.in_transaction:
                    database.execute("ROLLBACK")

    @contextmanager
    def _plain_errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise plain(error, self._path) from error
