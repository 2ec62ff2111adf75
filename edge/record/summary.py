"""What happened in a day or a week, computed by the database: a million events never come into this program.

A visit is what lies between `face_appeared` and `face_left` of one face. Each of its events holds until the next one;
durations come from `mono_ms`, which never jumps. A visit whose end is missing ends with its last event.
"""

from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from edge.emotions import EMOTIONS, UNCERTAIN
from edge.record.database import EVENT, STATUS
from edge.record.gaps import find_gaps
from edge.record.period import Period

NAMES = (*(str(emotion) for emotion in EMOTIONS), UNCERTAIN)
LENGTHS_S = (5, 15, 60, 300, 900)
"""Upper ends of the classes of visit lengths, seconds; the last class has none."""
_BEFORE_MS = 6 * 3_600_000
"""Events of this long before the period are read too, for visits that began before it."""


@dataclass(slots=True)
class DeviceSummary:
    """One device in a period."""

    name: str
    events: int
    unsynced: int
    """events whose time may be wrong: the device did not know the date"""
    gaps: list[tuple[int, int, int]] = field(default_factory=list)
    """start and end in milliseconds since 1970 UTC, and how many events are missing"""
    offline: list[tuple[int, int]] = field(default_factory=list)
    """start and end in milliseconds since 1970 UTC of the times in which it was not online"""

    @property
    def missing(self) -> int:
        """Events that are missing."""
        return sum(number for _, _, number in self.gaps)


@dataclass(slots=True)
class Summary:
    """All that a report shows."""

    period: Period
    events: int
    seconds: dict[str, list[float]]
    """emotion, or `uncertain`, to the face-seconds in each bucket"""
    most_in_view: list[int]
    """the most people in view at once, by bucket"""
    visits: int
    """visits that ended in this period"""
    lengths: list[int]
    """how many of them fall into each class of `LENGTHS_S`"""
    median_visit_s: float | None
    devices: list[DeviceSummary]

    def total_s(self, name: str) -> float:
        """Return the face-seconds of an emotion."""
        return sum(self.seconds[name])

    @property
    def seen_s(self) -> float:
        """Face-seconds of all emotions."""
        return sum(map(sum, self.seconds.values()))

    def share(self, name: str) -> float | None:
        """Return the share of an emotion in all face-seconds, None if nobody was seen."""
        return self.total_s(name) / self.seen_s if self.seen_s else None

    def mean_in_view(self) -> list[float]:
        """Return the mean number of people in view, by bucket."""
        bucket_s = self.period.bucket_ms / 1000
        return [sum(one) / bucket_s for one in zip(*self.seconds.values(), strict=True)]


def summarize(engine: Engine, period: Period, *, device: str = "") -> Summary:
    """Return the summary of a period; ``device`` chooses one device."""
    with engine.connect() as connection:
        part, stays = _temporary_tables(connection, period, device)
        devices = _devices(connection, part, period, device)
        seconds = {name: [0.0] * period.buckets for name in NAMES}
        most = [0] * period.buckets
        segments = _segments(part, period).cte("segments")
        for emotion, bucket, total_ms in connection.execute(_seconds(segments, period)):
            seconds[emotion][bucket] += total_ms / 1000
        for bucket, peak in connection.execute(_peaks(stays, period)):
            most[bucket] = peak
        _carry(connection, stays, period, most)
        lengths, visits, median_s = _visits(connection, part, period)
    for gap in find_gaps(engine, device=device):
        start_ms, end_ms = gap.after_ms, gap.before_ms
        for one in devices:
            if one.name == gap.device and start_ms < period.end_ms and end_ms >= period.start_ms:
                one.gaps.append((start_ms, end_ms, gap.missing))
    return Summary(period, sum(one.events for one in devices), seconds, most, visits, lengths, median_s, devices)


def _temporary_tables(connection: Connection, period: Period, device: str) -> tuple[sa.Table, sa.Table]:
    """Copy the events of the period, each with the end of its emotion, and its visits: all else reads only these.

    Both have start and end in milliseconds since 1970 UTC; an event without a successor has no end.
    """
    names = ("device", "boot", "face", "event_type", "emotion", "duration_s", "time_synced", "mono_ms")
    copied = [EVENT.c[name] for name in names]
    visit = (EVENT.c.device, EVENT.c.boot, EVENT.c.face)
    next_mono = sa.func.lead(EVENT.c.mono_ms).over(partition_by=visit, order_by=EVENT.c.seq)
    # The + keeps SQLite from looking up row after row through the index where the period is most of the record.
    moment = EVENT.c.time_ms + 0 if _is_most(connection, period) else EVENT.c.time_ms
    events = sa.select(
        *copied, EVENT.c.time_ms.label("start_ms"), (EVENT.c.time_ms + next_mono - EVENT.c.mono_ms).label("end_ms")
    ).where(moment >= period.start_ms - _BEFORE_MS, moment < period.end_ms)  # fmt: skip
    part = _copy(connection, "report_event", events.where(EVENT.c.device == device) if device else events)
    start = sa.func.min(part.c.start_ms)
    end = start + sa.func.max(part.c.mono_ms) - sa.func.min(part.c.mono_ms)
    stays = sa.select(start.label("start_ms"), end.label("end_ms")).group_by(part.c.device, part.c.boot, part.c.face)
    clipped = stays.subquery()
    inside = sa.and_(clipped.c.end_ms > clipped.c.start_ms, clipped.c.end_ms > period.start_ms)
    return part, _copy(connection, "report_visit", sa.select(*_clipped(clipped, period)).where(inside))


def _is_most(connection: Connection, period: Period) -> bool:
    first, last = connection.execute(sa.select(sa.func.min(EVENT.c.time_ms), sa.func.max(EVENT.c.time_ms))).one()
    return first is None or (last - first) < 5 * (period.end_ms - period.start_ms)


def _copy(connection: Connection, name: str, query: Any) -> sa.Table:
    columns = [sa.Column(one.name, one.type) for one in query.selected_columns if isinstance(one.name, str)]
    table = sa.Table(name, sa.MetaData(), *columns, prefixes=["TEMPORARY"])
    table.create(connection)
    connection.execute(table.insert().from_select([column.name for column in columns], query))
    return table


def _segments(part: sa.Table, period: Period) -> Any:
    """Select emotion, start and end, since the start of the period, of each stretch of a visit between two events."""
    return sa.select(part.c.emotion, *_clipped(part, period)).where(
        part.c.event_type != "face_left", part.c.end_ms > part.c.start_ms, part.c.end_ms > period.start_ms
    )


def _seconds(segments: "sa.CTE", period: Period) -> Any:
    """Select milliseconds by emotion and bucket. A stretch counts in its first, its last and the buckets between."""
    begin, end, width = segments.c.begin, segments.c.end, period.bucket_ms
    first, last = _bucket(begin, width), _bucket(end, width)
    parts = [
        sa.select(segments.c.emotion, first.label("bucket"),
                  (sa.case((last > first, (first + 1) * width), else_=end) - begin).label("held")),
        sa.select(segments.c.emotion, last, end - last * width).where(last > first, end > last * width),
    ]  # fmt: skip
    whole = sa.select(sa.literal(0).label("number")).cte("whole", recursive=True)
    whole = whole.union_all(sa.select(whole.c.number + 1).where(whole.c.number + 1 < period.buckets))
    between = sa.and_(whole.c.number > first, whole.c.number < last)
    parts.append(
        sa.select(segments.c.emotion, whole.c.number, sa.literal(width))
        .select_from(segments.join(whole, between))
        .where(last > first + 1)
    )
    every = sa.union_all(*parts).subquery()
    return sa.select(every.c.emotion, every.c.bucket, sa.func.sum(every.c.held)).group_by(
        every.c.emotion, every.c.bucket
    )


def _clipped(held: "sa.FromClause", period: Period) -> tuple["sa.Label[int]", "sa.Label[int]"]:
    """Return start and end as milliseconds since the start of the period."""
    begin = sa.case((held.c.start_ms < period.start_ms, period.start_ms), else_=held.c.start_ms) - period.start_ms
    end = sa.case((held.c.end_ms > period.end_ms, period.end_ms), else_=held.c.end_ms) - period.start_ms
    return begin.label("begin"), end.label("end")


def _peaks(stays: sa.Table, period: Period) -> Any:
    """Select the most people at once by the bucket in which somebody came or left."""
    changes = sa.union_all(
        sa.select(stays.c.begin.label("at"), sa.literal(1).label("change")),
        sa.select(stays.c.end, sa.literal(-1)),
    ).subquery()
    by_time = sa.select(changes.c.at, sa.func.sum(changes.c.change).label("change")).group_by(changes.c.at).subquery()
    running = sa.select(
        by_time.c.at, sa.func.sum(by_time.c.change).over(order_by=by_time.c.at).label("people")
    ).subquery()
    bucket = _bucket(running.c.at, period.bucket_ms)
    inside = running.c.at < period.end_ms - period.start_ms
    return sa.select(bucket, sa.func.max(running.c.people)).where(inside).group_by(bucket)


def _carry(connection: Connection, stays: sa.Table, period: Period, most: list[int]) -> None:
    """Count those who are there when a bucket begins."""
    first, last = _bucket(stays.c.begin, period.bucket_ms), _bucket(stays.c.end - 1, period.bucket_ms)
    long = sa.select(first, last, sa.func.count()).where(last > first).group_by(first, last)
    staying = [0] * (period.buckets + 1)
    for start, end, number in connection.execute(long):
        for bucket in range(start + 1, end + 1):
            staying[bucket] += number
    for bucket, number in enumerate(staying[: period.buckets]):
        most[bucket] = max(most[bucket], number)


def _bucket(moment: "sa.ColumnElement[int]", width: int) -> "sa.ColumnElement[int]":
    return moment // width


def _visits(connection: Connection, part: sa.Table, period: Period) -> tuple[list[int], int, float | None]:
    ended = sa.and_(part.c.event_type == "face_left", part.c.start_ms >= period.start_ms)
    kind = sa.case(*((part.c.duration_s < end, index) for index, end in enumerate(LENGTHS_S)), else_=len(LENGTHS_S))
    lengths = [0] * (len(LENGTHS_S) + 1)
    for index, number in connection.execute(sa.select(kind, sa.func.count()).where(ended).group_by(kind)):
        lengths[index] = number
    visits = sum(lengths)
    if not visits:
        return lengths, 0, None
    middle = sa.select(part.c.duration_s).where(ended).order_by(part.c.duration_s).offset(visits // 2).limit(1)
    return lengths, visits, connection.execute(middle).scalar_one()


def _devices(connection: Connection, part: sa.Table, period: Period, device: str) -> list[DeviceSummary]:
    unsynced = sa.func.sum(sa.case((part.c.time_synced, 0), else_=1))
    query = sa.select(part.c.device, sa.func.count(), unsynced).where(part.c.start_ms >= period.start_ms)
    found = {row[0]: DeviceSummary(*row) for row in connection.execute(query.group_by(part.c.device))}
    statuses = sa.select(STATUS.c.device, STATUS.c.received_ms, STATUS.c.state).where(
        STATUS.c.received_ms < period.end_ms
    )
    if device:
        statuses = statuses.where(STATUS.c.device == device)
    since: dict[str, int] = {}
    last: dict[str, str] = {}
    for name, received_ms, state in connection.execute(statuses.order_by(STATUS.c.received_ms)):
        if state != "online" and last.get(name, "online") == "online":
            since[name] = received_ms
        elif state == "online" and name in since:
            _add_offline(found, name, since.pop(name), received_ms, period)
        last[name] = state
    for name, start_ms in since.items():
        _add_offline(found, name, start_ms, period.end_ms, period)
    return [found[name] for name in sorted(found)]


def _add_offline(found: dict[str, DeviceSummary], name: str, start_ms: int, end_ms: int, period: Period) -> None:
    if end_ms > period.start_ms:
        one = found.setdefault(name, DeviceSummary(name, 0, 0))
        one.offline.append((max(start_ms, period.start_ms), end_ms))
