"""A folder of pictures as a source: each picture is one frame."""

import logging
import re
import threading
from pathlib import Path

from edge.cameras.pictures import PICTURE_SUFFIXES, read_picture
from edge.errors import CameraError, ImageError, printable_path
from edge.frames import Frame

PICTURE_S = 1.0
"""Seconds between two pictures, which have no timestamps."""

log = logging.getLogger(__name__)


class PhotoFolder:
    """The pictures of a folder, without its subfolders, in natural order: ``2.jpg`` before ``10.jpg``.

    Hidden files are left out. A picture that cannot be read is logged and left out. Raises `CameraError` if the folder
    does not exist or has no pictures.
    """

    live = False

    def __init__(self, folder: str | Path) -> None:
        self._folder = Path(folder)
        self._paths = natural_order(_pictures(self._folder))
        self._next = 0
        self._index = 0
        self._closed = threading.Event()

    def read(self, timeout_s: float) -> Frame | None:  # noqa: ARG002  # a folder answers at once
        """Return the next picture that can be read, None after the last.

        Raises `CameraError`: not one picture of the folder can be read.
        """
        while self._next < len(self._paths) and not self._closed.is_set():
            path = self._paths[self._next]
            self._next += 1
            try:
                picture = read_picture(path)
            except ImageError as error:
                log.warning("left out: %s", error)
                continue
            frame = Frame(picture.luma, self._index * PICTURE_S, self._index, picture.bgr)
            self._index += 1
            return frame
        if self._index == 0 and not self._closed.is_set():
            raise CameraError(f"{printable_path(self._folder)}: none of its {len(self._paths)} pictures can be read")
        return None

    def close(self) -> None:
        """End the source: the next read returns None."""
        self._closed.set()


def natural_order(paths: list[Path]) -> list[Path]:
    """Sort by name, ignoring case, with numbers by value."""
    return sorted(paths, key=lambda path: ([_part(part) for part in _NUMBERS.split(path.name)], path.name))


_NUMBERS = re.compile(r"([0-9]+)")


def _part(text: str) -> tuple[int, str]:
    return (int(text), "") if _NUMBERS.fullmatch(text) and len(text) < 1000 else (-1, text.casefold())


def _pictures(folder: Path) -> list[Path]:
    shown = printable_path(folder)
    try:
        found = [
            path
            for path in folder.iterdir()
            if path.suffix.lower() in PICTURE_SUFFIXES and not path.name.startswith(".") and path.is_file()
        ]
    except FileNotFoundError:
        raise CameraError(f"{shown}: no such folder") from None
    except NotADirectoryError:
        raise CameraError(f"{shown}: is no folder; for a clip there is file:{shown}") from None
    except OSError as error:
        raise CameraError(f"{shown}: cannot be read: {error.strerror}") from error
    if not found:
        raise CameraError(f"{shown}: no pictures in this folder; looked for {', '.join(sorted(PICTURE_SUFFIXES))}")
    return found
