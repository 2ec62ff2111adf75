"""Gaps in ``seq``: events that a device numbered and that the record does not have.

``seq`` grows by one with each event, and begins again at 1 if the device's state folder was deleted. The events from
one such beginning to the next are a *count*. Each start of the daemon (``boot``) belongs to one count.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from edge.record.database import EVENT

_SAME_TIME_MS = 60_000
"""Collectors that share the load may store the first events of two starts in the wrong order, but within this time."""


@dataclass(frozen=True, slots=True)
class Gap:
    """Numbers that are missing between two events of a device."""

    device: str
    first_seq: int
    """the first number that is missing"""
    last_seq: int
    after_ms: int
    """time of the event before the gap, milliseconds since 1970 UTC"""
    before_ms: int
    """time of the event after the gap"""

    @property
    def missing(self) -> int:
        """How many events are missing."""
        return self.last_seq - self.first_seq + 1


@dataclass(slots=True)
class _Start:
    """The events of one start of a daemon."""

    device: str
    boot: str
    low: int
    high: int
    received_ms: int
    numbers: int
    """how many numbers are there"""

    @property
    def is_incomplete(self) -> bool:
        return self.numbers < self.high - self.low + 1


def find_gaps(engine: Engine, *, device: str = "") -> list[Gap]:
    """Return all gaps, by device and number; ``device`` chooses one."""
    with engine.connect() as connection:
        starts = _starts(connection, device)
        found = [gap for start in starts if start.is_incomplete for gap in _within(connection, start)]
        found += _between(connection, starts)
    return sorted(found, key=lambda gap: (gap.device, gap.after_ms, gap.first_seq))


def _starts(connection: Connection, device: str) -> list[_Start]:
    query = sa.select(
        EVENT.c.device, EVENT.c.boot, sa.func.min(EVENT.c.seq), sa.func.max(EVENT.c.seq),
        sa.func.min(EVENT.c.received_ms), sa.func.count(EVENT.c.seq.distinct()),
    ).group_by(EVENT.c.device, EVENT.c.boot)  # fmt: skip
    if device:
        query = query.where(EVENT.c.device == device)
    return sorted((_Start(*row) for row in connection.execute(query)), key=_arrival)


def _within(connection: Connection, start: _Start) -> Iterator[Gap]:
    def before(column: "sa.Column[int]") -> "sa.ColumnElement[int]":
        return sa.func.lag(column).over(order_by=EVENT.c.seq)

    numbered = sa.select(
        EVENT.c.seq, EVENT.c.time_ms, before(EVENT.c.seq).label("last"), before(EVENT.c.time_ms).label("last_ms")
    ).where(EVENT.c.device == start.device, EVENT.c.boot == start.boot)
    rows = numbered.subquery()
    for seq, time_ms, last, last_ms in connection.execute(sa.select(rows).where(rows.c.seq > rows.c.last + 1)):
        yield Gap(start.device, last + 1, seq - 1, last_ms, time_ms)


def _between(connection: Connection, starts: list[_Start]) -> Iterator[Gap]:
    """Compare the last number of each start with the first of the next one of the same count."""
    counts: list[list[_Start]] = []
    for start in starts:
        if not counts or _begins_count(start, counts[-1]):
            counts.append([])
        counts[-1].append(start)
    for count in counts:
        count.sort(key=lambda start: start.low)
        for earlier, later in pairwise(count):
            if later.low > earlier.high + 1:
                after, before = (_time(connection, earlier, earlier.high), _time(connection, later, later.low))
                yield Gap(later.device, earlier.high + 1, later.low - 1, after, before)


def _begins_count(start: _Start, count: list[_Start]) -> bool:
    last = max(count, key=lambda one: one.high)
    if start.device != last.device:
        return True
    overlaps = any(start.low <= one.high and one.low <= start.high for one in count)
    is_late = start.received_ms - last.received_ms <= _SAME_TIME_MS
    return start.low <= last.high and (start.low == 1 or overlaps or not is_late)


def _arrival(start: _Start) -> tuple[str, int, int]:
    return start.device, start.received_ms, start.low


def _time(connection: Connection, start: _Start, seq: int) -> int:
    query = sa.select(EVENT.c.time_ms).where(
        EVENT.c.device == start.device, EVENT.c.boot == start.boot, EVENT.c.seq == seq
    )
    return int(connection.execute(query.limit(1)).scalar_one())
