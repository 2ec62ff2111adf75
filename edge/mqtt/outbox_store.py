"""Where events wait: two tables in SQLite, on the disk or, while there is none to write to, in memory."""

import contextlib
import sqlite3
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import msgspec

from edge.clock import Clock, Stamp, elapsed_s

FORMAT = 1
SCHEMA = """
    BEGIN IMMEDIATE;
    CREATE TABLE event (
        seq INTEGER PRIMARY KEY, stored_s REAL NOT NULL, payload BLOB NOT NULL, crc INTEGER NOT NULL);
    CREATE TABLE counter (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE time (id INTEGER PRIMARY KEY, outbox_s REAL NOT NULL, stamp BLOB NOT NULL);
    INSERT INTO counter VALUES ('seq', 0), ('depth', 0), ('bytes', 0), ('dropped', 0);
    CREATE TRIGGER stored AFTER INSERT ON event BEGIN
        UPDATE counter SET value = value + 1 WHERE name = 'depth';
        UPDATE counter SET value = value + length(NEW.payload) WHERE name = 'bytes'; END;
    CREATE TRIGGER gone AFTER DELETE ON event BEGIN
        UPDATE counter SET value = value - 1 WHERE name = 'depth';
        UPDATE counter SET value = value - length(OLD.payload) WHERE name = 'bytes'; END;
    PRAGMA user_version = 1;
    COMMIT;
"""
_NEXT_SEQ = "UPDATE counter SET value = value + 1 WHERE name = 'seq' RETURNING value"
_OLDEST = "SELECT seq, stored_s FROM event ORDER BY seq LIMIT 1"
_COUNTER = "SELECT value FROM counter WHERE name = ?"
_MOST = 2**53
"""Numbers beyond it are damage: JSON's readers could not tell them apart."""
_KEEP_TIME_EVERY_S = 60.0
"""How often the outbox's clock is noted: what a power cut may take from an event's age."""


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
class Held:
    """What an outbox has, or what could still be read of one."""

    events: tuple[StoredEvent, ...] = ()
    """in order; only where they were asked for"""
    seq: int = 0
    """the last number that was given out"""
    depth: int = 0
    dropped: int = 0
    now_s: float | None = None
    """the clock by which the events were stored, None where that is not known: the newest then counts as new"""

    def numbered(self, seq: int) -> "Held":
        """Return the same with another last number."""
        return replace(self, seq=seq)


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
    """

    def __init__(self, writer: sqlite3.Connection, reader: sqlite3.Connection, bounds: Bounds, clock: Clock) -> None:
        self._writer, self._reader = writer, reader
        self._bounds = bounds
        self._clock = clock
        self.commits = 0
        """transactions since the start: each is at least one write to the disk"""
        base_s, stamp = self._noted_time()
        self._base_s = base_s + (elapsed_s(stamp, clock.stamp()) or 0.0)
        self._began_s = clock.monotonic()
        self._noted_s = float("-inf")

    def now_s(self) -> float:
        """Seconds of this outbox's clock."""
        return self._base_s + self._clock.monotonic() - self._began_s

    def append(self, makes: Sequence[Callable[[int], bytes]]) -> list[int]:
        """Store events, all or none, drop what goes beyond the bounds, return each one's ``seq``."""
        seqs: list[int] = []
        with self._transaction(self._writer) as database:
            for make in makes:
                (seq,) = database.execute(_NEXT_SEQ).fetchone()
                _insert(database, StoredEvent(seq, self.now_s(), make(seq)))
                seqs.append(int(seq))
            self._drop_beyond_bounds(database)
            self._note_time(database)
        return seqs

    def batch(self, after_seq: int, limit: int) -> list[StoredEvent]:
        """Return up to `limit` events above `after_seq`, in order; those too old are dropped."""
        oldest = _oldest(self._reader)
        if oldest and oldest[1] < self.now_s() - self._bounds.age_s:
            with self._transaction(self._reader) as database:
                self._drop_beyond_bounds(database)
        rows = self._reader.execute(
            "SELECT seq, stored_s, payload, crc FROM event WHERE seq > ? ORDER BY seq LIMIT ?", (after_seq, limit)
        )
        return [_checked(row) for row in rows]

    def acknowledge(self, seqs: tuple[int, ...]) -> None:
        """Forget events that the broker has."""
        with self._transaction(self._reader) as database:
            database.executemany("DELETE FROM event WHERE seq = ?", [(seq,) for seq in seqs])

    def held(self) -> Held:
        """Return the counts, without the events."""
        counters = dict(self._reader.execute("SELECT name, value FROM counter"))
        values = [counters.get(name) for name in ("seq", "depth", "dropped")]
        if not all(isinstance(value, int) for value in values):
            raise DamagedError
        seq, depth, dropped = (int(value) for value in values if value is not None)
        return Held((), seq, depth, dropped)

    def last_words(self, known: Held) -> Held:
        """Return all that can be read, also of a store that has failed; counts that cannot are as they were `known`."""
        return replace(read_held(self._reader, known), now_s=self.now_s())

    def take_over(self, held: Held, *, instead_of: int = 0) -> None:
        """Take in what another store held; the numbers go on from there.

        Parameters
        ----------
        held
            Its events; where it says that there were more, the others count as dropped.
        instead_of
            Events up to this number were copied from here before, and are replaced.
        """
        with self._transaction(self._writer) as database:
            dropped = database.execute(_COUNTER, ("dropped",)).fetchone()[0]
            database.execute("DELETE FROM event WHERE seq <= ?", (instead_of,))
            then_s = held.now_s if held.now_s is not None else max((e.stored_s for e in held.events), default=0.0)
            for event in held.events:
                age_s = max(0.0, then_s - event.stored_s)
                _insert(database, StoredEvent(event.seq, self.now_s() - age_s, event.payload))
            lost = max(0, held.depth - len(held.events))
            seq = max([held.seq, *(event.seq for event in held.events[-1:])])
            database.execute("UPDATE counter SET value = max(value, ?) WHERE name = 'seq'", (seq,))
            given_up = (max(dropped, held.dropped) + lost,)
            database.execute("UPDATE counter SET value = ? WHERE name = 'dropped'", given_up)
            self._drop_beyond_bounds(database)

    def close(self) -> None:
        """Note the time and close the connections."""
        try:
            self._noted_s = float("-inf")
            with self._transaction(self._writer) as database:
                self._note_time(database)
        finally:
            self._writer.close()
            self._reader.close()

    def abandon(self) -> None:
        """Close the connections of a database that cannot be used."""
        for database in (self._writer, self._reader):
            try:
                database.close()
            except sqlite3.Error:
                continue

    def _drop_beyond_bounds(self, database: sqlite3.Connection) -> None:
        """Drop from the front while it is too old or too much waits, so that the order is never broken."""
        keep_from_s = self.now_s() - self._bounds.age_s
        dropped = 0
        while (oldest := _oldest(database)) is not None:
            depth, held = (database.execute(_COUNTER, (name,)).fetchone()[0] for name in ("depth", "bytes"))
            fits = depth <= self._bounds.events and (held <= self._bounds.payload_bytes or depth == 1)
            if fits and oldest[1] >= keep_from_s:
                break
            database.execute("DELETE FROM event WHERE seq = ?", (oldest[0],))
            dropped += 1
        if dropped:
            database.execute("UPDATE counter SET value = value + ? WHERE name = 'dropped'", (dropped,))

    def _noted_time(self) -> tuple[float, Stamp]:
        now = self._clock.stamp()
        row = self._reader.execute("SELECT outbox_s, stamp FROM time").fetchone()
        if row is None:
            (newest_s,) = self._reader.execute("SELECT max(stored_s) FROM event").fetchone()
            return (now.unix_s if newest_s is None else newest_s), now
        try:
            return float(row[0]), msgspec.json.decode(row[1], type=Stamp)
        except (msgspec.DecodeError, TypeError, ValueError):
            return float(row[0]), now

    def _note_time(self, database: sqlite3.Connection) -> None:
        now_s = self.now_s()
        if now_s - self._noted_s < _KEEP_TIME_EVERY_S:
            return
        self._noted_s = now_s
        stamp = msgspec.json.encode(self._clock.stamp())
        database.execute("INSERT OR REPLACE INTO time VALUES (0, ?, ?)", (now_s, stamp))

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


def read_held(database: sqlite3.Connection, known: Held) -> Held:
    """Read what can be read of a database that may be damaged; what cannot is as it was ``known``."""
    events: dict[int, StoredEvent] = {}
    for order in ("ASC", "DESC"):  # from both ends towards the damage
        try:
            for row in database.execute(f"SELECT seq, stored_s, payload, crc FROM event ORDER BY seq {order}"):  # noqa: S608
                with contextlib.suppress(DamagedError):
                    event = _checked(row)
                    events[event.seq] = event
        except SQLITE_ERRORS:
            continue
    counted = {"seq": known.seq, "depth": known.depth, "dropped": known.dropped}
    for name in counted:
        try:
            row = database.execute(_COUNTER, (name,)).fetchone()
        except SQLITE_ERRORS:
            continue
        if row and isinstance(row[0], int) and 0 <= row[0] < _MOST:
            counted[name] = row[0]
    seq = max([counted["seq"], *events])
    return Held(tuple(events[n] for n in sorted(events)), seq, max(counted["depth"], len(events)), counted["dropped"])


def _insert(database: sqlite3.Connection, event: StoredEvent) -> None:
    values = (event.seq, event.stored_s, event.payload, zlib.crc32(event.payload))
    database.execute("INSERT OR IGNORE INTO event VALUES (?, ?, ?, ?)", values)


def _oldest(database: sqlite3.Connection) -> tuple[int, float] | None:
    row = database.execute(_OLDEST).fetchone()
    if row is None:
        return None
    if not isinstance(row[1], float):
        raise DamagedError
    return int(row[0]), row[1]


def _checked(row: tuple[object, ...]) -> StoredEvent:
    seq, stored_s, payload, crc = row
    if not (isinstance(seq, int) and 0 < seq < _MOST and isinstance(stored_s, float) and isinstance(payload, bytes)):
        raise DamagedError
    if zlib.crc32(payload) != crc:
        raise DamagedError
    return StoredEvent(seq, stored_s, payload)
