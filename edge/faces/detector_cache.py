"""dlib's frontal face detector, kept ready in a file: dlib takes most of a program's start to prepare it.

`dlib.get_frontal_face_detector` unpacks and prepares its filters at each call: 0.9 s of CPU on an EPYC (2026-11-25),
where reading back the result takes 3 ms.
"""

import hashlib
import logging
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import dlib

MAX_BYTES = 2_000_000
"""It has 155 kB."""

log = logging.getLogger(__name__)


def frontal_face_detector(folder: Path | None = None) -> Any:
    """Return dlib's detector (``dlib.fhog_object_detector``).

    Parameters
    ----------
    folder
        Where it is kept, if the folder is there and can be written; None keeps it nowhere. The file's name holds the
        version of dlib and the sha256 of its content: one that was damaged is made anew.
    """
    if folder is None:
        return dlib.get_frontal_face_detector()
    for path in folder.glob(f"detector-{dlib.__version__}-*.svm"):
        try:
            if path.is_symlink() or path.stat().st_size > MAX_BYTES or _name(path.read_bytes()) != path.name:
                raise RuntimeError("its content is not what its name says")
            return dlib.fhog_object_detector(str(path))
        except (OSError, RuntimeError) as error:
            log.info("%s is made anew: %s", path, error)
    detector = dlib.get_frontal_face_detector()
    if folder.is_dir():
        _keep(detector, folder)
    return detector


def _keep(detector: Any, folder: Path) -> None:
    partial = folder / f"detector.{os.getpid()}.partial"
    with suppress(OSError, RuntimeError):  # where the folder cannot be written, the next start prepares it again
        detector.save(str(partial))
        for path in folder.glob("detector-*.svm"):
            path.unlink()
        partial.rename(folder / _name(partial.read_bytes()))
    with suppress(OSError):
        partial.unlink(missing_ok=True)


def _name(content: bytes) -> str:
    return f"detector-{dlib.__version__}-{hashlib.sha256(content).hexdigest()[:32]}.svm"
