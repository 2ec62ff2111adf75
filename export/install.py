"""Puts a bundle in its place: whole or not at all, the one before kept."""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from edge.errors import UsageError
from edge.inference import load_classifier
from edge.inference.manifest import MANIFEST_NAME, FileEntry, Manifest, encode_manifest


def check_place(out: Path) -> None:
    """Refuse a place that holds something other than a bundle, before any work is done.

    Raises
    ------
    UsageError
        It is a file, a link, or a folder with other things in it.
    """
    for place in (out, previous_of(out)):
        if place.is_symlink() or (place.exists() and not place.is_dir()):
            raise UsageError(f"{place}: is no folder; name another with --out")
        if place.is_dir() and any(place.iterdir()) and not (place / MANIFEST_NAME).is_file():
            raise UsageError(f"{place}: holds something else than a bundle; name another folder with --out")


def previous_of(out: Path) -> Path:
    """Where the bundle that ``out`` held before is kept."""
    return out.with_name(out.name + ".previous")


def file_entries(files: Mapping[str, bytes]) -> dict[str, FileEntry]:
    """Describe files for a manifest."""
    return {
        name: FileEntry(sha256=hashlib.sha256(content).hexdigest(), bytes=len(content))
        for name, content in files.items()
    }


def install(out: Path, manifest: Manifest, files: Mapping[str, bytes]) -> None:
    """Write a bundle beside its place, open it as the device would, then switch it in.

    Raises
    ------
    UsageError
        The place holds something other than a bundle.
    BundleError
        The device would refuse what was written; nothing changed.
    """
    check_place(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        fresh.chmod(0o755)
        for name, content in {**files, MANIFEST_NAME: encode_manifest(manifest)}.items():
            _write(fresh / name, content)
        for kind in manifest.models:
            load_classifier(fresh, kind)
        _sync(fresh)
        _switch(fresh, out)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    _sync(out.parent)


def _switch(fresh: Path, out: Path) -> None:
    previous = previous_of(out)
    if not out.exists():
        fresh.rename(out)
        return
    if previous.exists():
        shutil.rmtree(previous)
    out.rename(previous)
    try:
        fresh.rename(out)
    except BaseException:
        previous.rename(out)
        raise


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    path.chmod(0o644)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
