"""``python -m train evaluate``: the figures of a model on a held-out part, as a table or as JSON."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from edge.emotions import EMOTIONS
from edge.errors import DataError
from train.cli.options import DATA, DataOption, FlipOption, JsonOption, PartOption
from train.data.dataset import landmark_cache, load_dataset
from train.metrics import Summary, summarise


def evaluate(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="Run folder, .keras file or bundle folder.")],
    data: DataOption = DATA,
    part: PartOption = "test",
    flip: FlipOption = False,
    as_json: JsonOption = False,
) -> None:
    """Measure a model on pictures that it has not seen.

    For example:

    - `python -m train evaluate runs/cnn-device`
    - `python -m train evaluate models/default --part validation --json`
    """
    from train.scoring import score

    dataset = load_dataset(data)
    rows = dataset.select(part)
    if not len(rows):
        raise DataError(f"{data}: its {part} part holds no picture of the five emotions")
    scores = score(model, dataset.images[rows], flip=flip, cache=landmark_cache(data))
    summary = summarise(scores, dataset.labels[rows])
    if as_json:
        described = {"model": str(model), "data": str(data), "fingerprint": dataset.fingerprint(), "part": part}
        print(json.dumps(described | {"flip": flip} | summary.as_dict()))
    else:
        _print_table(model, summary, part=part, flip=flip)


def _print_table(model: Path, summary: Summary, *, part: str, flip: bool) -> None:
    title = f"{model} on the {part} part{', averaged with mirror images' if flip else ''}"
    table = Table(title=title, title_justify="left", show_header=True)
    table.add_column("")
    table.add_column("share", justify="right")
    table.add_column("n", justify="right")
    low, high = summary.balanced_accuracy_interval
    table.add_row("accuracy", f"{summary.accuracy:.1%}", f"{summary.n:,}")
    table.add_row("balanced accuracy", f"{summary.balanced_accuracy:.1%}", f"{summary.n:,}")
    table.add_row("  95 % interval", f"{low:.1%} to {high:.1%}", "")
    table.add_row("calibration error", f"{summary.expected_calibration_error:.1%}", f"{summary.n:,}", end_section=True)
    for emotion in EMOTIONS:
        recall = summary.recall.get(emotion)
        shown = "no picture" if recall is None else f"{recall:.1%}"
        table.add_row(f"recall {emotion}", shown, f"{summary.support[emotion]:,}")
    Console().print(table)
