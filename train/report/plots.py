"""Draw the pictures of a report as matplotlib figures; no display is needed."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.stats import binomtest

from edge.emotions import EMOTIONS
from train.metrics import Summary
from train.report.references import ARTICLE, HUMANS

INK, BLUE, ORANGE, PALE, GRID = "#22303c", "#2b6cb0", "#c05621", "#c9d6e4", "#e3e8ee"
NAMES = [str(emotion) for emotion in EMOTIONS]


def draw_curves(curves: Sequence[dict[str, Any]]) -> Figure:
    """Loss, and accuracy on training and validation pictures, by epoch."""
    figure, (left, right) = _figure(9.0, 3.4, columns=2)
    epochs = [line["epoch"] for line in curves]
    _line(left, epochs, [line.get("loss") for line in curves], "training", BLUE)
    _line(left, epochs, [line.get("val_loss") for line in curves], "validation", ORANGE)
    left.set_title("loss", loc="left")
    _line(right, epochs, [line.get("accuracy") for line in curves], "training: accuracy", BLUE)
    _line(right, epochs, [line.get("val_accuracy") for line in curves], "validation: accuracy", PALE)
    balanced = [line.get("val_balanced_accuracy") for line in curves]
    _line(right, epochs, balanced, "validation: balanced accuracy", ORANGE)
    right.set_title("accuracy", loc="left")
    right.yaxis.set_major_formatter("{x:.0%}")
    for axes in (left, right):
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        if axes.lines:  # a model may note its loss alone
            axes.legend(frameon=False, fontsize=8)
    return figure


def draw_confusion(summary: Summary) -> Figure:
    """Confusion matrix: for each label, the share of each predicted emotion; rows sum to 1."""
    counts = np.array(summary.confusion)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure, (axes,) = _figure(5.2, 4.6)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.grid(visible=False)
    for truth, predicted in np.ndindex(*shares.shape):
        ink = "white" if shares[truth, predicted] > 0.55 else INK
        text = f"{shares[truth, predicted]:.0%}\n{counts[truth, predicted]}"
        axes.text(predicted, truth, text, ha="center", va="center", color=ink, fontsize=9)
    axes.set_xticks(range(len(NAMES)), NAMES)
    axes.set_yticks(range(len(NAMES)), NAMES)
    axes.set_xlabel("taken for")
    axes.set_ylabel("labelled")
    return figure


def draw_recall(summary: Summary) -> Figure:
    """Recall of each emotion with its 95 % interval (Wilson)."""
    figure, (axes,) = _figure(5.6, 3.2)
    for place, name in enumerate(NAMES):
        if name not in summary.recall:
            continue
        low, high = wilson(summary.confusion[place][place], summary.support[name])
        share = summary.recall[name]
        axes.barh(place, share, color=PALE, height=0.62)
        axes.plot([low, high], [place, place], color=BLUE, linewidth=2)
        axes.plot(share, place, "o", color=BLUE, markersize=5)
        axes.text(1.02, place, f"{share:.0%} of {summary.support[name]:,}", va="center", fontsize=9, color=INK)
    axes.axvline(summary.balanced_accuracy, color=ORANGE, linewidth=1, linestyle="--")
    axes.set_yticks(range(len(NAMES)), NAMES)
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter("{x:.0%}")
    axes.set_xlabel(f"recall; dashed: their mean, {summary.balanced_accuracy:.1%}")
    return figure


def draw_reliability(bins: Sequence[tuple[float, float, int]], error: float) -> Figure:
    """Accuracy against confidence, and the number of pictures in each bin (`train.metrics.reliability`)."""
    figure, (top, bottom) = _figure(5.0, 5.0, rows=2, heights=(3, 1))
    confidence, share, n = (list(column) for column in zip(*bins, strict=True))
    top.plot([0, 1], [0, 1], color=PALE, linestyle="--", linewidth=1)
    for mean, right, count in bins:
        top.plot([mean, mean], wilson(round(right * count), count), color=PALE, linewidth=2)
    top.plot(confidence, share, "o-", color=BLUE, markersize=4)
    top.set_title(f"expected calibration error {error:.3f}", loc="left")
    top.set_ylabel("share that is right")
    top.set_ylim(0, 1.02)
    bottom.bar(confidence, n, width=1 / 20, color=PALE)
    bottom.set_ylabel("pictures")
    bottom.set_xlabel("confidence")
    for axes in (top, bottom):
        axes.set_xlim(0, 1.02)
        axes.xaxis.set_major_formatter("{x:.0%}")
    top.yaxis.set_major_formatter("{x:.0%}")
    return figure


def draw_comparison(name: str, summary: Summary) -> Figure:
    """Balanced accuracy of this model, with published figures for comparison."""
    figure, (axes,) = _figure(7.0, 2.6)
    assert HUMANS.low is not None
    assert HUMANS.high is not None
    axes.axvspan(HUMANS.low, HUMANS.high, color=GRID, zorder=0)
    axes.text((HUMANS.low + HUMANS.high) / 2, -0.75, f"people {HUMANS.words}", ha="center", fontsize=8, color=INK)
    known = [reference for reference in ARTICLE if reference.high is not None]
    for place, reference in enumerate(known):
        axes.barh(place, reference.high, color=PALE, height=0.6)
        axes.text((reference.high or 0) + 0.01, place, reference.words, va="center", fontsize=9, color=INK)
    place = len(known)
    low, high = summary.balanced_accuracy_interval
    axes.barh(place, summary.balanced_accuracy, color=BLUE, height=0.6)
    axes.plot([low, high], [place, place], color=INK, linewidth=2)
    axes.text(high + 0.01, place, f"{summary.balanced_accuracy:.1%}", va="center", fontsize=9, color=INK)
    axes.set_yticks(range(place + 1), [reference.name for reference in known] + [name])
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter("{x:.0%}")
    return figure


def draw_mistakes(
    images: NDArray[np.uint8], labels: NDArray[np.int8], scores: NDArray[np.float32], *, columns: int = 8, rows: int = 4
) -> Figure:
    """The mistakes with the highest confidence, the highest first."""
    predicted = scores.argmax(axis=1)
    wrong = np.flatnonzero(predicted != labels)
    shown = wrong[np.argsort(-scores[wrong].max(axis=1), kind="stable")][: columns * rows]
    figure = Figure(figsize=(columns * 1.25, rows * 1.6), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in grid:
        axes.set_axis_off()
    for axes, row in zip(grid, shown, strict=False):
        axes.imshow(images[row], cmap="gray", vmin=0, vmax=255)
        said, meant = NAMES[predicted[row]], NAMES[labels[row]]
        axes.set_title(f"{meant}, not\n{said} {scores[row].max():.0%}", fontsize=7.5, color=INK)
    return figure


def wilson(hits: int, n: int) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927, doi:10.2307/2276774)."""
    interval = binomtest(hits, n).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)


def _figure(
    width: float, height: float, *, columns: int = 1, rows: int = 1, heights: tuple[int, ...] | None = None
) -> tuple[Figure, list[Any]]:
    figure = Figure(figsize=(width, height), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, gridspec_kw={"height_ratios": heights} if heights else None)
    for axes in grid.ravel():
        axes.set_axisbelow(True)
        axes.grid(color=GRID, linewidth=0.8)
        axes.tick_params(colors=INK, labelsize=9, length=0)
        for side in axes.spines.values():
            side.set_visible(False)
    return figure, list(grid.ravel())


def _line(axes: Any, epochs: list[int], values: list[float | None], label: str, colour: str) -> None:
    if any(value is not None for value in values):
        axes.plot(epochs, [np.nan if v is None else v for v in values], label=label, color=colour, linewidth=1.6)
