"""The privacy pause: the camera stays closed while a file is in the state folder.

The file is the whole state, so a pause survives a reboot. The command line and commands from the network write it, and
anybody with access to the folder may: ``touch privacy-pause`` pauses, ``rm privacy-pause`` resumes. It holds a `Pause`
as JSON if there is a time limit. A file that cannot be read, or holds anything else, is a pause without a limit: a
pause that ends too early cannot be undone.
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
MAX_PAUSE_S = 366 * 86_400.0
_MAX_BYTES = 4096
_UNKNOWN: tuple[int, ...] = ()
"""signature of a file that may or may not exist; it is taken to exist"""

log = logging.getLogger(__name__)


class Pause(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A requested pause."""

    for_s: float | None = msgspec.field(default=None)
    """limit in seconds; None means until it is ended"""
    since: Stamp | None = None
    """moment from which the limit counts"""


class PrivacyPause:
    """Whether a pause is on, as the daemon asks at each step. Used by one thread.

    ``folder``: the state folder.
    """

    def __init__(self, folder: Path, clock: Clock) -> None:
        self._folder = folder
        self._path = folder / FILE_NAME
        self._clock = clock
        self._pause: Pause | None = None
        self._reported: Pause | None = None
        self._signature: tuple[int, ...] | None = None
        self._unwritten = False
        self._ends_s: float | None = None

    @property
    def pause(self) -> Pause | None:
        """The pause that is on, None if the camera may be open; as of the last `check` or `command`."""
        return self._pause

    def left_s(self) -> float | None:
        """Return the seconds until it ends; None without a limit or a pause."""
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

    def check(self, *, change: bool = True) -> bool:
        """Read the file if it has changed, and end an expired pause; return True if `pause` is different now.

        ``change``: False leaves the file of an expired pause for the daemon to remove.
        """
        self._read_if_changed()
        if self._ends_s is not None and self._clock.monotonic() >= self._ends_s:
            if change:
                log.info("the privacy pause has ended")
                self._end()
            else:
                self._begin(None)
        reported, self._reported = self._reported, self._pause
        return self._pause != reported

    def command(self, *, paused: bool, for_s: float | None) -> None:
        """Obey a command. If the file cannot be written, it holds until the next start or change of the file."""
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
            # A card that disappears and returns with its old file does not undo a command given meanwhile.
            self._signature = self._signature if signature == _UNKNOWN else signature
            return
        self._read(signature)

    def _read(self, signature: tuple[int, ...] | None) -> None:
        self._signature, self._unwritten = signature, False
        self._begin(None if signature is None else _pause_of(self._path))

    def _begin(self, pause: Pause | None) -> None:
        self._pause, self._ends_s = pause, None
        if pause is not None and pause.for_s is not None and pause.since is not None:
            # After a reboot without a known date the limit starts again: too long is safer than too short.
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

    Raises `PrivacyError`: the folder cannot be written.

    ``for_s``: limit, seconds; None: until `resume`.
    """
    asked = Pause(for_s=for_s, since=clock.stamp() if for_s is not None else None)
    try:
        replace_file(files or Files(), folder / FILE_NAME, msgspec.json.encode(asked))
    except OSError as error:
        raise PrivacyError(f"privacy: {folder} cannot be written: {error.strerror}") from error


def resume(folder: Path, files: Files | None = None) -> None:
    """End a pause.

    Raises `PrivacyError`: the folder cannot be written.
    """
    files = files or Files()
    try:
        with contextlib.suppress(FileNotFoundError):
            files.remove(folder / FILE_NAME)
            files.sync(folder)
    except OSError as error:
        raise PrivacyError(f"privacy: {folder} cannot be written: {error.strerror}") from error


def _signature(path: Path) -> tuple[int, ...] | None:
    """Return what identifies this version of a file; None if there is none."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return None
    except OSError:
        return _UNKNOWN
    return (found.st_ino, found.st_mtime_ns, found.st_size)


def _pause_of(path: Path) -> Pause:
    if not path.is_file():  # opening a named pipe would block
        return Pause()
    try:
        with path.open("rb") as file:
            read = msgspec.json.decode(file.read(_MAX_BYTES), type=Pause)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Pause()
    if read.for_s is not None and not (read.since is not None and 0 < read.for_s <= MAX_PAUSE_S):
        return Pause()
    return read
