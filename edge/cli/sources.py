"""Which pictures and clips `emotion-edge classify` is asked for: files, addresses, and what folders hold."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from edge.cameras.photos import natural_order
from edge.cameras.pictures import PICTURE_SUFFIXES
from edge.content import kind_of
from edge.download import is_web_address
from edge.errors import EmotionEdgeError, ImageError, redacted

CLIP_SUFFIXES = frozenset({
    ".3gp", ".asf", ".avi", ".flv", ".h264", ".h265", ".m2ts", ".m4v", ".mjpeg", ".mjpg", ".mkv", ".mov", ".mp4",
    ".mpeg", ".mpg", ".mts", ".ogv", ".ts", ".webm", ".wmv",
})  # fmt: skip
"""Suffixes of clips that are taken from folders; a file that is named itself is taken whatever its suffix."""


@dataclass(frozen=True, slots=True)
class Source:
    """One picture or clip to classify."""

    name: str
    """path or address, as it was given or found"""

    @property
    def shown(self) -> str:
        """The name without a password."""
        return redacted(self.name) if is_web_address(self.name) else self.name

    @property
    def stem(self) -> str:
        """Name of the file without its suffix."""
        return Path(urlsplit(self.name).path if is_web_address(self.name) else self.name).stem or "picture"


@dataclass(slots=True)
class Listing:
    """The pictures and clips that were asked for, in order."""

    entries: list[Source | EmotionEdgeError] = field(default_factory=list)
    """an error stands where a folder could not be read"""
    left_out: Counter[str] = field(default_factory=Counter)
    """what folders hold besides, counted: ``folder``, ``link`` (to a folder), ``hidden``, or a suffix"""

    def note(self) -> str:
        """Say in one line what was left out of folders; empty where nothing was."""
        counts = Counter(self.left_out)
        folders, links, hidden = (counts.pop(kind, 0) for kind in ("folder", "link", "hidden"))
        parts = [
            f"{_count(folders, 'folder')} (--recursive looks into folders)" if folders else "",
            _count(links, "link to a folder", "links to folders") if links else "",
            _count(hidden, "hidden file") if hidden else "",
        ]
        if others := counts.total():
            kinds = ", ".join(f"{suffix or 'no suffix'} {count}" for suffix, count in counts.most_common(5))
            parts.append(f"{_count(others, 'file')} of other kinds ({kinds}{', …' if len(counts) > 5 else ''})")
        return "; ".join(filter(None, parts))


def list_sources(given: Iterable[str], *, recursive: bool = False) -> Listing:
    """Find the pictures and clips that paths and addresses stand for, those of a folder in natural order.

    Hidden files (``.a.jpg``, ``._a.jpg``) and hidden folders are left out; links to folders are not followed.
    """
    listing = Listing()
    for source in given:
        if is_web_address(source) or not _is_folder(Path(source)):
            listing.entries.append(Source(source))
            continue
        before = len(listing.entries)
        _list_folder(Path(source), listing, recursive=recursive)
        if len(listing.entries) == before:
            listing.entries.append(ImageError(f"{source}: no pictures or clips in this folder"))
    return listing


def is_clip(path: Path) -> bool:
    """Tell a clip by its content, or by its name where that does not say."""
    try:
        kind = kind_of(path) if path.is_file() else None
    except OSError:  # `read_picture` says why
        kind = None
    return path.suffix.lower() in CLIP_SUFFIXES if kind is None else kind == "clip"


def _list_folder(folder: Path, listing: Listing, *, recursive: bool) -> None:
    try:
        found = natural_order(list(folder.iterdir()))
    except OSError as error:
        listing.entries.append(ImageError(f"{folder}: cannot be read: {error.strerror}"))
        return
    inner: list[Path] = []
    for path in found:
        suffix = path.suffix.lower()
        if path.name.startswith("."):
            listing.left_out["hidden"] += 1
        elif _is_folder(path) and path.is_symlink():
            listing.left_out["link"] += 1
        elif _is_folder(path):
            inner.append(path)
        elif suffix in PICTURE_SUFFIXES | CLIP_SUFFIXES and not _is_special(path):
            listing.entries.append(Source(str(path)))
        else:
            listing.left_out[suffix] += 1
    for path in inner:
        if recursive:
            _list_folder(path, listing, recursive=True)
        else:
            listing.left_out["folder"] += 1


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # a name that is too long, a folder that may not be entered: the error of reading it says why
        return False


def _is_special(path: Path) -> bool:
    """Return whether this is a pipe, a socket or a device, where reading may never end."""
    try:
        return path.exists() and not path.is_file()
    except OSError:
        return False


def _count(number: int, noun: str, plural: str = "") -> str:
    return f"{number} {noun if number == 1 else plural or noun + 's'}"
