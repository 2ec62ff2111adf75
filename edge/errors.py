"""Every error a user can meet, as one tree.

::

    EmotionEdgeError                 exit 1   something failed; the message says what and what to do
    ├── UsageError                   exit 2   a command line that asks for the impossible
    ├── ConfigError                  exit 78  settings that are wrong; starting again changes nothing
    ├── BundleError                  exit 78  a model bundle that is missing, damaged, unknown or refused
    │   └── ModelLibraryError        exit 78  a library that a model needs is missing, or cannot read it; others can run
    ├── LandmarkModelError           exit 78  a landmark predictor, or a detector of ours, that is missing or damaged
    ├── CameraError                  exit 69  a camera, clip or folder that cannot be opened or stopped giving frames
    ├── ImageError                   exit 1   a picture that cannot be read; the others go on
    ├── DataError                    exit 1   training data that does not hold what it should
    ├── DeliveryError                exit 1   events that could not be stored or sent
    └── PrivacyError                 exit 1   a privacy pause that could not be noted

`redacted` and `printable` make text from outside safe to show in a message.

The exit codes are those of sysexits.h: 69 EX_UNAVAILABLE is worth a restart, 78 EX_CONFIG is not, and the systemd
unit treats them so.
"""

import os
import re
from pathlib import Path

_LOCAL_SOURCES = ("demo:", "file:", "photos:", "picamera2:", "v4l2:")
"""camera addresses that are paths or numbers; an @ is part of the name there"""
_NOT_UTF8 = re.compile("[\ud800-\udfff]")
_SECRET_OPTION = re.compile(r"(?i)((?:user(?:name)?|pass\w*|pwd|token|key|secret|auth)=)[^&?/#]*")


class EmotionEdgeError(Exception):
    """The root: ``str(error)`` is the one line that a user reads."""

    exit_code = 1


class UsageError(EmotionEdgeError):
    """A command line that asks for the impossible."""

    exit_code = 2


class ConfigError(EmotionEdgeError):
    """Settings that are wrong; names the key, what was found and what is allowed."""

    exit_code = 78


class BundleError(EmotionEdgeError):
    """A model bundle that is missing, damaged, unknown or refused; names the file."""

    exit_code = 78


class ModelLibraryError(BundleError):
    """A library that a model needs is missing, or of a version that cannot read it; other models can run."""


class LandmarkModelError(EmotionEdgeError):
    """A landmark predictor that is missing or is no 68-point model, or a detector of ours that is."""

    exit_code = 78


class CameraError(EmotionEdgeError):
    """A camera, clip or folder that cannot be opened or stopped giving frames."""

    exit_code = 69


class ImageError(EmotionEdgeError):
    """A picture that cannot be read."""


class DataError(EmotionEdgeError):
    """Training data that does not hold what it should; names file and line."""


class DeliveryError(EmotionEdgeError):
    """Events that could not be stored or sent."""


class PrivacyError(EmotionEdgeError):
    """A privacy pause that could not be noted; names the folder."""


def printable(text: str) -> str:
    """Return the first 400 characters of a text from a file or a server, with control characters escaped."""
    return _escaped(text[:400])


def printable_path(path: str | Path) -> str:
    r"""Return a path for a message; its bytes that are not UTF-8, and control characters, are escaped.

    >>> printable_path("caf\udce9.mp4")
    'caf\\xe9.mp4'
    """
    return _escaped(os.fsencode(path).decode(errors="backslashreplace"))


def redacted(text: str) -> str:
    """Return an address, or a text with one in it, without user name, password or options that look like either.

    >>> redacted("rtsp://admin:secret@door.local:554/live?token=1")
    'rtsp://***@door.local:554/live?token=***'
    """
    # A byte of a path that is not UTF-8 would break a strict terminal.
    text = _NOT_UTF8.sub(lambda found: f"\\x{ord(found[0]) & 0xFF:02x}", text)
    if text.startswith(_LOCAL_SOURCES):
        return text
    # A password may hold an @ that nobody has escaped: everything up to the last one goes.
    login, at, rest = text.rpartition("@")
    host, slash, _ = login.partition("//")[2].partition("/")
    if slash and host and ":" not in host and "@" not in host:
        at = ""  # it stands in the path, as in https://host/@name/a.jpg
    for mark in ("//", ":"):
        if at and mark in login:
            text = f"{login.partition(mark)[0]}{mark}***@{rest}"
            break
    return _SECRET_OPTION.sub(r"\1***", text)


def _escaped(text: str) -> str:
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)
