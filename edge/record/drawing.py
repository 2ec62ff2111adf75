"""The picture of a report; the only place that draws with matplotlib (extra `report`)."""

import io
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from edge.emotions import COLOURS_BGR
from edge.errors import EmotionEdgeError
from edge.record.period import Period
from edge.record.summary import LENGTHS_S, NAMES, Summary

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_DEVICES = 20
"""Rows of devices in the picture: those with the most missing events and the longest times offline."""


def draw(summary: Summary) -> bytes:
    """Return the report as a PNG picture, 1200 pixels wide.

    Raises `EmotionEdgeError`: matplotlib is missing.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise EmotionEdgeError("pictures need matplotlib: pip install 'emotion-edge[report]'") from None
    rows = min(len(summary.devices), MOST_DEVICES)
    high = 11 + 0.25 * rows
    figure = Figure(figsize=(12, high), dpi=100)
    # A layout engine would draw everything once more, only to measure it.
    margins = {"left": 0.17, "right": 0.8, "bottom": 0.4 / high, "top": 1 - 1 / high, "hspace": 0.25}
    ratios = [3, 2, 2, 0.6 + 0.25 * rows]
    shares, people, lengths, devices = figure.subplots(4, 1, height_ratios=ratios, gridspec_kw=margins)
    figure.suptitle(f"Emotions, {summary.period.title} ({summary.period.zone.key})", fontsize=15)
    _draw_shares(shares, summary)
    _draw_people(people, summary)
    _draw_lengths(lengths, summary)
    _draw_devices(devices, summary)
    picture = io.BytesIO()
    figure.savefig(picture, format="png")
    return picture.getvalue()


def length_names() -> list[str]:
    """Return the names of the classes of visit lengths."""
    words = [f"{end} s" if end < 60 else f"{end // 60} min" for end in LENGTHS_S]
    return [f"under {words[0]}", *(f"{a} to {b}" for a, b in pairwise(words)), f"over {words[-1]}"]


def troubled(summary: Summary) -> list[Any]:
    """Return the devices, those with trouble first."""
    return sorted(
        summary.devices, key=lambda one: (-one.missing, -sum(end - start for start, end in one.offline), one.name)
    )


def _draw_shares(axes: "Axes", summary: Summary) -> None:
    axes.set_title("Shares of the emotions, of the time in which somebody was seen", loc="left")
    totals = [sum(one) for one in zip(*summary.seconds.values(), strict=True)]
    bottom = [0.0] * len(totals)
    for name in reversed(NAMES):
        share = [
            100 * held / total if total else 0.0 for held, total in zip(summary.seconds[name], totals, strict=True)
        ]
        whole = summary.share(name)
        label = name if whole is None else f"{name} {whole:.0%}"
        top = [a + b for a, b in zip(bottom, share, strict=True)]
        axes.stairs(top, baseline=bottom, fill=True, color=_colour(name), label=label)
        bottom = top
    axes.set_ylim(0, 100)
    axes.set_ylabel("%")
    handles, labels = axes.get_legend_handles_labels()
    axes.legend(handles[::-1], labels[::-1], loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    _time_axis(axes, summary)
    if not any(totals):
        axes.text(0.5, 0.5, "nobody was seen", transform=axes.transAxes, ha="center", va="center", fontsize=14)


def _draw_people(axes: "Axes", summary: Summary) -> None:
    axes.set_title("People in view", loc="left")
    edges = range(summary.period.buckets + 1)
    axes.stairs(summary.most_in_view, edges, color="#9ab", label="most at once")
    axes.stairs(summary.mean_in_view(), edges, fill=True, color="#357", label="mean")
    axes.set_ylim(0, max(1, *summary.most_in_view) * 1.1)
    axes.yaxis.get_major_locator().set_params(integer=True)  # type: ignore[call-arg]
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    _time_axis(axes, summary)


def _draw_lengths(axes: "Axes", summary: Summary) -> None:
    median = "" if summary.median_visit_s is None else f", half of them shorter than {summary.median_visit_s:.0f} s"
    axes.set_title(f"Length of {summary.visits:,} visits{median}", loc="left")
    bars = axes.bar(length_names(), summary.lengths, color="#357")
    axes.bar_label(bars, [f"{number:,}" if number else "" for number in summary.lengths])
    axes.set_ylim(0, max(1, *summary.lengths) * 1.15)


def _draw_devices(axes: "Axes", summary: Summary) -> None:
    shown = troubled(summary)[:MOST_DEVICES]
    more = f" (the first {MOST_DEVICES} of {len(summary.devices)})" if len(shown) < len(summary.devices) else ""
    axes.set_title(f"Devices{more}: grey not online, red where events are missing", loc="left")
    start_ms, width = summary.period.start_ms, summary.period.bucket_ms

    def place(time_ms: float) -> float:
        return min(max((time_ms - start_ms) / width, 0.0), float(summary.period.buckets))

    for row, one in enumerate(shown):
        axes.barh(row, summary.period.buckets, height=0.7, color="#dde7dd")
        for begin, end in one.offline:
            axes.barh(row, max(place(end) - place(begin), 0.15), left=place(begin), height=0.7, color="#aaa")
        for begin, end, _ in one.gaps:
            axes.barh(row, max(place(end) - place(begin), 0.25), left=place(begin), height=0.7, color="#c33")
        axes.text(summary.period.buckets * 1.01, row, f"{one.events:,} events, {one.missing:,} missing", va="center")
    axes.set_yticks(range(len(shown)), [one.name[:24] for one in shown])
    axes.set_ylim(max(len(shown), 1) - 0.5, -0.5)
    _time_axis(axes, summary)


def time_labels(period: Period) -> list[tuple[int, str]]:
    """Return buckets and what is written below their begin: every second hour of a day, each day of a week."""
    is_day = period.bucket_ms < 3_600_000
    labels = []
    for bucket in range(period.buckets + 1):
        moment = period.local(period.start_ms + bucket * period.bucket_ms)
        if moment.minute == 0 and (moment.hour % 2 == 0 if is_day else moment.hour == 0):
            labels.append((bucket, f"{moment:%H}" if is_day else f"{moment:%a %d}"))
    return labels


def _time_axis(axes: "Axes", summary: Summary) -> None:
    axes.set_xticks(*zip(*time_labels(summary.period), strict=True))
    axes.set_xlim(0, summary.period.buckets)


def _colour(name: str) -> str:
    blue, green, red = COLOURS_BGR[name]
    return f"#{red:02x}{green:02x}{blue:02x}"
