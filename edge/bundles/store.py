"""The bundles that a device keeps, in ``bundles`` of its state folder, and which of them is chosen.

::

    bundles/
    ├── device-cnn-int8@1a2b3c4d/   a bundle, named after its content; never changed
    ├── device-cnn-int8@5e6f7a8b/
    ├── .incoming…                  an unfinished install; the next install removes what a power cut left
    └── selected.json               {"current": "…@5e6f7a8b", "previous": "…@1a2b3c4d"}; null is the bundle that ships

An install writes and syncs the bundle under a temporary name, renames it, then replaces ``selected.json``. That last
rename switches current and previous at once: a power cut at any point leaves the old choice or the new one, each with a
whole bundle.
"""

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from edge.errors import BundleError
from edge.files import INCOMING, Files, locked, replace_file, write_folder
from edge.inference import Bundle, open_bundle
from edge.inference.manifest import MANIFEST_NAME
from edge.inference.signature import SIGNATURE_NAME

KEPT = 4
"""Number of bundles kept: the current one, the previous one, and the newest others."""
SELECTED_NAME = "selected.json"
SHIPPED = "shipped"
"""Name of the bundle that ships, which is not in the store."""
MAX_SELECTED_BYTES = 4096
_ENTRY = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}@[0-9a-f]{8}")

Check = Callable[[Path | None], object]
"""Loads a bundle's folder (None: the one that ships) as the daemon would; raises `BundleError` if that fails."""

log = logging.getLogger(__name__)


class Selection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The chosen bundles; None is the one that ships."""

    current: str | None
    previous: str | None


@dataclass(frozen=True, slots=True)
class BundleStore:
    """The folder of bundles. Every change takes its lock."""

    folder: Path
    files: Files

    @classmethod
    def of(cls, state_dir: str, files: Files | None = None) -> "BundleStore":
        """Return the store in a state folder; neither needs to exist yet."""
        return cls(Path(state_dir) / "bundles", files or Files())

    def selection(self) -> Selection | None:
        """Return the chosen bundles; None if nothing was ever installed.

        Raises `BundleError`: ``selected.json`` is damaged.
        """
        path = self.folder / SELECTED_NAME
        try:
            with path.open("rb") as file:
                raw = file.read(MAX_SELECTED_BYTES)
            chosen = msgspec.json.decode(raw, type=Selection)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise BundleError(f"{path}: cannot be read: {error.strerror}") from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise BundleError(f"{path}: damaged: {error}; choose one with: emotion-edge bundle use NAME") from None
        for name in (chosen.current, chosen.previous):
            if name is not None and not _ENTRY.fullmatch(name):
                raise BundleError(f"{path}: {name[:80]!a} is no name of a bundle")
        return chosen

    def names(self) -> list[str]:
        """Return the names of all kept bundles, newest first, sound or not."""
        try:
            found = [path for path in self.folder.iterdir() if _ENTRY.fullmatch(path.name) and path.is_dir()]
        except (FileNotFoundError, NotADirectoryError):
            return []
        return [path.name for path in sorted(found, key=lambda path: (path.stat().st_mtime_ns, path.name))][::-1]

    def install(self, bring: Callable[[Path], Bundle], check: Check) -> str:
        """Install a bundle, check it in its final folder, and make it the current one; return its name.

        Raises `BundleError`: the bundle is refused, or another install is running; nothing has changed.

        ``bring``: opens the bundle, given a folder to work in; see `edge.bundles.source.bring`.
        ``check``: called on the stored copy before the switch.
        """
        with self._changing() as scratch:
            bundle = bring(scratch)
            name = bundle.identity
            fresh = self.folder / f"{INCOMING}-{name}"
            # Written from the verified bytes, not copied: the source may change meanwhile.
            write_folder(self.files, fresh, _contents(bundle))
            check(fresh)
            place = self.folder / name
            if not place.exists():
                self.files.rename(fresh, place)
            elif not _holds(place, bundle):
                self.files.exchange(fresh, place)
            self.files.sync(self.folder)
            self._switch_to(name)
        return name

    def use(self, wanted: str, check: Check) -> str:
        """Make a kept bundle, or the one that ships, the current one; return its full name.

        ``wanted``: ``name@hash``, a name that only one bundle has, or ``shipped``.
        Raises `BundleError`: there is no such bundle, more than one of that name, or it does not work; nothing has
        changed.
        """
        with self._changing():
            name = self._find(wanted)
            check(self.path_of(name))
            self._switch_to(name)
        return name or SHIPPED

    def rollback(self, check: Check) -> str:
        """Swap the previous and the current bundle; return the new current one's name.

        Raises `BundleError`: there is none, or it does not work; nothing has changed.
        """
        with self._changing():
            chosen = self.selection()
            if chosen is None:
                raise BundleError(f"{self.folder}: no bundle was ever installed here, so there is none to go back to")
            check(self.path_of(chosen.previous))
            self._switch_to(chosen.previous)
        return chosen.previous or SHIPPED

    def path_of(self, name: str | None) -> Path | None:
        """Return the folder of a bundle; None for the one that ships."""
        return None if name is None else self.folder / name

    def _find(self, wanted: str) -> str | None:
        if wanted == SHIPPED:
            return None
        kept = self.names()
        found = [name for name in kept if wanted in (name, name.partition("@")[0])]
        if len(found) == 1:
            return found[0]
        shown = ", ".join(found or [*kept, SHIPPED])
        why = "more than one bundle has this name" if found else "there is no such bundle"
        raise BundleError(f"{wanted[:80]!a}: {why}; name one of {shown}")

    @contextmanager
    def _changing(self) -> Iterator[Path]:
        """Lock the store, remove what an interrupted install left, and yield a folder to work in."""
        if not self.folder.is_dir():
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            self.files.make_folder(self.folder)
            self.files.sync(self.folder.parent)
        with locked(self.folder):
            self._clear()
            scratch = self.folder / f"{INCOMING}-scratch"
            self.files.make_folder(scratch)
            try:
                yield scratch
            finally:
                with suppress(OSError):
                    self._clear()

    def _clear(self) -> None:
        for path in sorted(self.folder.glob(f"{INCOMING}*")):
            self.files.remove(path)

    def _switch_to(self, name: str | None) -> None:
        try:
            chosen = self.selection()
        except BundleError as error:  # damaged, and about to be replaced
            log.warning("%s", error)
            chosen = None
        before = chosen.current if chosen else None
        if chosen is not None and before == name:
            return
        content = msgspec.json.encode(Selection(current=name, previous=before)) + b"\n"
        replace_file(self.files, self.folder / SELECTED_NAME, content)
        self._remove_old({name, before})

    def _remove_old(self, needed: set[str | None]) -> None:
        others = [name for name in self.names() if name not in needed]
        for name in others[max(0, KEPT - len(needed - {None})) :]:
            # Renamed first: a half-removed bundle must not have a bundle's name.
            gone = self.folder / f"{INCOMING}-{name}"
            self.files.rename(self.folder / name, gone)
            self.files.remove(gone)


def _contents(bundle: Bundle) -> Iterator[tuple[str, bytes]]:
    for name in bundle.manifest.files:
        yield name, bundle.read(name)
    if bundle.signature is not None:
        yield SIGNATURE_NAME, bundle.signature
    yield MANIFEST_NAME, bundle.raw_manifest


def _holds(folder: Path, bundle: Bundle) -> bool:
    """Return True if a folder holds the same bundle, sound, with the same signature."""
    try:
        there = open_bundle(folder)
    except BundleError:
        return False
    return (there.raw_manifest, there.signature) == (bundle.raw_manifest, bundle.signature)
