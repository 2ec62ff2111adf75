"""A report as one HTML file without outside references, and as tables for the terminal."""

import base64
from collections.abc import Iterator
from html import escape

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table

from edge.record.drawing import length_names, troubled
from edge.record.summary import NAMES, Summary

MOST_ROWS = 200
"""Devices in a table; those with trouble come first."""
_STYLE = (
    "body{font:16px/1.4 system-ui,sans-serif;max-width:75rem;margin:2rem auto;padding:0 1rem;color:#222}"
    "img{max-width:100%;height:auto}table{border-collapse:collapse;margin:1rem 0}"
    "th,td{padding:.2rem .8rem;border-bottom:1px solid #ccc;text-align:right}"
    "th:first-child,td:first-child{text-align:left}"
)


def html(summary: Summary, picture: bytes) -> str:
    """Return the page; ``picture`` is a PNG, which becomes part of it."""
    title = escape(f"Emotions, {summary.period.title}")
    drawn = base64.b64encode(picture).decode()
    tables = "".join(
        f"<h2>{escape(caption)}</h2><table><tr>{_cells('th', header)}</tr>"
        + "".join(f"<tr>{_cells('td', row)}</tr>" for row in rows)
        + "</table>"
        for caption, header, rows in _tables(summary)
    )
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style>'
        f"<h1>{title}</h1><p>{escape(headline(summary))}</p>"
        f'<img alt="Shares of the emotions, people in view, length of visits and devices; the tables below have the '
        f'figures" src="data:image/png;base64,{drawn}">{tables}</html>\n'
    )


def table(summary: Summary) -> Group:
    """Return the same figures for the terminal."""
    parts: list[Table | str] = [headline(summary)]
    for caption, header, rows in _tables(summary):
        one = Table(title=caption, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
        for index, name in enumerate(header):
            one.add_column(name, justify="right" if index else "left", no_wrap=True)
        for row in rows:
            one.add_row(*row)
        parts.append(one)
    return Group(*parts)


def headline(summary: Summary) -> str:
    """Return the report in one line."""
    zone = summary.period.zone.key
    if not summary.events:
        return f"{summary.period.title} ({zone}): no events"
    uncertain = summary.share("uncertain")
    seen = "nobody was seen for any time" if uncertain is None else (
        f"{summary.seen_s / 3600:,.1f} hours of faces, {uncertain:.0%} of them uncertain"
    )  # fmt: skip
    missing = sum(one.missing for one in summary.devices)
    return (
        f"{summary.period.title} ({zone}): {summary.events:,} events of {len(summary.devices):,} devices, "
        f"{summary.visits:,} visits, {seen}; {missing:,} events are missing"
    )


def _tables(summary: Summary) -> Iterator[tuple[str, list[str], list[list[str]]]]:
    shares = [(name, summary.share(name)) for name in NAMES]
    rows = [
        [name, "" if share is None else f"{share:.1%}", f"{summary.total_s(name) / 60:,.1f}"] for name, share in shares
    ]
    yield "Emotions", ["emotion", "share", "minutes"], rows
    width = 3_600_000 // summary.period.bucket_ms or 1
    yield "People in view, and what they showed", ["from", "mean", "most", *NAMES], _hours(summary, width)
    lengths = zip(length_names(), summary.lengths, strict=True)
    yield "Length of visits", ["length", "visits"], [[name, f"{number:,}"] for name, number in lengths]
    devices = [
        [one.name, f"{one.events:,}", f"{one.missing:,}", f"{len(one.gaps):,}",
         f"{sum(end - start for start, end in one.offline) / 60_000:,.0f}", f"{one.unsynced:,}"]
        for one in troubled(summary)[:MOST_ROWS]
    ]  # fmt: skip
    yield "Devices", ["device", "events", "missing", "gaps", "minutes not online", "without the date"], devices


def _hours(summary: Summary, width: int) -> list[list[str]]:
    """Return a row for each stretch of ``width`` buckets in which somebody was seen."""
    rows, mean, period = [], summary.mean_in_view(), summary.period
    for first in range(0, period.buckets, width):
        part = slice(first, first + width)
        held = {name: sum(summary.seconds[name][part]) for name in NAMES}
        total = sum(held.values())
        if not total:
            continue
        moment = period.local(period.start_ms + first * period.bucket_ms)
        shown = f"{moment:%H:%M}" if width > 1 else f"{moment:%a %H:%M}"
        shares = (f"{held[name] / total:.0%}" for name in NAMES)
        rows.append([shown, f"{sum(mean[part]) / len(mean[part]):.2f}", str(max(summary.most_in_view[part])), *shares])
    return rows


def _cells(kind: str, texts: list[str]) -> str:
    return "".join(f"<{kind}>{escape(text)}</{kind}>" for text in texts)
