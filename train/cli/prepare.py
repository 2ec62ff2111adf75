"""``python -m train prepare``: from a CSV file or a folder to one data set, and what was found in it."""

import json
import sys
from pathlib import Path
from typing import Annotated, BinaryIO, Literal

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from edge.emotions import EMOTIONS
from edge.errors import DataError, UsageError
from train.cli.options import DATA, JsonOption
from train.data.csv_rows import BadRow
from train.data.dataset import PARTS, Dataset
from train.data.prepare import prepare_csv, prepare_folder

SHOWN_BAD_ROWS = 20


def prepare(
    source: Annotated[
        Path,
        typer.Argument(metavar="SOURCE", help="fer2013.csv (Kaggle), ferdata.csv (article), or a folder by class."),
    ],
    out: Annotated[Path, typer.Option(metavar="FILE", help="Data set to write.")] = DATA,
    ferplus: Annotated[Path | None, typer.Option(metavar="CSV", help="FER+ votes for the rows of fer2013.csv.")] = None,
    labels: Annotated[
        Literal["kaggle", "article"] | None,
        typer.Option(
            help="What the numbers of a CSV file mean: 0 angry, 3 happy, 4 sad, 5 surprise, 6 neutral (kaggle) or "
            "0 angry, 1 happy, 2 sad, 3 surprise, 4 neutral (article).",
            show_default="kaggle with a Usage column, else article",
        ),
    ] = None,
    bad_rows: Annotated[
        Literal["skip", "fail"], typer.Option(help="What to do with a row or file that holds no picture.")
    ] = "skip",
    as_json: JsonOption = False,
) -> None:
    """Read a CSV file or a folder of faces, check every one, split them, and write one data set.

    For example:

    - `python -m train prepare fer2013.csv --ferplus fer2013new.csv`
    - `python -m train prepare train.csv --labels kaggle`
    - `python -m train prepare ferdata.csv --out data/article.npz --bad-rows fail`
    - `python -m train prepare my-faces/ --out data/mine.npz` with my-faces/angry/, my-faces/happy/ and so on
    """
    refused: list[BadRow] = []

    def note(row: BadRow) -> None:
        refused.append(row)
        if len(refused) <= SHOWN_BAD_ROWS:
            print(f"{source}: {row.where}: {row.reason}", file=sys.stderr)

    with Progress(console=Console(stderr=True), transient=True) as progress:

        def opened(path: Path) -> BinaryIO:
            return progress.open(path, "rb", description=f"Reading {path.name}")

        if source.is_dir():
            if ferplus is not None:
                raise DataError(f"{source}: FER+ votes go with the rows of fer2013.csv; a folder has none")
            if labels is not None:
                raise UsageError("--labels changes nothing here: in a folder the names of its folders are the labels")
            dataset = prepare_folder(
                source,
                bad_rows=bad_rows,
                report=note,
                watched=lambda files: progress.track(files, description=f"Reading {source.name}"),
            )
        else:
            dataset = prepare_csv(source, labels=labels, bad_rows=bad_rows, ferplus=ferplus, report=note, opened=opened)
        progress.add_task(f"Writing {out}", total=None)
        try:
            dataset.save(out)
        except OSError as error:
            raise DataError(f"{out}: cannot be written: {error.strerror}") from error
    if len(refused) > SHOWN_BAD_ROWS:
        print(f"… and {len(refused) - SHOWN_BAD_ROWS} more bad ones", file=sys.stderr)
    if as_json:
        print(json.dumps(_as_dict(out, dataset, refused)))
    else:
        _print_table(out, dataset)


def _as_dict(out: Path, dataset: Dataset, refused: list[BadRow]) -> dict[str, object]:
    return {
        "path": str(out),
        "pictures": len(dataset.images),
        "counts": dataset.counts(),
        **dataset.notes,
        "first_bad_rows": [row.as_dict() for row in refused[:SHOWN_BAD_ROWS]],
        "fingerprint": dataset.fingerprint(),
    }


def _print_table(out: Path, dataset: Dataset) -> None:
    counts = dataset.counts()
    table = Table(title=f"{dataset.notes['source']} ({dataset.notes['form']} form)", title_justify="left")
    table.add_column("part")
    for name in (*EMOTIONS, "together"):
        table.add_column(str(name), justify="right")
    for part in PARTS:
        row = list(counts[part].values())
        table.add_row(part, *(f"{n:,}" for n in row), f"{sum(row):,}")
    console = Console()
    console.print(table)
    excluded = sum(counts["excluded"].values())
    for line in (
        f"excluded as copies of pictures in another part: {excluded:,}",
        f"all black, removed: {dataset.notes['black_removed']:,}",
        f"faces of other classes (disgust, fear), trained on but not measured: {dataset.notes['other_classes']:,}",
        f"bad rows or files, skipped: {dataset.notes['bad_rows']:,}",
        f"fingerprint: {dataset.fingerprint()}",
        f"written: {out}",
    ):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
