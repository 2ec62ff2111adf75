"""The outbox's file: lock it, examine it, and replace it if it is damaged or of an older format."""

import contextlib
import errno
import fcntl
import os
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from edge.errors import ConfigError, DeliveryError, EmotionEdgeError
from edge.files import Files
from edge.mqtt.outbox.tables import (
    FORMAT,
    SCHEMA,
    SQLITE_ERRORS,
    DamagedError,
    Snapshot,
    check,
    format_of,
    malformed_is_damage,
    read_snapshot,
)

# SQLite's codes for faults of the machine; any other code means that the file is damaged.
_CONDITIONS = {
    0, sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_AUTH,
}  # fmt: skip
_MARKS = {False: b"disk  \n", True: b"memory\n"}
_PARTS = ("", "-wal", "-shm")
_NEW = ".new"
"""A database with this suffix is complete and flushed: it is the outbox from then on, whatever else is there."""
_BUILDING = ".building"
_ONLY_OURS = 0o600


class LockFile:
    """``<path>.lock``, a lock against two daemons that send the same events; the kernel frees it when a process dies.

    Its content says whether events waited in memory when the last process ended: the database then does not know the
    last number. It is overwritten in place, which works on a full disk too.

    Raises `DeliveryError`: another process holds the lock. A folder that cannot be written is no error; there is no
    lock then.
    """

    def __init__(self, path: Path) -> None:
        self.is_open = True
        self._descriptor = -1
        with contextlib.suppress(OSError):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._descriptor = os.open(_beside(path, ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _ONLY_OURS)
        if self._descriptor < 0:
            return
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._descriptor)
            message = f"outbox {path}: another emotion-edge uses it; stop that one or set another state_dir"
            raise DeliveryError(message) from error

    @property
    def has_lock(self) -> bool:
        """True if the file is locked."""
        return self._descriptor >= 0

    def says_in_memory(self) -> bool:
        """Return True if the last process ended while events waited in memory."""
        return self.has_lock and os.pread(self._descriptor, 16, 0) == _MARKS[True]

    def note(self, *, in_memory: bool) -> None:
        """Store where events wait, if the disk can be written."""
        with contextlib.suppress(OSError):
            if self.has_lock and os.pread(self._descriptor, 16, 0) != _MARKS[in_memory]:
                os.pwrite(self._descriptor, _MARKS[in_memory], 0)
                os.fsync(self._descriptor)

    def close(self) -> None:
        """Unlock and close the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor, self.is_open = -1, False


@dataclass(frozen=True, slots=True)
class Found:
    """What was found where the outbox should be."""

    state: Literal["none", "sound", "old format", "damaged"]
    snapshot: Snapshot = field(default_factory=Snapshot)
    """what a new database takes over"""
    seq_known: bool = True
    """False if the last number given to an event is unknown"""


def examine(path: Path, files: Files, salvaged: Snapshot | None = None) -> Found:
    """Examine the file, after completing a `replace_database` that was interrupted.

    Raises `ConfigError`: a newer version created it.
    Raises `sqlite3.Error` or `OSError`: the disk is full, read-only, …

    ``salvaged``: what could be read of a database that is known to be damaged; None if nothing is known.
    """
    if _beside(path, _NEW).exists():
        _put_in_place(path, files, keep_old=True)
    if salvaged is not None:
        return Found("damaged", salvaged, seq_known=salvaged.seq > 0)
    if not path.exists() or _is_empty(path):
        # With a damaged one beside it, an older version was interrupted before it created a new one.
        return Found("none", seq_known=next(path.parent.glob(f"{path.name}.damaged-*"), None) is None)
    try:
        with malformed_is_damage(), contextlib.closing(connect(path, synchronous="full")) as database:
            found = _examined(path, database)
    except SQLITE_ERRORS as error:
        if not is_damage(error):
            raise
        snapshot = salvage(path)
        found = Found("damaged", snapshot, seq_known=snapshot.seq > 0)
    return found


def stored_format(path: Path) -> int | None:
    """Return the format of the file, without changing it; None if there is none, or no version wrote such a file."""
    try:
        with contextlib.closing(
            sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=1)
        ) as database:
            return format_of(database)
    except SQLITE_ERRORS:
        return None


def replace_database(
    path: Path, files: Files, fill: Callable[[sqlite3.Connection], None], *, keep_old: bool
) -> str | None:
    """Replace the database by a new one; at any interruption either the old or the new one is complete.

    Raises `sqlite3.Error` or `OSError`: the disk is full, read-only, …: nothing has changed, or `examine` will complete
    it.

    ``fill``: writes the old content into the new database.
    ``keep_old``: True renames the old one, False deletes it.
    Returns the old one's new name, None if it was deleted.
    """
    building = _beside(path, _BUILDING)
    try:
        building.unlink(missing_ok=True)
        os.close(os.open(building, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _ONLY_OURS))
        with contextlib.closing(sqlite3.connect(building, isolation_level=None)) as database:
            database.execute("PRAGMA journal_mode = OFF")  # it is deleted if anything goes wrong
            database.executescript(SCHEMA)
            fill(database)
        files.sync(building)
        files.rename(building, _beside(path, _NEW))
    except (*SQLITE_ERRORS, OSError):
        with contextlib.suppress(OSError):
            building.unlink(missing_ok=True)
        raise
    files.sync(path.parent)
    return _put_in_place(path, files, keep_old=keep_old)


def salvage(path: Path) -> Snapshot:
    """Return what is readable of a database that cannot be used, without writing to the disk."""
    best = Snapshot()
    for part in (_beside(path, _NEW), path):
        for how in ("mode=ro", "mode=ro&immutable=1"):  # the second if no shared memory file can be created
            try:
                database = sqlite3.connect(f"{part.absolute().as_uri()}?{how}", uri=True, timeout=1)
            except SQLITE_ERRORS:
                continue
            with contextlib.closing(database):
                snapshot = read_snapshot(database, Snapshot())
            best = max(best, snapshot, key=lambda found: (len(found.events), found.seq))
    return best


def connect(path: Path, *, synchronous: str) -> sqlite3.Connection:
    """Open the database in WAL mode; transactions are explicit."""
    database = sqlite3.connect(path, timeout=5, isolation_level=None, check_same_thread=False)
    database.text_factory = lambda raw: raw.decode(errors="replace")  # damaged text must not raise
    try:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute(f"PRAGMA synchronous = {synchronous}")
    except SQLITE_ERRORS:
        database.close()
        raise
    return database


def is_damage(error: Exception) -> bool:
    """Return True for a damaged database, False for a disk that is full, read-only or busy."""
    if isinstance(error, UnicodeDecodeError):
        return True
    code = getattr(error, "sqlite_errorcode", 0)
    return code == sqlite3.SQLITE_IOERR_SHORT_READ or code & 0xFF not in _CONDITIONS


def as_user_error(error: Exception, path: Path) -> EmotionEdgeError:
    """Return the error as one line for the user."""
    if isinstance(error, EmotionEdgeError):
        return error
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL or (isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}):
        return DeliveryError(f"outbox {path}: the disk is full; free some space")
    if code in {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM} or isinstance(error, OSError):
        return DeliveryError(f"outbox {path}: cannot be written; check state_dir and its owner")
    return DeliveryError(f"outbox {path}: {error}")


def _put_in_place(path: Path, files: Files, *, keep_old: bool) -> str | None:
    """Rename the new database, which is complete and flushed, to be the outbox."""
    aside = f"{path.name}.damaged-{datetime.now(UTC):%Y%m%dT%H%M%S%fZ}"
    for suffix in _PARTS:
        if not (part := _beside(path, suffix)).exists():
            continue
        if keep_old:
            with contextlib.suppress(OSError):
                part.chmod(_ONLY_OURS)
            files.rename(part, path.with_name(aside + suffix))
        else:
            files.remove(part)
    files.sync(path.parent)  # the new database must never be opened with the old one's log
    files.rename(_beside(path, _NEW), path)
    files.sync(path.parent)
    _remove_older_damaged(path)
    return aside if keep_old else None


def _remove_older_damaged(path: Path, keep: int = 3) -> None:
    """Keep the newest for a person to look at, not more: a failing card damages the file again and again."""
    found = {name.name.removesuffix("-wal").removesuffix("-shm") for name in path.parent.glob(f"{path.name}.damaged-*")}
    for name in sorted(found)[:-keep]:
        for suffix in _PARTS:
            path.with_name(name + suffix).unlink(missing_ok=True)


def _is_empty(path: Path) -> bool:
    """Return True for a file that was never written to, which an interrupted start leaves."""
    return path.stat().st_size == 0 and not _beside(path, "-wal").exists()


def _examined(path: Path, database: sqlite3.Connection) -> Found:
    (verdict,) = database.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise DamagedError
    if (version := format_of(database)) > FORMAT:
        made = f"outbox {path}: a newer emotion-edge made it (format {version}, not {FORMAT})"
        raise ConfigError(f"state_dir: {made}; install that one again, or set another state_dir")
    check(database)
    return Found("sound") if version == FORMAT else Found("old format", read_snapshot(database, Snapshot()))


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)
