"""The outbox's file: made, checked, locked, and set aside where it is damaged."""

import fcntl
import logging
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from edge.errors import DeliveryError

_LOG = logging.getLogger(__name__)
_FORMAT = 1
_SCHEMA = """
    BEGIN IMMEDIATE;
    CREATE TABLE event (seq INTEGER PRIMARY KEY, stored_s REAL NOT NULL, payload BLOB NOT NULL);
    CREATE TABLE counter (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
    INSERT INTO counter VALUES ('seq', {start}), ('depth', 0), ('dropped', 0);
    CREATE TRIGGER stored AFTER INSERT ON event BEGIN
        UPDATE counter SET value = value + 1 WHERE name = 'depth'; END;
    CREATE TRIGGER gone AFTER DELETE ON event BEGIN
        UPDATE counter SET value = value - 1 WHERE name = 'depth'; END;
    PRAGMA user_version = {format};
    COMMIT;
"""
# What SQLite answers to a file that is no database, a broken one, or another one. All else (full, read-only,
# locked, a failing card) is a condition of the machine: nothing is set aside for that.
_DAMAGE = {sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


def lock(path: Path) -> int:
    """Hold ``<path>.lock``, so that two daemons cannot send the same events; return the file descriptor.

    The kernel lets go of it when a process dies.

    Raises
    ------
    DeliveryError
        The folder cannot be written to, or another process holds it.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(_beside(path, ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise DeliveryError(f"outbox {path}: cannot be written: {error.strerror}; check state_dir") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        message = f"outbox {path}: another emotion-edge uses it; stop that one or set another state_dir"
        raise DeliveryError(message) from error
    return descriptor


def prepare(path: Path, *, now_s: float) -> None:
    """Make the database, or check the one that is there and set it aside where it is damaged.

    Parameters
    ----------
    path
        The database.
    now_s
        Unix time; its milliseconds are where ``seq`` goes on when the old one cannot be read.

    Raises
    ------
    DeliveryError, sqlite3.Error
        A newer version made it; the disk is full, read-only, …
    """
    start = 0
    if path.exists() and not _is_empty(path):
        if _is_sound(path):
            return
        last = _last_seq(path)
        start = int(now_s * 1000) if last is None else last
        aside = _set_aside(path)
        _LOG.error("outbox %s is damaged; set aside as %s, events go on from seq %d", path, aside, start + 1)
    elif next(path.parent.glob(f"{path.name}.damaged-*"), None):
        # Cut off between setting aside and making anew: what the last seq was is no longer known.
        start = int(now_s * 1000)
    with _open(path) as database:
        database.executescript(_SCHEMA.format(start=start, format=_FORMAT))


def connect(path: Path, *, synchronous: str) -> sqlite3.Connection:
    """Open the database in WAL mode; transactions are begun by hand.

    Parameters
    ----------
    path
        The database.
    synchronous
        ``FULL``: on the disk when a commit returns; ``NORMAL``: a power cut may take the last commits back.
    """
    database = sqlite3.connect(path, timeout=10, isolation_level=None, check_same_thread=False)
    try:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute(f"PRAGMA synchronous = {synchronous}")
    except sqlite3.Error:
        database.close()
        raise
    return database


def plain(error: Exception, path: Path) -> DeliveryError:
    """Return the one line that a user reads."""
    if isinstance(error, DeliveryError):
        return error
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return DeliveryError(f"outbox {path}: the disk is full; free some space")
    if code in {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM}:
        return DeliveryError(f"outbox {path}: cannot be written; check state_dir and its owner")
    return DeliveryError(f"outbox {path}: {error}")


@contextmanager
def _open(path: Path) -> Iterator[sqlite3.Connection]:
    database = connect(path, synchronous="FULL")
    try:
        yield database
    finally:
        database.close()


def _is_empty(path: Path) -> bool:
    """Return whether nothing was ever written: a start that was cut off leaves that."""
    return path.stat().st_size == 0 and not _beside(path, "-wal").exists()


def _is_sound(path: Path) -> bool:
    try:
        with _open(path) as database:
            (version,) = database.execute("PRAGMA user_version").fetchone()
            if version > _FORMAT:
                raise DeliveryError(f"outbox {path}: a newer emotion-edge made it (format {version}, not {_FORMAT})")
            (verdict,) = database.execute("PRAGMA quick_check(1)").fetchone()
            counters = {name for (name,) in database.execute("SELECT name FROM counter")}
            database.execute("SELECT seq, stored_s, payload FROM event LIMIT 1").fetchone()
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode & 0xFF in _DAMAGE:
            return False
        raise
    return bool(verdict == "ok" and counters >= {"seq", "depth", "dropped"})


def _last_seq(path: Path) -> int | None:
    """Return the highest seq that a damaged database still tells, None where it tells none."""
    found: list[int] = []
    for query in ("SELECT value FROM counter WHERE name = 'seq'", "SELECT max(seq) FROM event"):
        try:
            with _open(path) as database:
                row = database.execute(query).fetchone()
        except sqlite3.Error:
            continue
        if row and isinstance(row[0], int) and row[0] >= 0:
            found.append(row[0])
    return max(found, default=None)


def _set_aside(path: Path) -> str:
    name = f"{path.name}.damaged-{datetime.now(UTC):%Y%m%dT%H%M%S%fZ}"
    for suffix in ("", "-wal", "-shm"):
        if (part := _beside(path, suffix)).exists():
            part.rename(path.with_name(name + suffix))
    return name


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)
