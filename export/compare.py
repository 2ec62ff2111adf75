"""Compare all number formats of some networks: ``python -m export compare``."""

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
from rich.console import Console
from rich.table import Table

from edge.emotions import EMOTIONS
from edge.errors import UsageError
from edge.inference.manifest import Quantization
from export.run import convert_and_verify
from export.sources import check_data, open_source
from export.verify import NetworkOutcome
from train.data.dataset import PARTS, Dataset, load_dataset
from train.metrics import Summary

if TYPE_CHECKING:
    from matplotlib.axes import Axes

QUANTIZATIONS: tuple[Quantization, ...] = get_args(Quantization)
JSON_NAME, PICTURE_NAME = "comparison.json", "comparison.png"
COLOURS = dict(zip(QUANTIZATIONS, ("#0072b2", "#d55e00", "#009e73", "#000000"), strict=True))
"""Okabe and Ito's, which people with any kind of colour vision can tell apart."""


def compare(
    models: Sequence[Path],
    data: Path,
    out: Path,
    *,
    pictures: int | None = None,
    report: Callable[[str], None] = lambda _line: None,
) -> list[NetworkOutcome]:
    """Convert each network to each format and measure it; write the models, a JSON file and a picture into a folder.

    ``pictures``: most pictures of the validation and of the test part, drawn with seed 0; None: all.
    Raises `UsageError`: there is no such model, or ``out`` is no folder.
    Raises `DataError`: the data set is damaged, has an empty part, or is not the one that a model was trained on.
    Raises `EmotionEdgeError`: a network cannot be converted or run.
    """
    dataset = load_dataset(data)
    for model in models:
        check_data(dataset, data, model)
    dataset = _at_most(dataset, pictures)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{out}: cannot be made: {error.strerror}; name another folder with --out") from None
    outcomes = []
    for model in models:
        source = open_source(model)
        for quantization in QUANTIZATIONS:
            found = convert_and_verify(source, quantization, dataset, threads=thread_counts(), report=report)
            (out / f"{source.kind}-{quantization}.tflite").write_bytes(found.content)
            outcomes.append(found)
    (out / JSON_NAME).write_text(json.dumps(as_dict(outcomes), indent=2) + "\n", encoding="utf-8")
    draw(outcomes, out / PICTURE_NAME)
    return outcomes


def thread_counts() -> tuple[int, ...]:
    """1, 2 and 4 threads, up to the number of this machine's cores."""
    return tuple(count for count in (1, 2, 4) if count <= (os.cpu_count() or 1))


def as_dict(outcomes: Sequence[NetworkOutcome]) -> dict[str, Any]:
    """For JSON: the result of each format of each network."""
    networks: dict[str, dict[str, Any]] = {}
    for found in outcomes:
        networks.setdefault(found.kind, {})[found.quantization] = found.as_dict()
    return {"networks": networks}


def print_comparison(outcomes: Sequence[NetworkOutcome], console: Console) -> None:
    """Print three tables that fit a terminal of 80 columns: figures, recall of each emotion, and time a face."""
    first = outcomes[0].verification
    pictures = f"agreement on {first.validation_n:,} validation pictures, the rest on {first.after.n:,} test pictures"
    figures = _table(pictures, ("bytes", "agrees", "accuracy", "balanced", "95 % interval", "checks"))
    recalls = _table("recall on the test pictures", tuple(f"{emotion}" for emotion in EMOTIONS))
    for found in outcomes:
        summary = found.verification.before
        if found.quantization == QUANTIZATIONS[0]:
            figures.add_row(found.kind, "float", "", "", *_accuracies(summary), "")
            recalls.add_row(found.kind, "float", *_recalls(summary))
        summary, agrees = found.verification.after, found.verification.runtimes[0].agreement
        checks = "missed" if found.verification.missed else "passed"
        size = f"{len(found.content):,}"
        figures.add_row(found.kind, found.quantization, size, f"{agrees:.2%}", *_accuracies(summary), checks)
        recalls.add_row(found.kind, found.quantization, *_recalls(summary))
    console.print(figures)
    console.print(recalls)
    counts = list(first.runtimes[0].latency_ms)
    times = Table(title="milliseconds a face on this machine, by threads", title_justify="left")
    for column in ("network", "format", "runtime", *(f"{count}" for count in counts)):
        times.add_column(column, justify="right" if column.isdigit() else "left")
    for found in outcomes:
        for row in found.verification.runtimes:
            values = (f"{row.latency_ms[count]:.2f}" for count in counts)
            times.add_row(found.kind, found.quantization, row.runtime, *values)
    console.print(times)


def _table(title: str, columns: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left", padding=0)
    for column in ("network", "format", *columns):
        table.add_column(column, justify="left" if column in {"network", "format"} else "right")
    return table


def _accuracies(summary: Summary) -> tuple[str, str, str]:
    low, high = summary.balanced_accuracy_interval
    return f"{summary.accuracy:.2%}", f"{summary.balanced_accuracy:.2%}", f"{100 * low:.1f}-{high:.1%}"


def _recalls(summary: Summary) -> list[str]:
    return [f"{summary.recall[e]:.1%}" if e in summary.recall else "-" for e in EMOTIONS]


def draw(outcomes: Sequence[NetworkOutcome], path: Path) -> None:
    """Draw accuracy, with its interval, against latency and against size: a colour a format, a marker a network."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, sharey=True)
    runtime = outcomes[0].verification.runtimes[0].runtime
    _scatter(left, outcomes, [found.verification.runtimes[0].latency_ms[1] for found in outcomes])
    _scatter(right, outcomes, [len(found.content) / 1e6 for found in outcomes])
    left.set_xlabel(f"milliseconds a face ({runtime}, 1 thread)")
    right.set_xlabel("size, MB")
    left.set_ylabel("balanced accuracy on the test part, %")
    handles, names = right.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=4, frameon=False)
    figure.savefig(path, dpi=120)


def _scatter(axes: "Axes", outcomes: Sequence[NetworkOutcome], x: Sequence[float]) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    kinds = list(dict.fromkeys(found.kind for found in outcomes))
    for found, place in zip(outcomes, x, strict=True):
        summary = found.verification.after
        middle = summary.balanced_accuracy * 100
        low, high = (share * 100 for share in summary.balanced_accuracy_interval)
        axes.errorbar(
            place, middle, yerr=[[max(0.0, middle - low)], [max(0.0, high - middle)]], linestyle="none", capsize=3,
            marker="os"[kinds.index(found.kind)], color=COLOURS[found.quantization], alpha=0.8,
            label=f"{found.kind} {found.quantization}",
        )  # fmt: skip
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.grid(visible=True, which="both", alpha=0.2)
    axes.spines[["top", "right"]].set_visible(False)


def _at_most(dataset: Dataset, pictures: int | None) -> Dataset:
    if pictures is None:
        return dataset
    parts = dataset.parts.copy()
    rng = np.random.default_rng(0)
    for part in ("validation", "test"):
        rows = dataset.select(part)
        parts[rng.permutation(rows)[pictures:]] = PARTS.index("excluded")
    return Dataset(dataset.images, dataset.labels, parts, dataset.votes, dataset.notes)
