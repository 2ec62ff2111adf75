"""The privacy pause: a file in the state folder, while which is there the camera stays closed.

The file is all there is to it. The command line writes it, a command from the network writes it, and whoever can
write the folder may: ``touch privacy-pause`` pauses, ``rm privacy-pause`` ends it. So a pause survives a reboot.
It holds a `Pause` as JSON where it has a time limit; a file that cannot be read, or holds anything else, is a pause
without a limit, because a pause that ends too early cannot be made good.
"""

import contextlib
import logging
from pathlib import Path

import msgspec

from edge.clock import Clock, Stamp, elapsed_s, utc_time
from edge.errors import PrivacyError
from edge.events.payloads import Privacy
from edge.files import Files, replace_file

FILE_NAME = "privacy-pause"
LONGEST_S = 366 * 86_400.0
_MOST_BYTES = 4096
_UNKNOWN: tuple[int, ...] = ()
"""signature of a file of which cannot be known whether it is there: it is"""

log = logging.getLogger(__name__)


class Pause(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A pause that somebody asked for."""

    for_s: float | None = msgspec.field(default=None)
    """limit, seconds; None: until it is ended"""
    since: Stamp | None = None
    """when the limit began to count"""


class PrivacyPause:
    """What the daemon asks at each step. Used by one thread.

    Parameters
    ----------
    folder
        The state folder.
    """

    def __init__(self, folder: Path, clock: Clock) -> None:
        self._folder = folder
        self._path = folder / FILE_NAME
        self._clock = clock
        self._pause: Pause | None = None
        self._told: Pause | None = None
        self._signature: tuple[int, ...] | None = None
        self._unwritten = False
        self._ends_s: float | None = None

    @property
    def pause(self) -> Pause | None:
        """The pause that is on, None where the camera may be open; as of the last `look` or `command`."""
        return self._pause

    def left_s(self) -> float | None:
        """Seconds until it ends, None where there is no limit or no pause."""
        return None if self._ends_s is None else max(0.0, self._ends_s - self._clock.monotonic())

    def payload(self) -> Privacy:
        """Return what is published of it."""
        left_s, now_s = self.left_s(), self._clock.unix_s()
        return Privacy(
            paused=self._pause is not None,
            for_s=self._pause.for_s if self._pause else None,
            until=None if left_s is None else utc_time(now_s + left_s),
            time=utc_time(now_s),
        )

    def look(self, *, change: bool = True) -> bool:
        """Read the file where it has changed, end what has run out; return whether the answer is another one now.

        Parameters
        ----------
        change
            False leaves the file of a pause that has run out to the daemon.
        """
        self._read_if_changed()
        if self._ends_s is not None and self._clock.monotonic() >= self._ends_s:
            if change:
                log.info("the privacy pause has come to its end")
                self._end()
            else:
                self._begin(None)
        told, self._told = self._told, self._pause
        return self._pause != told

    def command(self, *, paused: bool, for_s: float | None) -> None:
        """Do what a command asks for; where nothing can be written, until the next start or change of the file."""
        try:
            if paused:
                pause(self._folder, for_s, self._clock)
            else:
                resume(self._folder)
        except PrivacyError as error:
            log.error("%s; it holds until the program ends", error)  # noqa: TRY400 - one line, no traceback
            self._signature, self._unwritten = _signature(self._path), True
            self._begin(Pause(for_s=for_s, since=self._clock.stamp()) if paused else None)
        else:
            self._read(_signature(self._path))

    def _read_if_changed(self) -> None:
        signature = _signature(self._path)
        if signature == self._signature:
            return
        if self._unwritten and _UNKNOWN in {signature, self._signature}:
            # A card that goes and comes back with the file as it was takes back nothing that was asked for meanwhile.
            self._signature = self._signature if signature == _UNKNOWN else signature
            return
        self._read(signature)

    def _read(self, signature: tuple[int, ...] | None) -> None:
        self._signature, self._unwritten = signature, False
        self._begin(None if signature is None else _pause_of(self._path))

    def _begin(self, pause: Pause | None) -> None:
        self._pause, self._ends_s = pause, None
        if pause is not None and pause.for_s is not None and pause.since is not None:
            # Over a reboot that left the date unknown the limit begins anew: rather too long than too short.
            gone_s = elapsed_s(pause.since, self._clock.stamp()) or 0.0
            self._ends_s = self._clock.monotonic() + max(0.0, pause.for_s - gone_s)

    def _end(self) -> None:
        self._begin(None)
        try:
            resume(self._folder)
            self._signature, self._unwritten = None, False
        except PrivacyError as error:
            log.warning("%s", error)
            self._unwritten = True


def pause(folder: Path, for_s: float | None, clock: Clock, files: Files | None = None) -> None:
    """Ask for a pause: takes effect on a running daemon within a second, and on every later start.

    It is on the disk when this returns, so that a power cut does not open the camera again.

    Parameters
    ----------
    folder
        The state folder of the daemon.
    for_s
        Limit, seconds; None: until `resume`.

    Raises
    ------
    PrivacyError
        The folder cannot be written.
    """
    asked = Pause(for_s=for_s, since=clock.stamp() if for_s is not None else None)
    try:
        replace_file(files or Files(), folder / FILE_NAME, msgspec.json.encode(asked))
    except OSError as error:
        raise PrivacyError(f"privacy: {folder} cannot be written: {error.strerror}") from error


def resume(folder: Path, files: Files | None = None) -> None:
    """End a pause.

    Raises
    ------
    PrivacyError
        The folder cannot be written.
    """
    files = files or Files()
    try:
        with contextlib.suppress(FileNotFoundError):
            files.remove(folder / FILE_NAME)
            files.sync(folder)
    except OSError as error:
        raise PrivacyError(f"privacy: {folder} cannot be written: {error.strerror}") from error


def _signature(path: Path) -> tuple[int, ...] | None:
    """What tells a file from another of the same name; None where there is none."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return None
    except OSError:
        return _UNKNOWN
    return (found.st_ino, found.st_mtime_ns, found.st_size)


def _pause_of(path: Path) -> Pause:
    if not path.is_file():  # opening a pipe would wait for its other end
        return Pause()
    try:
        with path.open("rb") as file:
            read = msgspec.json.decode(file.read(_MOST_BYTES), type=Pause)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Pause()
    if read.for_s is not None and not (read.since is not None and 0 < read.for_s <= LONGEST_S):
        return Pause()
    return read
