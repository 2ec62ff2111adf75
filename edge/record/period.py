"""The day or week of a report: local midnight to local midnight, whatever the clocks do in between."""

import os
import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from edge.errors import UsageError

_DAY_BUCKET_MS = 15 * 60_000
_WEEK_BUCKET_MS = 2 * 3_600_000


@dataclass(frozen=True, slots=True)
class Period:
    """A day or a week in one time zone, divided into buckets of equal length."""

    title: str
    """``2026-11-27`` or ``2026-W48``"""
    zone: ZoneInfo
    start_ms: int
    """milliseconds since 1970 UTC of the first moment"""
    end_ms: int
    """of the first moment after it"""
    bucket_ms: int

    @property
    def buckets(self) -> int:
        """How many buckets there are; a day has 92, 96 or 100."""
        return -(-(self.end_ms - self.start_ms) // self.bucket_ms)

    def local(self, time_ms: float) -> datetime:
        """Return a moment in this zone."""
        return datetime.fromtimestamp(time_ms / 1000, self.zone)


def day(text: str, zone: ZoneInfo) -> Period:
    """Return the period of a date, ``2026-11-27``.

    Raises `UsageError`: the text is no date.
    """
    first = _date("--day", text)
    return Period(
        first.isoformat(), zone, _midnight(first, zone), _midnight(first + timedelta(1), zone), _DAY_BUCKET_MS
    )


def week(text: str, zone: ZoneInfo) -> Period:
    """Return the week, Monday to Sunday, of a date or of an ISO week, ``2026-W48``.

    Raises `UsageError`: the text is neither.
    """
    if found := re.fullmatch(r"(\d{4})-W(\d{2})", text):
        text = f"{found[0]}-1"
    first = _date("--week", text)
    first -= timedelta(first.weekday())
    year, number, _ = first.isocalendar()
    title = f"{year}-W{number:02}"
    return Period(title, zone, _midnight(first, zone), _midnight(first + timedelta(7), zone), _WEEK_BUCKET_MS)


def find_zone(name: str) -> ZoneInfo:
    """Return a time zone by its name; without one, that of this machine.

    Raises `UsageError`: there is no such zone.
    """
    given = name or os.environ.get("TZ", "").removeprefix(":") or _system_zone()
    try:
        return ZoneInfo(given)
    except (OSError, ValueError, KeyError):
        raise UsageError(f"--timezone: found {given!r}: write a name such as Europe/Berlin or UTC") from None


def _system_zone() -> str:
    path = str(Path("/etc/localtime").resolve())
    return path.partition("/zoneinfo/")[2] or "UTC"


def _date(option: str, text: str) -> date:
    try:
        found = date.fromisoformat(text)
        return found if date(1971, 1, 1) < found < date(9000, 1, 1) else date.fromisoformat("")
    except ValueError:
        raise UsageError(f"{option}: found {text!r}: write a date such as 2026-11-27") from None


def _midnight(when: date, zone: ZoneInfo) -> int:
    return round(datetime(when.year, when.month, when.day, tzinfo=zone).astimezone(UTC).timestamp()) * 1000
