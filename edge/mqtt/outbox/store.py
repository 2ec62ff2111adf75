"""Where events wait: tables in SQLite, on the disk or, while there is none to write to, in memory."""

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import msgspec

from edge.clock import Clock, elapsed_s
from edge.mqtt.outbox.tables import (
    SCHEMA,
    SQLITE_ERRORS,
    Held,
    StoredEvent,
    add,
    as_written,
    counters,
    event_of,
    note_time,
    noted_time,
    read_held,
    row_of,
)

__all__ = ["Bounds", "Store", "StoredEvent", "in_memory"]

_KEEP_TIME_EVERY_S = 60.0
"""How often the outbox's clock is noted: what a power cut may take from an event's age."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What an outbox keeps; beyond it the oldest go."""

    events: int
    payload_bytes: int
    age_s: float


class Store:
    """Events in order, with their count, their bytes and what was dropped. For one thread at a time.

    Its clock is the Unix time at which it was made and what has passed since then; it never jumps, see
    `edge.clock.elapsed_s`. Time of which nobody knows how long it was does not count: events are rather kept too long.

    Parameters
    ----------
    writer, reader
        Connections to the same database, which may be one: the writer's commits reach the disk, the reader's need not.

    Raises
    ------
    DamagedError, sqlite3.Error
        By each of its methods but `close` and `abandon`: the database is damaged, or cannot be used.
    """

    def __init__(self, writer: sqlite3.Connection, reader: sqlite3.Connection, bounds: Bounds, clock: Clock) -> None:
        self._writer, self._reader = writer, reader
        self._bounds = bounds
        self._clock = clock
        self.commits = 0
        """transactions since the start: each is at least one write to the disk"""
        now = clock.stamp()
        base_s, stamp = noted_time(reader) or (_newest_s(reader) or now.unix_s, None)
        self._base_s = base_s + (elapsed_s(stamp or now, now) or 0.0)
        self._began_s = clock.monotonic()
        self._noted_s = float("-inf")

    def now_s(self) -> float:
        """Seconds of this outbox's clock."""
        return self._base_s + self._clock.monotonic() - self._began_s

    def append(self, events: Sequence[msgspec.Struct]) -> list[int]:
        """Number events and store them, all or none; drop what exceeds the bounds; return each one's ``seq``."""
        with self._transaction(self._writer) as database:
            first = counters(database)["seq"] + 1
            stored = [
                StoredEvent(seq, self.now_s(), msgspec.json.encode(msgspec.structs.replace(event, seq=seq)))
                for seq, event in enumerate(events, first)
            ]
            database.executemany("INSERT INTO event VALUES (?, ?, ?, ?)", [row_of(event) for event in stored])
            add(database, seq=len(stored), depth=len(stored), bytes=sum(len(event.payload) for event in stored))
            self._drop_beyond_bounds(database)
            self._note_time(database)
        return [event.seq for event in stored]

    def batch(self, after_seq: int, limit: int) -> list[StoredEvent]:
        """Return up to `limit` events above `after_seq`, in order; those too old are dropped."""
        with as_written():
            oldest = self._reader.execute("SELECT stored_s FROM event ORDER BY seq LIMIT 1").fetchone()
            too_old = oldest is not None and oldest[0] < self.now_s() - self._bounds.age_s
        if too_old:
            with self._transaction(self._reader) as database:
                self._drop_beyond_bounds(database)
        rows = self._reader.execute(
            "SELECT seq, stored_s, payload, crc FROM event WHERE seq > ? ORDER BY seq LIMIT ?", (after_seq, limit)
        )
        return [event_of(row) for row in rows]

    def acknowledge(self, seqs: Iterable[int]) -> None:
        """Forget events that the broker has."""
        with self._transaction(self._reader) as database:
            _remove(database, seqs)

    def held(self) -> Held:
        """Return the counts, without the events."""
        counted = counters(self._reader)
        return Held((), counted["seq"], counted["depth"], counted["dropped"])

    def last_words(self, known: Held) -> Held:
        """Return all that can be read, also of a store that has failed; counts that cannot are as they were `known`."""
        return replace(read_held(self._reader, known), now_s=self.now_s())

    def take_over(self, held: Held, *, instead_of: Iterable[int] = ()) -> None:
        """Take in what another store held; the numbers go on from there.

        Parameters
        ----------
        held
            Its events; where it says that there were more, or a number is taken, the others count as dropped.
        instead_of
            The numbers of events that it had copied from here, and that are replaced.
        """
        with self._transaction(self._writer) as database:
            _remove(database, instead_of)
            before = counters(database)
            then_s = held.now_s if held.now_s is not None else max((e.stored_s for e in held.events), default=0.0)
            sizes: list[int] = []
            for event in held.events:
                aged = replace(event, stored_s=self.now_s() - max(0.0, then_s - event.stored_s))
                is_new = database.execute("INSERT OR IGNORE INTO event VALUES (?, ?, ?, ?)", row_of(aged)).rowcount
                sizes += [len(event.payload)] * is_new
            more_seq = max(0, held.numbered(0).seq - before["seq"])
            more_dropped = max(0, held.dropped - before["dropped"]) + max(0, held.depth - len(sizes))
            add(database, seq=more_seq, depth=len(sizes), bytes=sum(sizes), dropped=more_dropped)
            self._drop_beyond_bounds(database)
            self._note_time(database)

    def close(self) -> None:
        """Note the time, where that can be written, and close the connections."""
        self._noted_s = float("-inf")
        with contextlib.suppress(*SQLITE_ERRORS), self._transaction(self._writer) as database:
            self._note_time(database)
        self.abandon()

    def abandon(self) -> None:
        """Close the connections of a database that cannot be used."""
        for database in (self._writer, self._reader):
            with contextlib.suppress(sqlite3.Error):
                database.close()

    @as_written()
    def _drop_beyond_bounds(self, database: sqlite3.Connection) -> None:
        """Drop from the front while it is too old or too much waits, so that the order is never broken."""
        counted = counters(database)
        depth, waiting, last = counted["depth"], counted["bytes"], 0
        keep_from_s = self.now_s() - self._bounds.age_s
        for seq, stored_s, size in database.execute("SELECT seq, stored_s, length(payload) FROM event ORDER BY seq"):
            fits = depth <= self._bounds.events and (waiting <= self._bounds.payload_bytes or depth == 1)
            if fits and stored_s >= keep_from_s:
                break
            depth, waiting, last = depth - 1, waiting - size, seq
        if last:
            dropped = database.execute("DELETE FROM event WHERE seq <= ?", (last,)).rowcount
            add(database, depth=depth - counted["depth"], bytes=waiting - counted["bytes"], dropped=dropped)

    def _note_time(self, database: sqlite3.Connection) -> None:
        now_s = self.now_s()
        if now_s - self._noted_s >= _KEEP_TIME_EVERY_S:
            self._noted_s = now_s
            note_time(database, now_s, self._clock.stamp())

    @contextmanager
    def _transaction(self, database: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
        database.execute("BEGIN IMMEDIATE")
        try:
            yield database
            database.execute("COMMIT")
            self.commits += 1
        finally:
            if database.in_transaction:
                database.execute("ROLLBACK")


def in_memory() -> sqlite3.Connection:
    """Return a new, empty database that the disk knows nothing of."""
    database = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    database.executescript(SCHEMA)
    return database


@as_written()
def _remove(database: sqlite3.Connection, seqs: Iterable[int]) -> None:
    delete = "DELETE FROM event WHERE seq = ? RETURNING length(payload)"
    sizes = [size for seq in seqs for (size,) in database.execute(delete, (seq,)).fetchall()]
    add(database, depth=-len(sizes), bytes=-sum(sizes))


def _newest_s(database: sqlite3.Connection) -> float | None:
    row = database.execute("SELECT seq, stored_s, payload, crc FROM event ORDER BY seq DESC LIMIT 1").fetchone()
    return row and event_of(row).stored_s
