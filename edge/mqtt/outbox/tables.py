"""The outbox's tables and their rows: what was written there, told from what was not."""

import contextlib
import math
import sqlite3
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import msgspec

from edge.clock import Stamp

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
class Held:
    """What an outbox has, or what could still be read of one."""

    events: tuple[StoredEvent, ...] = ()
    """in order; only where they were asked for"""
    seq: int = 0
    """the last number that was given out, 0 where that is not known"""
    depth: int = 0
    dropped: int = 0
    now_s: float | None = None
    """the clock by which the events were stored, None where that is not known: the newest then counts as new"""

    def numbered(self, seq: int) -> "Held":
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


def read_held(database: sqlite3.Connection, known: Held) -> Held:
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
    return Held(tuple(events[n] for n in sorted(events)), seq, max(counted["depth"], len(seen)), counted["dropped"])


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
