"""The models of faces that ship with the program: where they are, and whether they are still what shipped."""

import hashlib
import json
from pathlib import Path

from edge.errors import LandmarkModelError


def shipped(folder: str) -> Path:
    """Return a folder of models that ship: in the checkout's ``models`` or in the installed package."""
    package = Path(__file__).resolve().parent.parent
    places = (package / "models" / folder, package.parent / "models" / folder)
    return next((place for place in places if place.is_dir()), places[-1])


def check_hash(path: Path) -> None:
    """Refuse a file other than the one that shipped: dlib itself checks nothing.

    The manifest beside it has its ``sha256``, or one for each file by name.

    Raises `LandmarkModelError`: it or its manifest is missing or damaged.
    """
    manifest = path.with_name("manifest.json")
    try:
        hashes = json.loads(manifest.read_text())["sha256"]
        expected = hashes[path.name] if isinstance(hashes, dict) else str(hashes)
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise LandmarkModelError(f"{error.filename}: cannot be read: {error.strerror}; install again") from error
    except (ValueError, KeyError, TypeError) as error:
        raise LandmarkModelError(f"{manifest}: cannot be read: {error}; install again") from error
    if found != expected:
        raise LandmarkModelError(f"{path}: damaged: its sha256 is not the one in {manifest.name}; install again")
