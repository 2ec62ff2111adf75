"""A day, a week, and their edges: nothing, one event, local time, the change of the clocks."""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from edge.cli import app
from edge.cli.support import run
from edge.clock import utc_time
from edge.record import period
from edge.record.database import open_engine
from edge.record.drawing import time_labels
from edge.record.messages import Row, read
from edge.record.page import headline, html
from edge.record.summary import Summary, summarize
from edge.record.targets import open_target

Rows = Callable[..., Row]
BERLIN = ZoneInfo("Europe/Berlin")
NOON_S = 1_795_777_200  # 2026-11-27 12:00 in Berlin


@pytest.fixture
def visit(row: Rows) -> Callable[..., list[Row]]:
    """Makes the events of a visit: ``visit(start, ("happy", 10), ("sad", 5))``, emotions with their seconds."""
    numbers = {"seq": 0, "face": 0}

    def make(start_s: float, *feelings: tuple[str, float], end: bool = True, **changes: Any) -> list[Row]:
        numbers["face"] += 1
        rows, at_s = [], start_s
        kinds = ["face_appeared"] + ["emotion_changed"] * (len(feelings) - 1) + ["face_left"] * end
        for kind, (emotion, held_s) in zip(kinds, [*feelings, (feelings[-1][0], 0.0)], strict=False):
            numbers["seq"] += 1
            rows.append(row(
                seq=numbers["seq"], face=numbers["face"], event_type=kind, emotion=emotion, time=utc_time(at_s),
                mono_ms=round(at_s * 1000) - 1_000_000, duration_s=at_s - start_s, received_ms=round(at_s * 1000),
                **changes,
            ))  # fmt: skip
            at_s += held_s
        return rows

    return make


@pytest.fixture
def day_of(tmp_path: Path) -> Callable[..., Summary]:
    """Stores rows and returns the summary of a day."""

    def make(rows: list[Row], chosen: period.Period = period.day("2026-11-27", BERLIN), **changes: str) -> Summary:  # noqa: B008
        path = str(tmp_path / "events.db")
        target = open_target(path)
        target.store(rows or [read("emotion/1/hall/health", b'{"time": "2026-11-27T10:00:00Z"}', 5)])
        target.close()
        return summarize(open_engine(path), chosen, **changes)

    return make


def test_report_divides_a_visit_among_its_emotions(
    visit: Callable[..., list[Row]], day_of: Callable[..., Summary]
) -> None:
    found = day_of(visit(NOON_S, ("happy", 30), ("sad", 10)) + visit(NOON_S + 20, ("uncertain", 20)))
    assert {name: found.total_s(name) for name in ("happy", "sad", "uncertain")} == {
        "happy": 30, "sad": 10, "uncertain": 20,
    }  # fmt: skip
    assert found.seconds["happy"][48] == 30
    assert found.most_in_view[47:50] == [0, 2, 0]
    assert (found.visits, found.lengths, found.median_visit_s) == (2, [0, 0, 2, 0, 0, 0], 40)
    assert found.share("uncertain") == pytest.approx(1 / 3)
    assert headline(found).startswith("2026-11-27 (Europe/Berlin): 5 events of 1 devices, 2 visits")


def test_report_divides_a_long_visit_among_the_buckets(
    visit: Callable[..., list[Row]], day_of: Callable[..., Summary]
) -> None:
    found = day_of(visit(NOON_S - 60, ("neutral", 60 + 900 + 900 + 30)))
    assert found.seconds["neutral"][46:52] == [0, 60, 900, 900, 30, 0]
    assert found.most_in_view[46:52] == [0, 1, 1, 1, 1, 0]


def test_report_clips_a_visit_at_midnight(visit: Callable[..., list[Row]], day_of: Callable[..., Summary]) -> None:
    midnight_s = NOON_S - 12 * 3600
    rows = visit(midnight_s - 100, ("happy", 130)) + visit(midnight_s + 24 * 3600 - 5, ("sad", 60))
    found = day_of(rows)
    assert (found.total_s("happy"), found.total_s("sad")) == (30, 0)  # the end of the second is of the next day
    assert found.most_in_view[0] == 1


def test_report_ends_an_endless_visit_with_its_last_event(
    visit: Callable[..., list[Row]], day_of: Callable[..., Summary]
) -> None:
    found = day_of(visit(NOON_S, ("happy", 30), ("sad", 10), end=False))
    assert (found.total_s("happy"), found.total_s("sad"), found.visits) == (30, 0, 0)


@pytest.mark.parametrize(
    ("when", "zone", "hours"),
    [
        ("2026-03-29", "Europe/Berlin", 23), ("2026-10-25", "Europe/Berlin", 25), ("2026-11-27", "Europe/Berlin", 24),
        ("2026-11-27", "Asia/Kolkata", 24), ("2026-04-05", "Australia/Lord_Howe", 24.5),
        ("2026-04-24", "Africa/Cairo", 23), ("2011-12-30", "Pacific/Apia", 0),
    ],
)  # fmt: skip
def test_report_knows_how_long_a_day_is(when: str, zone: str, hours: float) -> None:
    chosen = period.day(when, ZoneInfo(zone))
    assert (chosen.end_ms - chosen.start_ms) / 3_600_000 == hours
    assert chosen.buckets == hours * 4


def test_report_of_a_week_begins_on_monday() -> None:
    for text in ("2026-W44", "2026-10-28", "2026-11-01", "2026-10-26"):
        chosen = period.week(text, BERLIN)
        assert (chosen.title, str(chosen.local(chosen.start_ms))) == ("2026-W44", "2026-10-26 00:00:00+01:00")
    summer_ends = period.week("2026-W43", BERLIN)
    assert (summer_ends.end_ms - summer_ends.start_ms) / 3_600_000 == 169


def test_report_labels_the_hours_of_a_day_and_the_days_of_a_week() -> None:
    winter_begins = [label for _, label in time_labels(period.day("2026-10-25", BERLIN))]
    assert winter_begins == ["00", "02", "02", *(f"{hour:02}" for hour in range(4, 24, 2)), "00"]
    summer_begins = [label for _, label in time_labels(period.day("2026-03-29", BERLIN))]
    assert summer_begins == ["00", *(f"{hour:02}" for hour in range(4, 24, 2)), "00"]
    days = time_labels(period.week("2026-W48", BERLIN))
    assert [label for _, label in days] == [
        f"{name} {23 + at}" for at, name in enumerate(["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun", "Mon"])
    ]
    assert [bucket for bucket, _ in days] == list(range(0, 85, 12))


def test_report_places_an_event_in_the_day_of_each_zone(
    visit: Callable[..., list[Row]], day_of: Callable[..., Summary]
) -> None:
    rows = visit(NOON_S + 11.5 * 3600, ("happy", 10))  # 23:30 in Berlin, 7:30 of the next day in Tokyo
    assert day_of(rows).events == 2
    assert day_of(rows, period.day("2026-11-27", ZoneInfo("Asia/Tokyo"))).events == 0
    assert day_of(rows, period.day("2026-11-28", ZoneInfo("Asia/Tokyo"))).seconds["happy"][30] == 10


@pytest.mark.parametrize("number", [0, 1])
def test_report_of_nothing_and_of_one_event(
    number: int, visit: Callable[..., list[Row]], day_of: Callable[..., Summary]
) -> None:
    drawing = pytest.importorskip("edge.record.drawing")
    found = day_of(visit(NOON_S, ("happy", 30), end=False)[:number])
    assert (found.events, found.seen_s, found.share("happy")) == (number, 0, None)
    assert drawing.draw(found).startswith(b"\x89PNG")
    assert ("no events" if number == 0 else "1 events") in html(found, b"")


def test_report_shows_gaps_and_times_offline(visit: Callable[..., list[Row]], day_of: Callable[..., Summary]) -> None:
    rows = visit(NOON_S, ("happy", 30), ("sad", 10), ("happy", 10))
    del rows[1]
    for state, minutes in (("online", 0), ("offline", 10), ("stopped", 20), ("online", 40), ("offline", 60)):
        payload = f'{{"state": "{state}", "boot": "b", "version": "1"}}'.encode()
        rows.append(read("emotion/1/hall/status", payload, (NOON_S + minutes * 60) * 1000))
    found = day_of(rows).devices[0]
    assert (found.missing, found.gaps) == (1, [(NOON_S * 1000, (NOON_S + 40) * 1000, 1)])
    assert [(end - start) / 60_000 for start, end in found.offline] == [30, 11 * 60]


def test_report_chooses_a_device(visit: Callable[..., list[Row]], day_of: Callable[..., Summary]) -> None:
    rows = visit(NOON_S, ("happy", 30)) + visit(NOON_S, ("sad", 10), device="door")
    assert day_of(rows).events == 4
    assert day_of(rows, device="door").total_s("happy") == 0
    assert day_of(rows, device="door").total_s("sad") == 10


def test_report_writes_a_page_without_outside_references(
    visit: Callable[..., list[Row]], day_of: Callable[..., Summary], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    day_of(visit(NOON_S, ("happy", 30), ("sad", 10)))
    arguments = ["report", "--from", str(tmp_path / "events.db"), "--timezone", "Europe/Berlin"]
    assert run(app, [*arguments, "--day", "2026-11-27", "--out", str(tmp_path / "out")]) == 0
    page = (tmp_path / "out/report-2026-11-27.html").read_text()
    assert "http" not in page
    assert page.count("src=") == 1
    assert 'src="data:image/png;base64,' in page
    assert (tmp_path / "out/report-2026-11-27.png").read_bytes().startswith(b"\x89PNG")
    capsys.readouterr()
    assert run(app, [*arguments, "--week", "2026-W48", "--format", "table"]) == 0
    printed = capsys.readouterr().out
    assert "Fri 12:00" in printed
    assert "hall" in printed


def test_report_says_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, said in [
        ([], "name either --day or --week"),
        (["--day", "2026-11-27", "--week", "2026-W48"], "name either --day or --week"),
        (["--day", "27.11.2026"], "--day: found '27.11.2026'"),
        (["--day", "0001-01-01"], "--day: found"),
        (["--day", "9999-12-31"], "--day: found"),
        (["--week", "2026-W60"], "--week: found"),
        (["--day", "2026-11-27", "--timezone", "Berlin"], "--timezone: found 'Berlin'"),
        (["--day", "2026-11-27", "--timezone", "../../etc/passwd"], "--timezone: found"),
        (["--day", "2026-11-27", "--from", str(tmp_path / "none.db")], "no such file"),
    ]:
        assert run(app, ["report", *arguments]) == 2
        errors = capsys.readouterr().err
        assert said in errors
        assert errors.count("\n") == 1
