"""The outbox's file: locked, examined, made anew where it is damaged or of an older format."""

import contextlib
import errno
import fcntl
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
    as_written,
    check,
    format_of,
    read_held,
)

# What SQLite answers where the machine is at fault, and not the file: nothing is set aside for that.
_CONDITIONS = {
    0, sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_AUTH,
}  # fmt: skip
_MARKS = {False: b"disk  \n", True: b"memory\n"}
_PARTS = ("", "-wal", "-shm")
_NEW = ".new"
"""A database under this name is whole and on the disk: from then on it is the outbox, whatever else is there."""
_BUILDING = ".building"
_ONLY_OURS = 0o600


class LockFile:
    """``<path>.lock``, held so that two daemons cannot send the same events; the kernel lets go when a process dies.

    It also says whether events waited in memory when the last process ended: numbers were given out then that the
    database knows nothing of. These bytes are written over in place, which a full disk allows.

    Raises
    ------
    DeliveryError
        Another process holds it. A folder that cannot be written is no error, only no lock.
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
        """Whether it could be locked."""
        return self._descriptor >= 0

    def says_memory(self) -> bool:
        """Whether the last process ended while events waited in memory."""
        return self.has_lock and os.pread(self._descriptor, 16, 0) == _MARKS[True]

    def note(self, *, in_memory: bool) -> None:
        """Note where events wait, as far as the disk allows."""
        with contextlib.suppress(OSError):
            if self.has_lock and os.pread(self._descriptor, 16, 0) != _MARKS[in_memory]:
                os.pwrite(self._descriptor, _MARKS[in_memory], 0)
                os.fsync(self._descriptor)

    def close(self) -> None:
        """Let go."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor, self.is_open = -1, False


@dataclass(frozen=True, slots=True)
class Found:
    """What is there when the outbox is opened."""

    state: Literal["none", "sound", "old format", "damaged"]
    held: Snapshot = field(default_factory=Snapshot)
    """what a new database has to take over"""
    seq_known: bool = True
    """whether the last number is known that was given out"""


def examine(path: Path, files: Files, instead: Snapshot | None = None) -> Found:
    """Say what is there, after finishing a `build` that was cut off.

    Parameters
    ----------
    path
        The database.
    files
        What changes the disk.
    instead
        It has turned out to be damaged, and this is what could be read of it.

    Raises
    ------
    ConfigError, sqlite3.Error, OSError
        A newer version made it; the disk is full, read-only, …
    """
    if _beside(path, _NEW).exists():
        _put_in_place(path, files, keep_old=True)
    if instead is not None:
        return Found("damaged", instead, seq_known=instead.seq > 0)
    if not path.exists() or _is_empty(path):
        # A damaged one beside it: an older version was cut off between setting it aside and making a new one.
        return Found("none", seq_known=next(path.parent.glob(f"{path.name}.damaged-*"), None) is None)
    try:
        with as_written(), _open(path) as database:
            found = _examined(path, database)
    except SQLITE_ERRORS as error:
        if not is_damage(error):
            raise
        held = last_words(path)
        found = Found("damaged", held, seq_known=held.seq > 0)
    return found


def build(path: Path, files: Files, fill: Callable[[sqlite3.Connection], None], *, keep_old: bool) -> str | None:
    """Put a new database in the place of what is there; wherever it is cut off, the old one or the new one is whole.

    Parameters
    ----------
    path
        The database.
    files
        What changes the disk.
    fill
        Writes into the new one what the old one held.
    keep_old
        Whether the old one is set aside, or removed.

    Returns
    -------
    str
        The name of the old one, None where it was removed.

    Raises
    ------
    sqlite3.Error, OSError
        The disk is full, read-only, …: nothing has changed, or `examine` will finish it.
    """
    building = _beside(path, _BUILDING)
    try:
        building.unlink(missing_ok=True)
        os.close(os.open(building, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _ONLY_OURS))
        with contextlib.closing(sqlite3.connect(building, isolation_level=None)) as database:
            database.execute("PRAGMA journal_mode = OFF")  # it is thrown away if anything goes wrong
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


def last_words(path: Path) -> Snapshot:
    """Return what can be read of a database that cannot be used, without writing a byte."""
    best = Snapshot()
    for part in (_beside(path, _NEW), path):
        for how in ("mode=ro", "mode=ro&immutable=1"):  # the second one where no shared memory file can be made
            try:
                database = sqlite3.connect(f"{part.absolute().as_uri()}?{how}", uri=True, timeout=1)
            except SQLITE_ERRORS:
                continue
            with contextlib.closing(database):
                held = read_held(database, Snapshot())
            best = max(best, held, key=lambda found: (len(found.events), found.seq))
    return best


def connect(path: Path, *, synchronous: str) -> sqlite3.Connection:
    """Open the database in WAL mode; transactions are begun by hand."""
    database = sqlite3.connect(path, timeout=5, isolation_level=None, check_same_thread=False)
    database.text_factory = lambda raw: raw.decode(errors="replace")  # a damaged name is no name, and no error
    try:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute(f"PRAGMA synchronous = {synchronous}")
    except SQLITE_ERRORS:
        database.close()
        raise
    return database


def is_damage(error: Exception) -> bool:
    """Tell a damaged database from a disk that is full, read-only, or busy."""
    if isinstance(error, UnicodeDecodeError):
        return True
    code = getattr(error, "sqlite_errorcode", 0)
    return code == sqlite3.SQLITE_IOERR_SHORT_READ or code & 0xFF not in _CONDITIONS


def plain(error: Exception, path: Path) -> EmotionEdgeError:
    """Return the one line that a user reads."""
    if isinstance(error, EmotionEdgeError):
        return error
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL or (isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}):
        return DeliveryError(f"outbox {path}: the disk is full; free some space")
    if code in {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM} or isinstance(error, OSError):
        return DeliveryError(f"outbox {path}: cannot be written; check state_dir and its owner")
    return DeliveryError(f"outbox {path}: {error}")


def _put_in_place(path: Path, files: Files, *, keep_old: bool) -> str | None:
    """Let the new database, which is on the disk, be the outbox."""
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
    files.sync(path.parent)  # the old one's log must not be taken for the new one's
    files.rename(_beside(path, _NEW), path)
    files.sync(path.parent)
    _remove_all_but_the_newest(path)
    return aside if keep_old else None


def _remove_all_but_the_newest(path: Path, keep: int = 3) -> None:
    """Keep what a person may want to look at, and not more: a card that dies damages the file again and again."""
    found = {name.name.removesuffix("-wal").removesuffix("-shm") for name in path.parent.glob(f"{path.name}.damaged-*")}
    for name in sorted(found)[:-keep]:
        for suffix in _PARTS:
            path.with_name(name + suffix).unlink(missing_ok=True)


@contextmanager
def _open(path: Path) -> Iterator[sqlite3.Connection]:
    database = connect(path, synchronous="full")
    try:
        yield database
    finally:
        database.close()


def _is_empty(path: Path) -> bool:
    """Return whether nothing was ever written: a start that was cut off leaves that."""
    return path.stat().st_size == 0 and not _beside(path, "-wal").exists()


def _examined(path: Path, database: sqlite3.Connection) -> Found:
    (verdict,) = database.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise DamagedError
    if (version := format_of(database)) > FORMAT:
        made = f"outbox {path}: a newer emotion-edge made it (format {version}, not {FORMAT})"
        raise ConfigError(f"state_dir: {made}; install that one again, or set another state_dir")
    check(database)
    return Found("sound") if version == FORMAT else Found("old format", read_held(database, Snapshot()))


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)
