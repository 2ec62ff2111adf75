"""The work of `emotion-edge classify`: files to faces, in several threads, to lines of JSON or CSV."""

import csv
import json
import os
import re
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import Full, Queue, SimpleQueue
from typing import Any, Literal, TextIO

import cv2
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from edge.analyzer import EmotionAnalyzer, Face
from edge.cameras.pictures import read_picture
from edge.cli.sources import Source, is_clip, list_sources
from edge.download import downloaded, is_web_address
from edge.emotions import EMOTIONS
from edge.errors import CameraError, EmotionEdgeError, ImageError, printable_path
from edge.frames import Frame
from edge.settings import Settings

CSV_COLUMNS = (
    "source", "time_s", "width", "height", "face", "x", "y", "box_width", "box_height", "emotion", "confidence",
    *(str(emotion) for emotion in EMOTIONS),
)  # fmt: skip
LINES_AHEAD = 64
"""Finished frames of a clip that wait while an earlier file is still being classified."""
STOP_TIMEOUT_S = 2.0
"""Seconds to wait after Ctrl-C for pictures that are being classified."""


@dataclass(frozen=True, slots=True)
class Result:
    """The faces of one picture, or in one frame of a clip."""

    source: str
    """as it was given, or the file inside a folder that was given"""
    width: int
    height: int
    faces: list[Face]
    """the largest first"""
    time_s: float | None = None
    """seconds into the clip; None for a picture"""

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON line; ``source_hex`` has the bytes of a name that is no UTF-8, which JSON cannot hold."""
        when = {} if self.time_s is None else {"time_s": round(self.time_s, 3)}
        raw = os.fsencode(self.source)
        name = {"source": raw.decode(errors="backslashreplace")}
        if os.fsdecode(name["source"].encode()) != self.source:
            name["source_hex"] = raw.hex()
        return {**name, **when, "width": self.width, "height": self.height,
                "faces": [face.to_dict() for face in self.faces]}  # fmt: skip


def run_classify(
    settings: Settings,
    sources: Iterable[str],
    *,
    form: Literal["json", "csv"],
    annotate: Path | None = None,
    recursive: bool = False,
    jobs: int = 1,
) -> bool:
    """Write a line for each picture and frame to standard output; errors and a progress bar go to standard error.

    Raises `ConfigError`, `BundleError` or `LandmarkModelError`: the models cannot be loaded.
    Raises `ImageError`: the folder for annotated pictures cannot be made.

    Returns False where something could not be read; the others were classified.
    """
    failed = False

    def fail(error: EmotionEdgeError) -> None:
        nonlocal failed
        failed = True
        print(f"error: {error}", file=sys.stderr)

    if annotate is not None:
        _make_folder(annotate)
    listing = list_sources(sources, recursive=recursive)
    needed = max(1, min(jobs, len(listing.entries)))
    analyzers = [EmotionAnalyzer.from_settings(settings) for _ in range(needed)]
    writer = Writer(sys.stdout, form)
    with _progress(len(listing.entries)) as advance:
        for result in classify(analyzers, listing.entries, annotate=annotate, on_error=fail, on_done=advance):
            writer.write(result)
    if note := listing.note():
        print(f"left out: {note}", file=sys.stderr)
    return not failed


def classify(
    analyzers: Sequence[EmotionAnalyzer],
    entries: Iterable[Source | EmotionEdgeError],
    *,
    annotate: Path | None = None,
    on_error: Callable[[EmotionEdgeError], None],
    on_done: Callable[[], None] = lambda: None,
) -> Generator[Result, None, None]:
    """Classify pictures and clips, as many at a time as there are analyzers; results come in the order of the entries.

    ``annotate``: folder that annotated pictures are written to.
    ``on_error``: called with the error of a picture or clip that cannot be read; the others go on.
    ``on_done``: called after each entry.
    """
    names = _Names(annotate)
    jobs = (entry if isinstance(entry, EmotionEdgeError) else _Job(entry, names.reserve(entry)) for entry in entries)
    with closing(_side_by_side(analyzers, jobs)) as results:
        for result in results:
            if result is None:
                on_done()
            elif isinstance(result, Result):
                yield result
            elif isinstance(result, EmotionEdgeError):
                on_error(result)
            else:
                raise result


@dataclass(frozen=True, slots=True)
class _Job:
    source: Source
    out: Path | None
    """where the annotated picture goes, without suffix and number of the frame"""


_Item = Result | Exception | None
"""an error belongs to a picture or clip that cannot be read; None is the end of an entry"""


def _side_by_side(
    analyzers: Sequence[EmotionAnalyzer], jobs: Iterable[_Job | EmotionEdgeError]
) -> Generator[_Item, None, None]:
    """Work in one thread for each analyzer; results come in the order of the jobs.

    The oldest job is always done or under way, so waiting for its results ends.
    """
    stop = threading.Event()
    tasks: _Tasks = SimpleQueue()
    threads = [threading.Thread(target=_work, args=(one, tasks, stop), daemon=True) for one in analyzers]
    pending: deque[Queue[_Item]] = deque()
    try:
        for thread in threads:
            thread.start()
        for job in jobs:
            pending.append(Queue(LINES_AHEAD))
            tasks.put((job, pending[-1]))
            if len(pending) > 2 * len(threads):
                yield from _until_end(pending.popleft())
        while pending:
            yield from _until_end(pending.popleft())
    finally:
        stop.set()
        for _ in threads:
            tasks.put(None)
        for thread in threads:
            thread.join(STOP_TIMEOUT_S)


def _work(analyzer: EmotionAnalyzer, tasks: "_Tasks", stop: threading.Event) -> None:
    while (task := tasks.get()) is not None and not stop.is_set():
        job, results = task
        with closing(_classify(analyzer, job)) as items:
            try:
                for result in items:
                    if not _put(results, result, stop):
                        return
            except Exception as error:  # noqa: BLE001  # raised again by `classify`
                _put(results, error, stop)
        _put(results, None, stop)


_Tasks = SimpleQueue[tuple[_Job | EmotionEdgeError, Queue[_Item]] | None]
"""each with the queue that takes its results; None ends a thread"""


def _put(results: Queue[_Item], result: _Item, stop: threading.Event) -> bool:
    while not stop.is_set():
        try:
            results.put(result, timeout=0.2)
        except Full:
            continue
        return True
    return False


def _until_end(results: Queue[_Item]) -> Iterator[_Item]:
    while (item := results.get()) is not None:
        yield item
    yield None


def _classify(analyzer: EmotionAnalyzer, job: _Job | EmotionEdgeError) -> Generator[_Item, None, None]:
    if isinstance(job, EmotionEdgeError):
        yield job
        return
    name = job.source.name
    try:
        if is_web_address(name):
            with downloaded(name) as path:
                yield from _classify_file(analyzer, path, job)
        else:
            yield from _classify_file(analyzer, Path(name), job)
    except EmotionEdgeError as error:
        yield error
    except (OSError, ValueError) as error:
        yield ImageError(f"{job.source.shown}: cannot be read: {error}")


def _classify_file(analyzer: EmotionAnalyzer, path: Path, job: _Job) -> Iterator[_Item]:
    if is_clip(path):
        yield from _classify_clip(analyzer, path, job)
        return
    name = job.source.shown
    bgr = read_picture(path, name=name).bgr
    faces = analyzer.analyze(bgr)
    yield Result(name, bgr.shape[1], bgr.shape[0], faces)
    if job.out is not None:
        write_picture(_with_suffix(job.out), analyzer.annotate(bgr, faces), original=name)


def _classify_clip(analyzer: EmotionAnalyzer, path: Path, job: _Job) -> Iterator[_Item]:
    name = job.source.shown
    try:
        with closing(analyzer.follow(f"file:{path}", smoothed=False)) as frames:
            for frame, faces in frames:
                yield Result(name, frame.width, frame.height, faces, frame.time_s)
                if job.out is not None:
                    yield from _annotate_frame(analyzer, frame, faces, job)
    except CameraError as error:
        raise ImageError(str(error).replace(str(path), name)) from error


def _annotate_frame(analyzer: EmotionAnalyzer, frame: Frame, faces: list[Face], job: _Job) -> Iterator[_Item]:
    assert job.out is not None
    try:
        write_picture(_with_suffix(job.out, frame.index), analyzer.annotate(frame, faces), original=job.source.name)
    except EmotionEdgeError as error:
        yield error


class Writer:
    """Writes results to a stream, as JSON lines or as CSV with a row a face (and one with empty cells for no face)."""

    def __init__(self, stream: TextIO, form: Literal["json", "csv"]) -> None:
        self._stream = stream
        self._csv = csv.DictWriter(stream, CSV_COLUMNS, lineterminator="\n") if form == "csv" else None
        if self._csv:
            self._csv.writeheader()

    def write(self, result: Result) -> None:
        """Write one result, and flush it, so that a reader has it at once."""
        row = result.as_dict()
        if self._csv is None:
            self._stream.write(json.dumps(row) + "\n")
        else:
            self._csv.writerows(_csv_rows(row))
        self._stream.flush()


def _csv_rows(row: dict[str, Any]) -> Iterator[dict[str, Any]]:
    shared: dict[str, Any] = {key: row[key] for key in ("source", "time_s", "width", "height") if key in row}
    shared["source"] = printable_path(row["source"])
    if not row["faces"]:
        yield shared
    for face in row["faces"]:
        box = dict(zip(("x", "y", "box_width", "box_height"), face["box"], strict=True))
        yield shared | box | face["scores"] | {key: face[key] for key in ("face", "emotion", "confidence")}


def write_picture(path: Path, bgr: Any, *, original: str) -> None:
    """Write a picture as PNG, uint8 [height, width, 3].

    Raises `ImageError`: it cannot be written, or its folder is that of the original.
    """
    if Path(original).resolve().parent == path.parent.resolve():
        raise ImageError(f"{original}: not drawn: {path.parent} holds the original; name another folder")
    # Not cv2.imwrite, which ends the process at a name that is no UTF-8.
    _, data = cv2.imencode(".png", bgr)
    try:
        path.write_bytes(data.tobytes())
    except OSError as error:
        raise ImageError(f"{path}: cannot be written: {error.strerror}") from error


class _Names:
    """Chooses a name in the folder for each picture and clip; one that is taken gets a number."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._taken: set[str] = set()

    def reserve(self, source: Source) -> Path | None:
        if self._folder is None:
            return None
        name, number = source.stem, 2
        # The frames of the clip `a` are a-000000, a-000001 and so on: a picture of such a name is in their way.
        while name in self._taken or _FRAME_NUMBER.sub("", name) in self._taken:
            name, number = f"{source.stem}-{number}", number + 1
        self._taken |= {name, _FRAME_NUMBER.sub("", name)}
        return self._folder / name


_FRAME_NUMBER = re.compile(r"-[0-9]{6,}$")


def _with_suffix(out: Path, index: int | None = None) -> Path:
    return out.with_name(f"{out.name}.png" if index is None else f"{out.name}-{index:06d}.png")


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ImageError(f"{folder}: cannot be made: {error.strerror}") from error


@contextmanager
def _progress(total: int) -> Iterator[Callable[[], None]]:
    """Show a progress bar on a terminal, unless the lines themselves go there."""
    if total < 2 or not sys.stderr.isatty() or sys.stdout.isatty():
        yield lambda: None
        return
    columns = (TextColumn("classifying"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=False) as progress:
        task = progress.add_task("", total=total)
        yield lambda: progress.advance(task)
