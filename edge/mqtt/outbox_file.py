"""The outbox's file: made, checked, locked, and set aside where it is damaged."""

import contextlib
import fcntl
import logging
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from edge.errors import DeliveryError
from edge.mqtt.outbox_store import FORMAT, SCHEMA, SQLITE_ERRORS, Held, read_held

_LOG = logging.getLogger(__name__)
# What SQLite answers where the machine is at fault, and not the file: nothing is set aside for that.
_CONDITIONS = {
    0, sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_AUTH,
}  # fmt: skip
_COUNT = "SELECT count(*), coalesce(sum(length(payload)), 0), max(seq) FROM event"
_MARKS = {False: b"disk  \n", True: b"memory\n"}


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
            path.parent.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(_beside(path, ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
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
        if self.has_lock and os.pread(self._descriptor, 16, 0) != _MARKS[in_memory]:
            with contextlib.suppress(OSError):
                os.pwrite(self._descriptor, _MARKS[in_memory], 0)
                os.fsync(self._descriptor)

    def close(self) -> None:
        """Let go."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor, self.is_open = -1, False


@dataclass(frozen=True, slots=True)
class Repair:
    """What a new database has to take over."""

    held: Held
    was_damaged: bool


def make_sound(path: Path, now_s: float, *, doubt: bool = False, instead: Held | None = None) -> Repair | None:
    """Make the database, or check the one that is there and set it aside where it is damaged.

    Parameters
    ----------
    path
        The database.
    now_s
        Unix time; its milliseconds are where ``seq`` goes on when the old one is not known.
    doubt
        Its ``seq`` is not to be believed, though it can be read.
    instead
        It has turned out to be damaged, and this is what could be read of it.

    Returns
    -------
    Repair
        None where the database is sound or new.

    Raises
    ------
    DeliveryError, sqlite3.Error, OSError
        A newer version made it; the disk is full, read-only, …
    """
    ahead = int(now_s * 1000)
    repair: Repair | None = None
    if path.exists() and not _is_empty(path):
        if instead is None and _is_sound(path):
            return Repair(Held(seq=ahead), was_damaged=False) if doubt else None
        held = instead or last_words(path)
        held = held.numbered(ahead) if doubt or not held.seq else held
        aside = _set_aside(path)
        repair = Repair(held, was_damaged=True)
        _LOG.error(
            "outbox %s is damaged; set aside as %s, %d of %d events could be read, they go on from seq %d",
            path, aside, len(held.events), held.depth, held.seq + 1,
        )  # fmt: skip
    elif next(path.parent.glob(f"{path.name}.damaged-*"), None):
        # Cut off between setting aside and making anew: what the last seq was is no longer known.
        repair = Repair(Held(seq=ahead), was_damaged=False)
    with _open(path) as database:
        database.executescript(SCHEMA)
    return repair


def last_words(path: Path) -> Held:
    """Return what can be read of a database that cannot be used, without writing a byte."""
    best = Held()
    for how in ("mode=ro", "mode=ro&immutable=1"):  # the second one where no shared memory file can be made
        try:
            database = sqlite3.connect(f"{path.absolute().as_uri()}?{how}", uri=True, timeout=1)
        except SQLITE_ERRORS:
            continue
        with contextlib.closing(database):
            held = read_held(database, Held())
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


def plain(error: Exception, path: Path) -> DeliveryError:
    """Return the one line that a user reads."""
    if isinstance(error, DeliveryError):
        return error
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return DeliveryError(f"outbox {path}: the disk is full; free some space")
    if code in {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM} or isinstance(error, OSError):
        return DeliveryError(f"outbox {path}: cannot be written; check state_dir and its owner")
    return DeliveryError(f"outbox {path}: {error}")


def _set_aside(path: Path) -> str:
    name = f"{path.name}.damaged-{datetime.now(UTC):%Y%m%dT%H%M%S%fZ}"
    for suffix in ("", "-wal", "-shm"):
        if (part := _beside(path, suffix)).exists():
            part.rename(path.with_name(name + suffix))
    _remove_all_but_the_newest(path)
    return name


def _remove_all_but_the_newest(path: Path, keep: int = 3) -> None:
    """Keep what a person may want to look at, and not more: a card that dies damages the file again and again."""
    found = {name.name.removesuffix("-wal").removesuffix("-shm") for name in path.parent.glob(f"{path.name}.damaged-*")}
    for name in sorted(found)[:-keep]:
        for suffix in ("", "-wal", "-shm"):
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


def _is_sound(path: Path) -> bool:
    try:
        with _open(path) as database:
            (version,) = database.execute("PRAGMA user_version").fetchone()
            (verdict,) = database.execute("PRAGMA quick_check(1)").fetchone()
            if verdict == "ok" and version > FORMAT:
                raise DeliveryError(f"outbox {path}: a newer emotion-edge made it (format {version}, not {FORMAT})")
            counters = dict(database.execute("SELECT name, value FROM counter"))
            database.execute("SELECT seq, stored_s, payload, crc FROM event LIMIT 1").fetchone()
            database.execute("SELECT outbox_s, stamp FROM time").fetchone()
            depth, held_bytes, last = database.execute(_COUNT).fetchone()
    except SQLITE_ERRORS as error:
        if is_damage(error):
            return False
        raise
    values = [counters.get(name) for name in ("seq", "depth", "bytes", "dropped")]
    if verdict != "ok" or not all(isinstance(value, int) and value >= 0 for value in values):
        return False
    counts_fit = (depth, held_bytes) == (counters["depth"], counters["bytes"])
    return counts_fit and (last or 0) <= int(counters["seq"])


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)
