"""Installs a bundle in a folder of its own, whole or not at all, and keeps the previous one beside it."""

from collections.abc import Callable, Mapping
from pathlib import Path

from edge.errors import UsageError
from edge.files import Files, locked, write_folder
from edge.inference.manifest import MANIFEST_NAME


def check_place(out: Path) -> None:
    """Refuse a place that holds something other than a bundle, before any work is done.

    Raises `UsageError`: it is a file, a link, or a folder with other things in it.
    """
    for place in (out, previous_of(out)):
        if place.is_symlink() or (place.exists() and not place.is_dir()):
            raise UsageError(f"{place}: is not a folder; name another with --out")
        if place.is_dir() and any(place.iterdir()) and not (place / MANIFEST_NAME).is_file():
            raise UsageError(f"{place}: holds something other than a bundle; name another folder with --out")


def previous_of(out: Path) -> Path:
    """Return where the bundle that ``out`` held before is kept."""
    return out.with_name(out.name + ".previous")


def install_in_place(
    out: Path, contents: Mapping[str, bytes], check: Callable[[Path], object], files: Files | None = None
) -> None:
    """Write a bundle beside its place, check it there, then switch it in; a power cut leaves the old one or the new.

    Raises `UsageError`: the place holds something other than a bundle.
    Raises `BundleError`: another install is at work there.

    ``check``: opens the folder as the device would; what it raises ends the install, and nothing has changed.
    """
    files = files or Files()
    check_place(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    fresh = out.with_name(f".{out.name}.incoming")
    with locked(out.parent):
        if fresh.exists():  # of an install that the power ended
            files.remove(fresh)
        try:
            write_folder(files, fresh, contents.items())
            check(fresh)
        except BaseException:
            if fresh.exists():
                files.remove(fresh)
            raise
        _switch(files, fresh, out)


def _switch(files: Files, fresh: Path, out: Path) -> None:
    previous = previous_of(out)
    if not out.exists():
        files.rename(fresh, out)
        files.sync(out.parent)
        return
    files.exchange(fresh, out)
    files.sync(out.parent)
    if not previous.exists():
        files.rename(fresh, previous)
    else:
        files.exchange(fresh, previous)
        files.remove(fresh)
    files.sync(out.parent)
