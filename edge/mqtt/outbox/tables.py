"""The outbox's tables in SQLite. Every row has a checksum; a row that does not match it is reported as damaged."""

import contextlib
import math
import sqlite3
import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import msgspec

from edge.clock import Clock, Stamp, elapsed_s

FORMAT = 2
"""Format 1 had no ``twin`` and no ``time.crc``, and its checksums of events covered only the payload."""
_MARK = 0x454F0000
"""``application_id`` is this plus the format, from format 2 on: one flipped bit cannot make a file look newer."""
SCHEMA = f"""
    BEGIN IMMEDIATE;
    CREATE TABLE event (
        seq INTEGER PRIMARY KEY, stored_s REAL NOT NULL, payload BLOB NOT NULL, crc INTEGER NOT NULL);
    CREATE TABLE counter (name TEXT PRIMARY KEY, value INTEGER NOT NULL, twin INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE time (id INTEGER PRIMARY KEY, outbox_s REAL NOT NULL, stamp BLOB NOT NULL, crc INTEGER NOT NULL);
    INSERT INTO counter VALUES ('seq', 0, ~0), ('depth', 0, ~0), ('bytes', 0, ~0), ('dropped', 0, ~0);
    PRAGMA user_version = {FORMAT};
    PRAGMA application_id = {_MARK + FORMAT};
    COMMIT;
"""  # noqa: S608 - only constants
_COUNTERS = {"seq", "depth", "bytes", "dropped"}
_MOST = 2**53
"""Larger numbers are damage: JSON readers that use floats would confuse them."""
SQLITE_ERRORS = (sqlite3.Error, UnicodeDecodeError)
"""What sqlite3 raises: the second if its own error message quotes a damaged name."""
_KEEP_TIME_EVERY_S = 60.0
"""The outbox's clock is stored this often, in seconds: a power cut takes at most as much from an event's age."""


class DamagedError(sqlite3.DatabaseError):
    """SQLite read a row without an error, but it is not what was written."""

    def __init__(self) -> None:
        super().__init__("it holds data that was never written")
        self.sqlite_errorcode = sqlite3.SQLITE_CORRUPT


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An event in the outbox."""

    seq: int
    stored_s: float
    """when it was stored, seconds of the outbox's own clock"""
    payload: bytes


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The content of an outbox, or what could still be read of a damaged one."""

    events: tuple[StoredEvent, ...] = ()
    """in order; empty where only the counts were read"""
    seq: int = 0
    """the last number given to an event, 0 if unknown"""
    depth: int = 0
    dropped: int = 0
    now_s: float | None = None
    """the outbox's clock when this was read; None if unknown, and the newest event then counts as just stored"""

    def with_seq_from(self, seq: int) -> "Snapshot":
        """Return the same with ``seq`` raised to at least this, and to that of the last event."""
        return replace(self, seq=max(seq, self.seq, *(event.seq for event in self.events[-1:])))


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much an outbox keeps; beyond that the oldest events are dropped."""

    events: int
    payload_bytes: int
    age_s: float


@contextmanager
def malformed_is_damage() -> Iterator[None]:
    """Treat a value of the wrong type as damage.

    Raises `DamagedError`: instead of a TypeError or ValueError.
    """
    try:
        yield
    except (TypeError, ValueError) as error:
        raise DamagedError from error


class Store:
    """Events in order, and their counters. For one thread at a time.

    Events are aged by a clock that starts at the Unix time at which the database was created and never jumps, see
    `edge.clock.elapsed_s`. Time switched off
    counts only where its length is known: an event is kept too long rather than dropped too soon.

    Raises `DamagedError` or `sqlite3.Error`: from every method but `close` and `abandon`: the database is damaged or
    cannot be used.

    ``writer``, ``reader``: connections to the same database, which may be the same: the writer's commits are flushed to
    the disk, the reader's need not be.
    """

    def __init__(self, writer: sqlite3.Connection, reader: sqlite3.Connection, bounds: Bounds, clock: Clock) -> None:
        self._writer, self._reader = writer, reader
        self._bounds = bounds
        self._clock = clock
        self.commits = 0
        """transactions since the start, each at least one write to the disk"""
        now = clock.stamp()
        base_s, stamp = read_time(reader) or (_newest_s(reader) or now.unix_s, None)
        self._base_s = base_s + (elapsed_s(stamp or now, now) or 0.0)
        self._began_s = clock.monotonic()
        self._noted_s = float("-inf")
        self._known = self.counts()

    def now_s(self) -> float:
        """Return the time of the outbox's clock, seconds."""
        return self._base_s + self._clock.monotonic() - self._began_s

    def append(self, events: Sequence[msgspec.Struct]) -> list[int]:
        """Number events and store them, all or none; drop what exceeds the bounds; return each one's ``seq``."""
        with self._transaction(self._writer) as database:
            first = read_counters(database)["seq"] + 1
            stored = [
                StoredEvent(seq, self.now_s(), msgspec.json.encode(msgspec.structs.replace(event, seq=seq)))
                for seq, event in enumerate(events, first)
            ]
            database.executemany("INSERT INTO event VALUES (?, ?, ?, ?)", [row_of(event) for event in stored])
            add(database, seq=len(stored), depth=len(stored), bytes=sum(len(event.payload) for event in stored))
            self._drop_beyond_bounds(database)
            self._store_time(database)
        self.counts()
        return [event.seq for event in stored]

    def batch(self, after_seq: int, limit: int) -> list[StoredEvent]:
        """Return up to `limit` events above `after_seq`, in order; those too old are dropped."""
        with malformed_is_damage():
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
        """Delete events that the broker has."""
        with self._transaction(self._reader) as database:
            _remove(database, seqs)
        self.counts()

    def counts(self) -> Snapshot:
        """Return the counts, without the events."""
        counted = read_counters(self._reader)
        self._known = Snapshot((), counted["seq"], counted["depth"], counted["dropped"])
        return self._known

    def salvage(self) -> Snapshot:
        """Return all that is readable, also after a failure; counts that are not are the last ones known."""
        return replace(read_snapshot(self._reader, self._known), now_s=self.now_s())

    def take_over(self, snapshot: Snapshot, *, instead_of: Iterable[int] = ()) -> None:
        """Add the events of another store; numbering continues after its last number.

        ``snapshot``: its content. Events that it counts and does not hold, or whose number is in use here, count as
        dropped.
        ``instead_of``: numbers of events that the other store had copied from here; they are replaced.
        """
        with self._transaction(self._writer) as database:
            _remove(database, instead_of)
            before = read_counters(database)
            newest_s = max((event.stored_s for event in snapshot.events), default=0.0)
            then_s = newest_s if snapshot.now_s is None else snapshot.now_s
            sizes: list[int] = []
            for event in snapshot.events:
                aged = replace(event, stored_s=self.now_s() - max(0.0, then_s - event.stored_s))
                is_new = database.execute("INSERT OR IGNORE INTO event VALUES (?, ?, ?, ?)", row_of(aged)).rowcount
                sizes += [len(event.payload)] * is_new
            more_seq = max(0, snapshot.with_seq_from(0).seq - before["seq"])
            more_dropped = max(0, snapshot.dropped - before["dropped"]) + max(0, snapshot.depth - len(sizes))
            add(database, seq=more_seq, depth=len(sizes), bytes=sum(sizes), dropped=more_dropped)
            self._drop_beyond_bounds(database)
            self._store_time(database)
        self.counts()

    def close(self) -> None:
        """Store the clock, if the disk can be written, and close the connections."""
        self._noted_s = float("-inf")
        with contextlib.suppress(*SQLITE_ERRORS), self._transaction(self._writer) as database:
            self._store_time(database)
        self.abandon()

    def abandon(self) -> None:
        """Close the connections without writing."""
        for database in (self._writer, self._reader):
            with contextlib.suppress(sqlite3.Error):
                database.close()

    @malformed_is_damage()
    def _drop_beyond_bounds(self, database: sqlite3.Connection) -> None:
        """Drop the oldest events until the rest is within the bounds: the order is never broken."""
        counted = read_counters(database)
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

    def _store_time(self, database: sqlite3.Connection) -> None:
        now_s = self.now_s()
        if now_s - self._noted_s >= _KEEP_TIME_EVERY_S:
            self._noted_s = now_s
            write_time(database, now_s, self._clock.stamp())

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
    """Return a new, empty database in memory."""
    database = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    database.executescript(SCHEMA)
    return database


def format_of(database: sqlite3.Connection) -> int:
    """Return the format of a database, which may be newer than `FORMAT`.

    Raises `DamagedError`: no version has written such a file.
    """
    version: int = database.execute("PRAGMA user_version").fetchone()[0]
    (mark,) = database.execute("PRAGMA application_id").fetchone()
    if (version, mark) != (1, 0) and not (version > 1 and mark == _MARK + version):
        raise DamagedError
    return version


def check(database: sqlite3.Connection) -> None:
    """Read and check every row, of format 1 or 2.

    Raises `DamagedError` or `sqlite3.Error`: something does not match its checksum or the counters.
    """
    counted = read_counters(database)
    depth = payload_bytes = last = 0
    for row in database.execute("SELECT seq, stored_s, payload, crc FROM event ORDER BY seq"):
        event = event_of(row)
        depth, payload_bytes, last = depth + 1, payload_bytes + len(event.payload), event.seq
    if (depth, payload_bytes) != (counted["depth"], counted["bytes"]) or last > counted["seq"]:
        raise DamagedError
    read_time(database)


def read_snapshot(database: sqlite3.Connection, known: Snapshot) -> Snapshot:
    """Read what is readable of a database that may be damaged; counts that are not are taken from ``known``."""
    events: dict[int, StoredEvent] = {}
    seen = set()
    for order in ("ASC", "DESC"):  # from both ends towards the damage
        try:
            for row in database.execute(f"SELECT seq, stored_s, payload, crc FROM event ORDER BY seq {order}"):  # noqa: S608
                seen.add(row[0])
                with contextlib.suppress(DamagedError):
                    event = event_of(row)
                    events[event.seq] = event
        except SQLITE_ERRORS:
            continue
    counted = {"seq": known.seq, "depth": known.depth, "dropped": known.dropped}
    for name in counted:
        with contextlib.suppress(*SQLITE_ERRORS):
            row = database.execute("SELECT * FROM counter WHERE name = ?", (name,)).fetchone()
            counted[name] = _count_of(row)
    # The last event readable need not be the last that was stored.
    seq = max([counted["seq"], known.seq, *events]) if counted["seq"] else 0
    return Snapshot(tuple(events[n] for n in sorted(events)), seq, max(counted["depth"], len(seen)), counted["dropped"])


def read_counters(database: sqlite3.Connection) -> dict[str, int]:
    """Return ``seq``, ``depth``, ``bytes`` and ``dropped``.

    Raises `DamagedError`: one of them is missing or does not match its twin.
    """
    found = {row[0]: _count_of(row) for row in database.execute("SELECT * FROM counter")}
    if found.keys() != _COUNTERS:
        raise DamagedError
    return found


def add(database: sqlite3.Connection, **changes: int) -> None:
    """Add to counters and to their twins; a counter that does not match its twin never does again."""
    rows = [{"name": name, "change": change} for name, change in changes.items()]
    database.executemany("UPDATE counter SET value = value + :change, twin = twin - :change WHERE name = :name", rows)


def row_of(event: StoredEvent) -> tuple[int, float, bytes, int]:
    """Return the row of an event."""
    return event.seq, event.stored_s, event.payload, _event_crc(event)


def event_of(row: tuple[object, ...]) -> StoredEvent:
    """Return the event of a row (seq, stored_s, payload, crc).

    Raises `DamagedError`: it does not match its checksum.
    """
    seq, stored_s, payload, crc = row
    if not (isinstance(seq, int) and 0 < seq < _MOST and isinstance(stored_s, float) and isinstance(payload, bytes)):
        raise DamagedError
    event = StoredEvent(seq, stored_s, payload)
    if crc not in (_event_crc(event), zlib.crc32(payload)):  # the second one in format 1
        raise DamagedError
    return event


def write_time(database: sqlite3.Connection, outbox_s: float, stamp: Stamp) -> None:
    """Store the time of the outbox's clock, and the moment at which it was read."""
    encoded = msgspec.json.encode(stamp)
    row = (outbox_s, encoded, _time_crc(outbox_s, encoded))
    database.execute("INSERT OR REPLACE INTO time VALUES (0, ?, ?, ?)", row)


def read_time(database: sqlite3.Connection) -> tuple[float, Stamp | None] | None:
    """Return what `write_time` stored, None if nothing.

    Raises `DamagedError`: it does not match its checksum.
    """
    row = database.execute("SELECT * FROM time").fetchone()
    if row is None:
        return None
    _, outbox_s, encoded, *crc = row
    if not (isinstance(outbox_s, float) and math.isfinite(outbox_s) and isinstance(encoded, bytes)):
        raise DamagedError
    if crc not in ([], [_time_crc(outbox_s, encoded)]):  # the first one in format 1
        raise DamagedError
    try:
        return outbox_s, msgspec.json.decode(encoded, type=Stamp)
    except msgspec.DecodeError:
        return outbox_s, None


def _count_of(row: tuple[object, ...] | None) -> int:
    _, value, *twin = row or (None, None)
    if not (isinstance(value, int) and 0 <= value < _MOST and twin in ([], [~value])):  # no twin in format 1
        raise DamagedError
    return value


def _event_crc(event: StoredEvent) -> int:
    return zlib.crc32(event.payload, zlib.crc32(struct.pack("<qd", event.seq, event.stored_s)))


def _time_crc(outbox_s: float, encoded: bytes) -> int:
    return zlib.crc32(encoded, zlib.crc32(struct.pack("<d", outbox_s)))


@malformed_is_damage()
def _remove(database: sqlite3.Connection, seqs: Iterable[int]) -> None:
    delete = "DELETE FROM event WHERE seq = ? RETURNING length(payload)"
    sizes = [size for seq in seqs for (size,) in database.execute(delete, (seq,)).fetchall()]
    add(database, depth=-len(sizes), bytes=-sum(sizes))


def _newest_s(database: sqlite3.Connection) -> float | None:
    row = database.execute("SELECT seq, stored_s, payload, crc FROM event ORDER BY seq DESC LIMIT 1").fetchone()
    return row and event_of(row).stored_s
