"""`emotion-edge classify`: photos, folders, clips and addresses to a line each."""

import csv
import json
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TextIO
from urllib.parse import urlsplit

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.cameras import open_camera
from edge.cameras.photos import natural_order
from edge.cameras.pictures import PICTURE_SUFFIXES, read_picture
from edge.download import download
from edge.emotions import EMOTIONS
from edge.errors import CameraError, EmotionEdgeError, ImageError
from edge.faces.drawing import draw_tracked_face
from edge.faces.types import TrackedFace
from edge.pipeline import Pipeline

CLIP_SUFFIXES = frozenset({".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm"})
CSV_COLUMNS = (
    "source", "time_s", "width", "height", "face", "x", "y", "box_width", "box_height", "emotion", "confidence",
    *(str(emotion) for emotion in EMOTIONS),
)  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """What was seen in one picture, or in one frame of a clip."""

    source: str
    """as it was given, or the file inside a folder that was given"""
    bgr: NDArray[np.uint8]
    """[height, width, 3]"""
    faces: list[TrackedFace]
    """the largest first"""
    time_s: float | None = None
    """seconds into the clip; None for a picture"""
    index: int | None = None
    """frame of the clip, from 0; None for a picture"""

    def as_dict(self) -> dict[str, Any]:
        """The JSON line."""
        height, width = self.bgr.shape[:2]
        when = {} if self.time_s is None else {"time_s": round(self.time_s, 3)}
        return {"source": self.source, **when, "width": width, "height": height,
                "faces": [_face_dict(face) for face in self.faces]}  # fmt: skip


def classify(
    pipeline: Pipeline, sources: Iterable[str], *, on_error: Callable[[EmotionEdgeError], None]
) -> Iterator[Look]:
    """Look at each source in turn: a picture, a clip (frame by frame), a folder of both, or an http(s) address.

    Parameters
    ----------
    on_error
        Called with the error of a picture or clip that cannot be read; the others go on.
    """
    for source in sources:
        try:
            with _files(source) as files:
                for path, name in files:
                    try:
                        yield from _look_at_file(pipeline, path, name=name)
                    except EmotionEdgeError as error:
                        on_error(error)
        except EmotionEdgeError as error:
            on_error(error)
        except (OSError, ValueError) as error:  # a folder that may not be read, an address that is none
            on_error(ImageError(f"{source}: cannot be read: {error}"))


@contextmanager
def _files(source: str) -> Iterator[list[tuple[Path, str]]]:
    """The files that a source stands for, each with the name that the user knows it by."""
    path = Path(source)
    if urlsplit(source).scheme in ("http", "https"):
        with tempfile.TemporaryDirectory(prefix="emotion-edge-") as folder:
            yield [(download(source, Path(folder)), source)]
    elif path.is_dir():
        known = PICTURE_SUFFIXES | CLIP_SUFFIXES
        files = natural_order([entry for entry in path.iterdir() if entry.suffix.lower() in known and entry.is_file()])
        if not files:
            raise ImageError(f"{source}: no pictures or clips in this folder")
        yield [(file, str(file)) for file in files]
    else:
        yield [(path, source)]


def _look_at_file(pipeline: Pipeline, path: Path, *, name: str) -> Iterator[Look]:
    if path.suffix.lower() in CLIP_SUFFIXES:
        yield from _look_at_clip(pipeline, path, name=name)
        return
    picture = read_picture(path, name=name)
    yield Look(name, picture.bgr, pipeline.look(picture.luma))


def _look_at_clip(pipeline: Pipeline, path: Path, *, name: str) -> Iterator[Look]:
    pipeline.forget()
    try:
        with closing(open_camera(f"file:{path}")) as clip:
            while (frame := clip.read(10.0)) is not None:
                bgr = frame.bgr if frame.bgr is not None else np.asarray(cv2.cvtColor(frame.luma, cv2.COLOR_GRAY2BGR))
                yield Look(name, bgr, pipeline.follow(frame), time_s=frame.time_s, index=frame.index)
    except CameraError as error:
        raise ImageError(str(error).replace(str(path), name)) from error


def _face_dict(face: TrackedFace) -> dict[str, Any]:
    best = int(face.scores.argmax())
    return {
        "face": face.track,
        "box": list(face.box),
        "emotion": str(EMOTIONS[best]),
        "confidence": round(float(face.scores[best]), 4),
        "scores": {str(e): round(float(s), 4) for e, s in zip(EMOTIONS, face.scores, strict=True)},
        "landmarks": face.landmarks.astype(int).tolist(),
    }


class Writer:
    """Writes looks to a stream, as JSON lines or as CSV with a row a face (and one with empty cells for no face)."""

    def __init__(self, stream: TextIO, form: Literal["json", "csv"]) -> None:
        self._stream = stream
        self._csv = csv.DictWriter(stream, CSV_COLUMNS, lineterminator="\n") if form == "csv" else None
        if self._csv:
            self._csv.writeheader()

    def write(self, look: Look) -> None:
        """Write one look, and let a reader have it at once."""
        row = look.as_dict()
        if self._csv is None:
            self._stream.write(json.dumps(row) + "\n")
        else:
            self._csv.writerows(_csv_rows(row))
        self._stream.flush()


def _csv_rows(row: dict[str, Any]) -> Iterator[dict[str, Any]]:
    shared: dict[str, Any] = {key: row[key] for key in ("source", "time_s", "width", "height") if key in row}
    if not row["faces"]:
        yield shared
    for face in row["faces"]:
        box = dict(zip(("x", "y", "box_width", "box_height"), face["box"], strict=True))
        yield shared | box | face["scores"] | {key: face[key] for key in ("face", "emotion", "confidence")}


def annotate(look: Look, folder: Path, taken: set[str]) -> Path:
    """Write the picture of a look with boxes, landmarks and score bars; names already ``taken`` get a number."""
    if Path(look.source).resolve().parent == folder.resolve():
        raise ImageError(f"{look.source}: not drawn: {folder} holds the original; name another folder")
    canvas = look.bgr.copy()
    for face in reversed(look.faces):
        draw_tracked_face(canvas, face)
    path = folder / _free_name(look, taken)
    if not cv2.imwrite(str(path), canvas):
        raise ImageError(f"{path}: cannot be written")
    return path


def _free_name(look: Look, taken: set[str]) -> str:
    stem = Path(urlsplit(look.source).path).stem or "picture"
    if look.index is not None:
        stem = f"{stem}-{look.index:06d}"
    name, number = f"{stem}.png", 2
    while name in taken:
        name, number = f"{stem}-{number}.png", number + 1
    taken.add(name)
    return name


@contextmanager
def annotation_folder(folder: Path | None) -> Iterator[Path | None]:
    """Make the folder for annotated pictures; raises ``ImageError`` where it cannot be."""
    if folder is not None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ImageError(f"{folder}: cannot be made: {error.strerror}") from error
    yield folder
