"""Events as lines of a file, JSON or CSV: one row an event, no event twice.

Nothing but events goes into such a file. Duplicates come soon after the original, so the newest `REMEMBERED` ids are
enough to find them; at the start they are read from the file.
"""

import csv
import io
import os
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from edge.errors import UsageError
from edge.record.messages import EVENT_COLUMNS, Row, Value
from edge.record.targets import TargetAwayError

REMEMBERED = 200_000
"""Ids of events that are compared with a new one, about 40 MB."""
_ROW = msgspec.json.Decoder(msgspec.defstruct("EventRow", list(EVENT_COLUMNS.items())))
_BATCH = 10_000


class LineFile:
    """A `edge.record.targets.Target`. A line that was cut off by a kill is removed: it was not acknowledged.

    Raises `UsageError`: the file cannot be opened, or is no record.
    """

    events_only = True

    def __init__(self, path: Path) -> None:
        self._path = path
        self._is_csv = path.suffix.lower() == ".csv"
        self._seen: set[tuple[Value, Value]] = set()
        self._order: deque[tuple[Value, Value]] = deque()
        try:
            self._file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise UsageError(f"{path}: cannot be opened: {error.strerror}") from error
        self._size = _cut_torn_line(path, self._file)
        if self._size:
            for batch in read_rows(path):
                for values in batch:
                    self._remember((values["device"], values["id"]))
        elif self._is_csv:
            self._append(",".join(EVENT_COLUMNS) + "\n")

    def store(self, rows: Sequence[Row]) -> tuple[int, int]:
        """As `edge.record.targets.Target.store`."""
        fresh: dict[tuple[Value, Value], dict[str, Value]] = {}
        for row in rows:
            key = row.values["device"], row.values["id"]
            if key not in self._seen:
                fresh.setdefault(key, row.values)
        if fresh:
            self._append(self._text(fresh.values()))
        for key in fresh:
            self._remember(key)
        return len(fresh), 0

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def _text(self, rows: Any) -> str:
        if not self._is_csv:
            return "".join(f"{msgspec.json.encode(values).decode()}\n" for values in rows)
        text = io.StringIO()
        csv.DictWriter(text, list(EVENT_COLUMNS), lineterminator="\n").writerows(rows)
        return text.getvalue()

    def _append(self, text: str) -> None:
        content = text.encode()
        try:
            while content:
                content = content[os.write(self._file, content) :]
            os.fsync(self._file)
        except OSError as error:
            os.ftruncate(self._file, self._size)  # all of it or nothing
            raise TargetAwayError(f"{self._path}: {error.strerror}") from error
        self._size = os.fstat(self._file).st_size

    def _remember(self, key: tuple[Value, Value]) -> None:
        self._seen.add(key)
        self._order.append(key)
        if len(self._order) > REMEMBERED:
            self._seen.discard(self._order.popleft())


def read_rows(path: Path) -> Iterator[list[dict[str, Any]]]:
    """Yield the events of a file in batches.

    Raises `UsageError`: a line is no event; names its number.
    """
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        if path.suffix.lower() == ".csv":
            header = file.readline().rstrip("\n").split(",")
            if header != list(EVENT_COLUMNS):
                raise UsageError(f"{path}: line 1: expected the columns {', '.join(EVENT_COLUMNS)}")
            lines: Iterator[Any] = csv.DictReader(file, header)
        else:
            lines = iter(file)
        number = int(path.suffix.lower() == ".csv")
        while batch := list(islice(lines, _BATCH)):
            rows = []
            for line in batch:
                number += 1
                rows.append(_row(line, f"{path}: line {number}"))
            yield rows


def _row(line: Any, where: str) -> dict[str, Any]:
    try:
        if isinstance(line, str):
            return msgspec.structs.asdict(_ROW.decode(line))
        return {name: _CONVERT[kind](line[name]) for name, kind in EVENT_COLUMNS.items()}
    except (msgspec.DecodeError, KeyError, ValueError, TypeError):
        raise UsageError(f"{where}: expected an event as `emotion-edge collect` writes it") from None


_CONVERT: dict[type, Any] = {str: str, int: int, float: float, bool: {"True": True, "False": False}.__getitem__}


def _cut_torn_line(path: Path, file: int) -> int:
    """Remove what follows the last line break; return the size in bytes."""
    size = os.fstat(file).st_size
    with path.open("rb") as content:
        end = size
        while end:
            start = max(0, end - 65_536)
            content.seek(start)
            found = content.read(end - start).rfind(b"\n")
            if found >= 0:
                end = start + found + 1
                break
            end = start
    if end != size:
        os.ftruncate(file, end)
    return end
