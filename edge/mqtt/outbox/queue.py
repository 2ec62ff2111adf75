"""The outbox: events on disk from the moment they happen until the broker has acknowledged them.

Looked at before this was written: persist-queue (SQLite queues with acknowledgements; pickled items, no bound, and the
number of an item is known only after it is stored, so it cannot be part of the payload), litequeue (needs Python 3.12;
a bound refuses the new instead of dropping the old), diskcache's Deque (drops the oldest; no acknowledgement, so what
was taken and not sent is gone), peewee and SQLAlchemy (an object mapper for three tables), paho-mqtt's own queue (in
memory). None gives out a number in the transaction that stores the payload, drops the oldest with a count, deletes by
number, and outlives its own file; with SQLite from the standard library that is what follows.
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
from edge.mqtt.outbox.repair import LockFile, build, connect, examine, is_damage, last_words, plain
from edge.mqtt.outbox.tables import SQLITE_ERRORS, Bounds, Snapshot, Store, StoredEvent, in_memory

RETRY_DISK_S = 60.0
"""How often a disk that could not be written is tried again."""

Synchronous = Literal["off", "normal", "full"]
T = TypeVar("T")

_LOG = logging.getLogger(__name__)


class Outbox:
    """Events that wait for the broker, in the order in which they happened; for any thread.

    An append is in the file when it returns (SQLite in WAL mode): SIGKILL does not take it back, nor does a power cut
    where ``synchronous`` is ``full``. An acknowledgement that is taken back only means that an event is sent twice.

    A damaged database, found at the start or later, is renamed to ``<name>.damaged-<UTC time>``; a new one takes over
    what could still be read, and what could not counts as dropped. ``seq`` goes on where it was, else at the Unix time
    in milliseconds, which is larger than any number that was counted up by one. Where the disk is full or cannot be
    read or written, events wait in memory, in order with those from the disk, and go back to the disk once it takes
    them.

    Parameters
    ----------
    path
        The database; its folder is made where it is missing.
    max_events, max_bytes, max_age_s
        Events, bytes of payload and seconds that are kept; beyond that the oldest are dropped and counted.
    synchronous
        When an append is on the disk itself: ``full``, when it returns; ``normal``, at the next checkpoint; ``off``,
        whenever the kernel likes.
    clock
        What events are aged by.
    files
        What changes the disk where a database is replaced.

    Raises
    ------
    DeliveryError
        Another process has this outbox open.
    ConfigError
        A newer version made it.
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
        self._known = Snapshot()
        self._copied: frozenset[int] = frozenset()  # what waits in memory and on the disk
        self._retry_at_s = 0.0
        self._not_on_disk = ""
        self._commits_before = 0
        self.on_disk = True
        """False while events wait in memory"""
        self.set_aside = 0
        """databases that were found damaged since the start"""
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
        """Return how long an event has waited, seconds, never negative; no jump of the date changes it."""
        return max(0.0, self._store.now_s() - event.stored_s)

    def append(self, events: Sequence[msgspec.Struct]) -> list[int]:
        """Number events, store them as JSON in one write, all or none, and return each one's ``seq``.

        Parameters
        ----------
        events
            Each has a field ``seq``, which is replaced by the next number: one more than the last one, for ever.

        Raises
        ------
        TypeError
            One of them cannot be encoded: nothing is stored and no number is used up.
        """

        def append(store: Store) -> list[int]:
            seqs = store.append(events)
            self._known = store.held()
            return seqs

        return self._do(append)

    def batch(self, after_seq: int, limit: int) -> list[StoredEvent]:
        """Return up to `limit` events above `after_seq`, in order; those too old are dropped."""
        return self._do(lambda store: store.batch(after_seq, limit))

    def acknowledge(self, *seqs: int) -> None:
        """Forget events that the broker has; a number that is not there (any more) is fine."""

        def acknowledge(store: Store) -> None:
            store.acknowledge(seqs)
            self._known = store.held()

        self._do(acknowledge)

    def depth(self) -> int:
        """Return how many events wait."""
        return self._held().depth

    @property
    def dropped(self) -> int:
        """Events given up since the outbox was made, over all restarts."""
        return self._held().dropped

    def close(self) -> None:
        """Close the database; what waits on the disk stays, what it does not take is lost, and the log says so."""
        with self._lock:
            if self._lock_file.is_open:
                if not self.on_disk:
                    self._return_to_disk()
                if not self.on_disk:
                    self._say_what_is_lost()
                self._store.close()
            self._lock_file.close()

    def _held(self) -> Snapshot:
        held = self._do(lambda store: store.held())
        self._known = held
        return held

    def _do(self, action: Callable[[Store], T]) -> T:
        with self._lock:
            if not self.on_disk and self._lock_file.is_open and self._clock.monotonic() >= self._retry_at_s:
                self._return_to_disk()
            try:
                done = action(self._store)
            except SQLITE_ERRORS as error:
                if not self.on_disk or not self._lock_file.is_open:
                    raise plain(error, self._path) from error
                self._store = self._replace(error)
                try:
                    done = action(self._store)
                except SQLITE_ERRORS as again:
                    raise plain(again, self._path) from again
            return done

    def _start(self) -> Store:
        doubt = True
        try:
            doubt = self._lock_file.says_memory()
            return self._open(doubt=doubt)
        except (*SQLITE_ERRORS, OSError) as error:
            held = self._known if self._known.seq else last_words(self._path)
            if doubt or not held.seq or not self._lock_file.has_lock:  # unlocked, the last start could note no doubt
                held = self._far_ahead(held)
            return self._into_memory(error, held)

    def _open(self, *, doubt: bool = False, instead: Snapshot | None = None) -> Store:
        """Open the file, made anew where it is damaged or old; what could be read of it goes into the new one."""
        found = examine(self._path, self._files, instead)
        jumps = doubt or not found.seq_known
        held = self._far_ahead(found.held) if jumps else found.held
        if found.state != "sound":
            self._known = held
            damaged = found.state == "damaged"
            aside = build(self._path, self._files, partial(self._fill, held), keep_old=damaged)
            if damaged:
                self.set_aside += 1
                _LOG.error(
                    "outbox %s is damaged; set aside as %s, %d of %d events could be read, they go on from seq %d",
                    self._path, aside, len(held.events), held.depth, held.seq + 1,
                )  # fmt: skip
        # Two connections: an append must reach the disk and an acknowledgement need not.
        writer = connect(self._path, synchronous=self._synchronous)
        reader = writer
        try:
            reader = connect(self._path, synchronous="off" if self._synchronous == "off" else "normal")
            store = Store(writer, reader, self._bounds, self._clock)
            if doubt and found.state == "sound":
                store.take_over(held)
            self._known = store.held()
        except BaseException:
            writer.close()
            reader.close()
            raise
        if jumps:
            line = "outbox %s: which number was the last is not known; events go on from seq %d"
            _LOG.warning(line, self._path, self._known.seq + 1)
        self._lock_file.note(in_memory=False)
        return store

    def _fill(self, held: Snapshot, database: sqlite3.Connection) -> None:
        Store(database, database, self._bounds, self._clock).take_over(held)

    def _far_ahead(self, held: Snapshot) -> Snapshot:
        """Number on from the Unix time in milliseconds: larger than any number that was counted up by one."""
        return held.numbered(int(self._clock.unix_s() * 1000))

    def _replace(self, error: Exception) -> Store:
        """Give up a store that has failed while it was used; return the one that goes on."""
        held = self._store.last_words(self._known)
        self._commits_before += self._store.commits
        self._store.abandon()
        if not is_damage(error):
            return self._into_memory(error, held)
        try:
            return self._open(instead=held)
        except (*SQLITE_ERRORS, OSError) as again:
            return self._into_memory(again, held)

    def _into_memory(self, error: Exception, held: Snapshot) -> Store:
        self._not_on_disk = str(plain(error, self._path))
        line = "%s; until then events wait in memory, and a power cut takes them; they go on from seq %d"
        _LOG.error(line, self._not_on_disk, held.seq + 1)
        self.on_disk = False
        self._retry_at_s = self._clock.monotonic() + RETRY_DISK_S
        self._lock_file.note(in_memory=True)
        self._copied = frozenset(event.seq for event in held.events)
        database = in_memory()
        self._fill(held, database)
        return Store(database, database, self._bounds, self._clock)

    def _return_to_disk(self) -> None:
        self._retry_at_s = self._clock.monotonic() + RETRY_DISK_S
        held = self._store.last_words(self._known)
        store = None
        try:
            if not self._lock_file.has_lock:
                self._lock_file = LockFile(self._path)
            store = self._open()
            store.take_over(held, instead_of=self._copied)
        except (*SQLITE_ERRORS, OSError, EmotionEdgeError) as error:
            self._not_on_disk = str(plain(error, self._path))
            _LOG.debug("%s", self._not_on_disk)
            if store is not None:
                store.abandon()
            self._known = self._store.held()
            self._lock_file.note(in_memory=True)
            return
        self._store.abandon()
        self._store, self.on_disk = store, True
        _LOG.warning("outbox %s can be written again; events wait on the disk", self._path)

    def _say_what_is_lost(self) -> None:
        lost = sum(event.seq not in self._copied for event in self._store.last_words(self._known).events)
        if lost:
            _LOG.error("%d events are lost: they waited in memory, and %s", lost, self._not_on_disk)
