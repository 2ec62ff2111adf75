"""The outbox's tables and their rows: what was written there, told from what was not."""

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
"""Format 1 had no ``twin`` and no ``time.crc``, and its events' checksums covered the payload alone."""
_MARK = 0x454F0000
"""``application_id`` is this plus the format, from format 2 on: one flipped bit makes no file a newer one."""
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
"""  # noqa: S608 - numbers of its own
_COUNTERS = {"seq", "depth", "bytes", "dropped"}
_MOST = 2**53
"""Numbers beyond it are damage: JSON's readers could not tell them apart."""

SQLITE_ERRORS = (sqlite3.Error, UnicodeDecodeError)
"""What sqlite3 raises: the second one where the text of its own error holds a damaged name."""


class DamagedError(sqlite3.DatabaseError):
    """SQLite read it without complaint, but it is not what was written."""

    def __init__(self) -> None:
        super().__init__("it holds what was never written")
        self.sqlite_errorcode = sqlite3.SQLITE_CORRUPT


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An event that waits."""

    seq: int
    stored_s: float
    """when it was stored, seconds of the outbox's own clock"""
    payload: bytes


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What an outbox has, or what could still be read of one."""

    events: tuple[StoredEvent, ...] = ()
    """in order; only where they were asked for"""
    seq: int = 0
    """the last number that was given out, 0 where that is not known"""
    depth: int = 0
    dropped: int = 0
    now_s: float | None = None
    """the clock by which the events were stored, None where that is not known: the newest then counts as new"""

    def numbered(self, seq: int) -> "Snapshot":
        """Return the same with a last number that is at least this one."""
        return replace(self, seq=max(seq, self.seq, *(event.seq for event in self.events[-1:])))


@contextmanager
def as_written() -> Iterator[None]:
    """Take a value of a type that was never written for what it is.

    Raises
    ------
    DamagedError
        In place of a TypeError or ValueError.
    """
    try:
        yield
    except (TypeError, ValueError) as error:
        raise DamagedError from error


def format_of(database: sqlite3.Connection) -> int:
    """Return the format of a database, which may be newer than `FORMAT`.

    Raises
    ------
    DamagedError
        No version writes such a file.
    """
    version: int = database.execute("PRAGMA user_version").fetchone()[0]
    (mark,) = database.execute("PRAGMA application_id").fetchone()
    if (version, mark) != (1, 0) and not (version > 1 and mark == _MARK + version):
        raise DamagedError
    return version


def check(database: sqlite3.Connection) -> None:
    """Read all there is, of format 1 or 2.

    Raises
    ------
    DamagedError, sqlite3.Error
        It is not as it was written.
    """
    counted = counters(database)
    depth = payload_bytes = last = 0
    for row in database.execute("SELECT seq, stored_s, payload, crc FROM event ORDER BY seq"):
        event = event_of(row)
        depth, payload_bytes, last = depth + 1, payload_bytes + len(event.payload), event.seq
    if (depth, payload_bytes) != (counted["depth"], counted["bytes"]) or last > counted["seq"]:
        raise DamagedError
    noted_time(database)


def read_held(database: sqlite3.Connection, known: Snapshot) -> Snapshot:
    """Read what can be read of a database that may be damaged; what cannot is as it was ``known``."""
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
    # Events alone do not tell it: those that were numbered last may be the ones that cannot be read.
    seq = max([counted["seq"], known.seq, *events]) if counted["seq"] else 0
    return Snapshot(tuple(events[n] for n in sorted(events)), seq, max(counted["depth"], len(seen)), counted["dropped"])


def counters(database: sqlite3.Connection) -> dict[str, int]:
    """Return ``seq``, ``depth``, ``bytes`` and ``dropped``.

    Raises
    ------
    DamagedError
        One of them is missing or is not what was written.
    """
    found = {row[0]: _count_of(row) for row in database.execute("SELECT * FROM counter")}
    if found.keys() != _COUNTERS:
        raise DamagedError
    return found


def add(database: sqlite3.Connection, **changes: int) -> None:
    """Count; a counter that does not match its twin still does not, however often it is changed."""
    rows = [(change, name) for name, change in changes.items()]
    database.executemany("UPDATE counter SET value = value + ?1, twin = twin - ?1 WHERE name = ?2", rows)


def row_of(event: StoredEvent) -> tuple[int, float, bytes, int]:
    """Return an event as it is written."""
    return event.seq, event.stored_s, event.payload, _event_crc(event)


def event_of(row: tuple[object, ...]) -> StoredEvent:
    """Return the event of a row (seq, stored_s, payload, crc).

    Raises
    ------
    DamagedError
        It is not what was written.
    """
    seq, stored_s, payload, crc = row
    if not (isinstance(seq, int) and 0 < seq < _MOST and isinstance(stored_s, float) and isinstance(payload, bytes)):
        raise DamagedError
    event = StoredEvent(seq, stored_s, payload)
    if crc not in (_event_crc(event), zlib.crc32(payload)):  # the second one in format 1
        raise DamagedError
    return event


def note_time(database: sqlite3.Connection, outbox_s: float, stamp: Stamp) -> None:
    """Note what the outbox's clock says, and when it said so."""
    encoded = msgspec.json.encode(stamp)
    row = (outbox_s, encoded, _time_crc(outbox_s, encoded))
    database.execute("INSERT OR REPLACE INTO time VALUES (0, ?, ?, ?)", row)


def noted_time(database: sqlite3.Connection) -> tuple[float, Stamp | None] | None:
    """Return what `note_time` noted, None where there is nothing.

    Raises
    ------
    DamagedError
        It is not what was written.
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

    def held(self) -> Snapshot:
        """Return the counts, without the events."""
        counted = counters(self._reader)
        return Snapshot((), counted["seq"], counted["depth"], counted["dropped"])

    def last_words(self, known: Snapshot) -> Snapshot:
        """Return all that can be read, also of a store that has failed; counts that cannot are as they were `known`."""
        return replace(read_held(self._reader, known), now_s=self.now_s())

    def take_over(self, held: Snapshot, *, instead_of: Iterable[int] = ()) -> None:
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
