"""The outbox: events on disk from the moment they happen until the broker has acknowledged them.

Why not a library: persist-queue pickles, has no bound, and numbers an item only after it is stored, so the number
cannot be part of the payload; litequeue needs Python 3.12 and refuses new items instead of dropping old ones;
diskcache's Deque has no acknowledgement; peewee and SQLAlchemy map objects, for three tables; paho-mqtt's queue is in
memory. None numbers an item in the transaction that stores it, counts what it drops, and survives a damaged file.
"""

import logging
import sqlite3
import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Literal, TypeVar

import msgspec

from edge.clock import Clock, SystemClock
from edge.errors import EmotionEdgeError
from edge.files import Files
from edge.mqtt.outbox.repair import LockFile, as_user_error, connect, examine, is_damage, replace_database, salvage
from edge.mqtt.outbox.tables import FORMAT, SQLITE_ERRORS, Bounds, Snapshot, Store, StoredEvent, in_memory

RETRY_DISK_S = 60.0
"""Seconds after which a disk that could not be written is tried again."""

Synchronous = Literal["off", "normal", "full"]
T = TypeVar("T")

_LOG = logging.getLogger(__name__)


class Outbox:
    """Events that wait for the broker, in the order in which they happened; for any thread.

    An append is in the file when it returns (SQLite in WAL mode): it survives a SIGKILL, and a power cut too if
    ``synchronous`` is ``full``. An acknowledgement that is lost only means that an event is sent twice.

    A damaged database, found at the start or later, is renamed to ``<name>.damaged-<UTC time>``. A new one takes over
    what is readable; the rest counts as dropped. ``seq`` continues where it was; if that is unknown, at the Unix time
    in milliseconds, which is larger than any number counted up by one. While the disk is full or unusable, events wait
    in memory, in order with those from the disk, and return to the disk as soon as it can be written.

    Raises `DeliveryError`: another process has this outbox open.
    Raises `ConfigError`: a newer version made it.

    ``path``: the database; its folder is created if needed.
    ``max_events``, ``max_bytes``, ``max_age_s``: maximum number, bytes of payload and age in seconds; beyond these the
    oldest events are dropped and counted.
    ``synchronous``: when an append is flushed to the disk: ``full``, before it returns; ``normal``, at the next
    checkpoint; ``off``, when the kernel decides.
    ``files``: renames and syncs files where a database is replaced.
    """

    def __init__(
        self,
        path: Path,
        *,
        max_events: int,
        max_age_s: float,
        max_bytes: int = 64_000_000,
        synchronous: Synchronous = "full",
        clock: Clock | None = None,
        files: Files | None = None,
    ) -> None:
        self._path = path
        self._bounds = Bounds(max_events, max_bytes, max_age_s)
        self._synchronous = synchronous
        self._clock = clock or SystemClock()
        self._files = files or Files()
        self._lock = threading.RLock()
        self._lock_file = LockFile(path)
        self._saved = Snapshot()  # what was readable of a file that is being replaced
        self._also_on_disk: frozenset[int] = frozenset()  # numbers of events in memory that are on the disk, too
        self._retry_at_s = 0.0
        self._disk_fault = ""
        self._commits_before = 0
        self.on_disk = True
        """False while events wait in memory"""
        self.set_aside = 0
        """databases found damaged since the start"""
        try:
            self._store = self._start()
        except BaseException:
            self._lock_file.close()
            raise

    @property
    def max_age_s(self) -> float:
        """Seconds after which an event is dropped."""
        return self._bounds.age_s

    @property
    def commits(self) -> int:
        """Transactions written to the disk since the start."""
        return self._commits_before + (self._store.commits if self.on_disk else 0)

    def age_s(self, event: StoredEvent) -> float:
        """Return the seconds for which an event has waited, never negative; a jump of the date does not change it."""
        return max(0.0, self._store.now_s() - event.stored_s)

    def append(self, events: Sequence[msgspec.Struct]) -> list[int]:
        """Number events, store them as JSON in one write, all or none, and return each one's ``seq``.

        ``events``: each has a field ``seq``, which is replaced by the next number: one more than the last one, for
        ever.
        Raises `TypeError`: one of them cannot be encoded: nothing is stored and no number is used up.
        """
        return self._run(lambda store: store.append(events))

    def batch(self, after_seq: int, limit: int) -> list[StoredEvent]:
        """Return up to `limit` events above `after_seq`, in order; drop those that are too old."""
        return self._run(lambda store: store.batch(after_seq, limit))

    def acknowledge(self, *seqs: int) -> None:
        """Delete events that the broker has; a number that is not in the outbox is ignored."""
        self._run(lambda store: store.acknowledge(seqs))

    @property
    def depth(self) -> int:
        """Events in the outbox."""
        return self._run(Store.counts).depth

    @property
    def dropped(self) -> int:
        """Events dropped since the outbox was created, over all restarts."""
        return self._run(Store.counts).dropped

    def close(self) -> None:
        """Close the database; what waits in memory and cannot be written is lost, and the log says so."""
        with self._lock:
            if self._lock_file.is_open:
                if not self.on_disk:
                    self._return_to_disk()
                if not self.on_disk:
                    self._log_losses()
                self._store.close()
            self._lock_file.close()

    def _run(self, action: Callable[[Store], T]) -> T:
        """Run an action on the store; if the store fails, replace it and try once more."""
        with self._lock:
            if not self.on_disk and self._lock_file.is_open and self._clock.monotonic() >= self._retry_at_s:
                self._return_to_disk()
            try:
                done = action(self._store)
            except SQLITE_ERRORS as error:
                if not self.on_disk or not self._lock_file.is_open:
                    raise as_user_error(error, self._path) from error
                self._store = self._replace(error)
                try:
                    done = action(self._store)
                except SQLITE_ERRORS as again:
                    raise as_user_error(again, self._path) from again
            return done

    def _start(self) -> Store:
        doubt = True
        try:
            doubt = self._lock_file.says_in_memory()
            return self._open(doubt=doubt)
        except (*SQLITE_ERRORS, OSError) as error:
            snapshot = self._saved if self._saved.seq else salvage(self._path)
            # Without a lock file the last start could not note that its events waited in memory.
            if doubt or not snapshot.seq or not self._lock_file.has_lock:
                snapshot = self._jump_ahead(snapshot)
            return self._into_memory(error, snapshot)

    def _open(self, *, doubt: bool = False, salvaged: Snapshot | None = None) -> Store:
        """Open the file; replace a damaged or old one by a new one with all that is readable."""
        found = examine(self._path, self._files, salvaged)
        jumps = doubt or not found.seq_known
        snapshot = self._jump_ahead(found.snapshot) if jumps else found.snapshot
        if found.state != "sound":
            self._saved = snapshot
            damaged = found.state == "damaged"
            aside = replace_database(self._path, self._files, partial(self._fill, snapshot), keep_old=damaged)
            if damaged:
                self.set_aside += 1
                _LOG.error(
                    "outbox %s is damaged; set aside as %s, %d of %d events could be read, they go on from seq %d",
                    self._path, aside, len(snapshot.events), snapshot.depth, snapshot.seq + 1,
                )  # fmt: skip
            elif found.state == "old format":
                _LOG.info(
                    "outbox %s is converted to format %d; older versions refuse it from now on", self._path, FORMAT
                )
        # Two connections: an append has to be flushed to the disk, an acknowledgement does not.
        writer = connect(self._path, synchronous=self._synchronous)
        reader = writer
        try:
            reader = connect(self._path, synchronous="off" if self._synchronous == "off" else "normal")
            store = Store(writer, reader, self._bounds, self._clock)
            if doubt and found.state == "sound":
                store.take_over(snapshot)
        except BaseException:
            writer.close()
            reader.close()
            raise
        if jumps:
            line = "outbox %s: the last number is not known; events go on from seq %d"
            _LOG.warning(line, self._path, store.counts().seq + 1)
        self._lock_file.note(in_memory=False)
        return store

    def _fill(self, snapshot: Snapshot, database: sqlite3.Connection) -> None:
        Store(database, database, self._bounds, self._clock).take_over(snapshot)

    def _jump_ahead(self, snapshot: Snapshot) -> Snapshot:
        """Continue at the Unix time in milliseconds: larger than any number counted up by one."""
        return snapshot.with_seq_from(int(self._clock.unix_s() * 1000))

    def _replace(self, error: Exception) -> Store:
        """Replace a store that has failed while in use."""
        snapshot = self._store.salvage()
        self._commits_before += self._store.commits
        self._store.abandon()
        if not is_damage(error):
            return self._into_memory(error, snapshot)
        try:
            return self._open(salvaged=snapshot)
        except (*SQLITE_ERRORS, OSError) as again:
            return self._into_memory(again, snapshot)

    def _into_memory(self, error: Exception, snapshot: Snapshot) -> Store:
        self._disk_fault = str(as_user_error(error, self._path))
        line = "%s; until then events wait in memory, where a power cut would lose them; they go on from seq %d"
        _LOG.error(line, self._disk_fault, snapshot.seq + 1)
        self.on_disk = False
        self._retry_at_s = self._clock.monotonic() + RETRY_DISK_S
        self._lock_file.note(in_memory=True)
        self._also_on_disk = frozenset(event.seq for event in snapshot.events)
        database = in_memory()
        self._fill(snapshot, database)
        return Store(database, database, self._bounds, self._clock)

    def _return_to_disk(self) -> None:
        self._retry_at_s = self._clock.monotonic() + RETRY_DISK_S
        snapshot = self._store.salvage()
        store = None
        try:
            if not self._lock_file.has_lock:
                self._lock_file = LockFile(self._path)
            store = self._open()
            store.take_over(snapshot, instead_of=self._also_on_disk)
        except (*SQLITE_ERRORS, OSError, EmotionEdgeError) as error:
            self._disk_fault = str(as_user_error(error, self._path))
            _LOG.debug("%s", self._disk_fault)
            if store is not None:
                store.abandon()
            self._lock_file.note(in_memory=True)
            return
        self._store.abandon()
        self._store, self.on_disk = store, True
        _LOG.warning("outbox %s can be written again; events wait on the disk", self._path)

    def _log_losses(self) -> None:
        lost = sum(event.seq not in self._also_on_disk for event in self._store.salvage().events)
        if lost:
            _LOG.error("%d events are lost: they waited in memory, and %s", lost, self._disk_fault)
