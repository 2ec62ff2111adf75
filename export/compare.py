"""Compare all number formats of some networks: ``python -m export compare``."""

import hashlib
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
from edge.inference import available_runtimes
from edge.inference.manifest import Quantization
from export.run import convert_and_verify, float_scores
from export.sources import check_data, open_source
from train.data.dataset import PARTS, Dataset, load_dataset
from train.files import write_json
from train.run_folder import model_file, read_json

if TYPE_CHECKING:
    from matplotlib.axes import Axes

QUANTIZATIONS: tuple[Quantization, ...] = get_args(Quantization)
JSON_NAME, PICTURE_NAME = "comparison.json", "comparison.png"
Comparison = dict[str, dict[str, dict[str, Any]]]
"""For JSON: figures by network (cnn, vgg) and format."""
COLOURS: dict[str, str] = dict(zip(QUANTIZATIONS, ("#0072b2", "#d55e00", "#009e73", "#000000"), strict=True))
"""Okabe and Ito's, which people with any kind of colour vision can tell apart."""


def compare(
    models: Sequence[Path],
    data: Path,
    out: Path,
    *,
    pictures: int | None = None,
    report: Callable[[str], None] = lambda _line: None,
) -> Comparison:
    """Convert each network to each format and measure it; write the models, a JSON file and a picture into a folder.

    The JSON file is written after each format. What it has of the same networks, pictures and runtimes is not measured
    again, so that an interrupted comparison goes on where it was.

    ``pictures``: most pictures of the validation and of the test part, drawn with seed 0; None: all.
    Returns the content of the JSON file.
    Raises `UsageError`: there is no such model, or ``out`` is no folder.
    Raises `DataError`: the data set is damaged, has an empty part, or is not the one that a model was trained on; or
    the JSON file is damaged.
    Raises `EmotionEdgeError`: a network cannot be converted or run.
    """
    dataset = load_dataset(data)
    for model in models:
        check_data(dataset, data, model)
    fingerprint = dataset.fingerprint()
    dataset = _at_most(dataset, pictures)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{out}: cannot be made: {error.strerror}; name another folder with --out") from None
    before = read_json(out / JSON_NAME) if (out / JSON_NAME).is_file() else {}
    found: Comparison = {}
    for model in models:
        measured = {
            "model": hashlib.sha256(model_file(model).read_bytes()).hexdigest(),
            "data": fingerprint,
            "pictures": pictures,
            "runtimes": [*available_runtimes()],
        }
        source = open_source(model)
        kept = before.get("networks", {}).get(source.kind, {})
        rows = found[source.kind] = {name: row for name, row in kept.items() if row.get("measured") == measured}
        missing = [name for name in QUANTIZATIONS if name not in rows]
        report(f"{source.kind}: {len(rows)} of {len(QUANTIZATIONS)} formats are measured")
        reference = float_scores(source, dataset) if missing else np.empty(0, np.float32)
        for name in missing:
            one = convert_and_verify(source, reference, name, dataset, threads=thread_counts(), report=report)
            (out / f"{source.kind}-{name}.tflite").write_bytes(one.content)
            rows[name] = json.loads(
                json.dumps(one.as_dict() | {"measured": measured})
            )  # keys become words, as in the file
            found[source.kind] = {name: rows[name] for name in QUANTIZATIONS if name in rows}
            write_json(out / JSON_NAME, {"networks": before.get("networks", {}) | found})
    draw(found, out / PICTURE_NAME)
    return found


def thread_counts() -> tuple[int, ...]:
    """1, 2 and 4 threads, up to the number of this machine's cores."""
    return tuple(count for count in (1, 2, 4) if count <= (os.cpu_count() or 1))


def print_comparison(found: Comparison, console: Console) -> None:
    """Print three tables that fit a terminal of 80 columns: figures, recall of each emotion, and time a face."""
    rows = [(kind, name, row) for kind, formats in found.items() for name, row in formats.items()]
    first = rows[0][2]
    validation_n, test_n = first["validation"]["n"], first["test"]["after"]["n"]
    pictures = f"agreement on {validation_n:,} validation pictures, the rest on {test_n:,} test pictures"
    figures = _table(pictures, ("bytes", "agrees", "accuracy", "balanced", "95 % interval", "checks"))
    recalls = _table("recall on the test pictures", tuple(f"{emotion}" for emotion in EMOTIONS))
    counts = list(next(iter(first["runtimes"].values()))["latency_ms"])
    times = Table(title="milliseconds a face on this machine, by threads", title_justify="left")
    for column in ("network", "format", "runtime", *counts):
        times.add_column(column, justify="right" if column.isdigit() else "left")
    for kind, name, row in rows:
        summary = row["test"]["before"]
        if name == QUANTIZATIONS[0]:
            figures.add_row(kind, "float", "", "", *_accuracies(summary), "")
            recalls.add_row(kind, "float", *_recalls(summary))
        summary = row["test"]["after"]
        checks = "missed" if row["missed"] else "passed"
        figures.add_row(kind, name, f"{row['bytes']:,}", f"{row['agreement']:.2%}", *_accuracies(summary), checks)
        recalls.add_row(kind, name, *_recalls(summary))
        for runtime, one in row["runtimes"].items():
            times.add_row(kind, name, runtime, *(f"{one['latency_ms'][count]:.2f}" for count in counts))
    console.print(figures)
    console.print(recalls)
    console.print(times)


def _table(title: str, columns: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left", padding=0)
    for column in ("network", "format", *columns):
        table.add_column(column, justify="left" if column in {"network", "format"} else "right")
    return table


def _accuracies(summary: dict[str, Any]) -> tuple[str, str, str]:
    low, high = summary["balanced_accuracy_interval"]
    return f"{summary['accuracy']:.2%}", f"{summary['balanced_accuracy']:.2%}", f"{100 * low:.1f}-{high:.1%}"


def _recalls(summary: dict[str, Any]) -> list[str]:
    return [f"{summary['recall'][e]:.1%}" if e in summary["recall"] else "-" for e in EMOTIONS]


def draw(found: Comparison, path: Path) -> None:
    """Draw accuracy, with its interval, against latency and against size: a colour a format, a marker a network."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, sharey=True)
    rows = [(kind, name, row) for kind, formats in found.items() for name, row in formats.items()]
    runtime = next(iter(rows[0][2]["runtimes"]))
    _scatter(left, rows, [next(iter(row["runtimes"].values()))["latency_ms"]["1"] for _, _, row in rows])
    _scatter(right, rows, [row["bytes"] / 1e6 for _, _, row in rows])
    left.set_xlabel(f"milliseconds a face ({runtime}, 1 thread)")
    right.set_xlabel("size, MB")
    left.set_ylabel("balanced accuracy on the test part, %")
    handles, names = right.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=4, frameon=False)
    figure.savefig(path, dpi=120)


def _scatter(axes: "Axes", rows: Sequence[tuple[str, str, Any]], x: Sequence[float]) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    kinds = list(dict.fromkeys(kind for kind, _, _ in rows))
    for (kind, name, row), place in zip(rows, x, strict=True):
        summary = row["test"]["after"]
        middle = summary["balanced_accuracy"] * 100
        low, high = (share * 100 for share in summary["balanced_accuracy_interval"])
        axes.errorbar(
            place, middle, yerr=[[max(0.0, middle - low)], [max(0.0, high - middle)]], linestyle="none", capsize=3,
            marker="os"[kinds.index(kind)], color=COLOURS[name], alpha=0.8, label=f"{kind} {name}",
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
