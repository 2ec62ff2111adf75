"""Where collected messages go: a database, or a file of lines.

`open_target` chooses by the text of ``--to``. A row is stored once: an event by (device, id), a state and a health
message by (device, time). When `Target.store` returns, the rows are on the disk.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from edge.errors import EmotionEdgeError, UsageError
from edge.record.messages import Row

FILE_KINDS = {".jsonl", ".csv"}
DATABASE_KINDS = {".db", ".sqlite", ".sqlite3"}
ALLOWED = "FILE.db (SQLite), postgresql://[user@]host/name, FILE.jsonl or FILE.csv"


class TargetAwayError(EmotionEdgeError):
    """The target cannot be written at the moment; nothing was stored, and the same rows may be stored later."""


class Target(Protocol):
    """Stores rows."""

    events_only: bool
    """True if it stores events only"""

    def store(self, rows: Sequence[Row]) -> tuple[int, int]:
        """Store rows in one transaction; return how many were new, and how many can never be stored.

        Raises `TargetAwayError`: nothing was stored; try again later.
        """
        ...

    def close(self) -> None:
        """Close files and connections."""
        ...


def open_target(text: str) -> Target:
    """Open what ``--to`` names; it is made if it does not exist.

    Raises `UsageError`: the text names no target, or a package is missing.
    """
    if file_kind(text) in FILE_KINDS:
        from edge.record.lines import LineFile

        return LineFile(Path(text))
    from edge.record.database import Database

    return Database(text)


def file_kind(text: str) -> str:
    """Return the suffix of a file's name, empty for the address of a PostgreSQL server.

    Raises `UsageError`: the text names neither.
    """
    if text.startswith(("postgresql://", "postgres://")):
        return ""
    suffix = Path(text).suffix.lower()
    if "://" in text or suffix not in FILE_KINDS | DATABASE_KINDS:
        raise UsageError(f"{text}: allowed is {ALLOWED}")
    return suffix
