"""``python -m train prepare``: progress while it reads, then what it found."""

import json
import sys
from pathlib import Path
from typing import BinaryIO, Literal

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from edge.emotions import EMOTIONS
from edge.errors import DataError
from train.data.csv_rows import BadRow
from train.data.dataset import PARTS, Dataset
from train.data.folder import BadFile
from train.data.prepare import prepare_csv, prepare_folder

SHOWN_BAD_ROWS = 20


def prepare_and_report(
    source: Path, out: Path, *, ferplus: Path | None, bad_rows: Literal["skip", "fail"], as_json: bool
) -> None:
    """Read a CSV file or a folder, write and print.

    Raises what `prepare_csv` and `prepare_folder` raise; ``DataError`` too where ``out`` cannot be written.
    """
    refused: list[BadRow | BadFile] = []

    def note(row: BadRow | BadFile) -> None:
        refused.append(row)
        if len(refused) <= SHOWN_BAD_ROWS:
            print(f"{source}: {row.where}: {row.reason}", file=sys.stderr)

    with Progress(console=Console(stderr=True), transient=True) as progress:

        def opened(path: Path) -> BinaryIO:
            return progress.open(path, "rb", description=f"Reading {path.name}")

        if source.is_dir():
            if ferplus is not None:
                raise DataError(f"{source}: FER+ votes go with the rows of fer2013.csv; a folder has none")
            dataset = prepare_folder(
                source,
                bad_rows=bad_rows,
                report=note,
                watched=lambda files: progress.track(files, description=f"Reading {source.name}"),
            )
        else:
            dataset = prepare_csv(source, bad_rows=bad_rows, ferplus=ferplus, report=note, opened=opened)
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


def _as_dict(out: Path, dataset: Dataset, refused: list[BadRow | BadFile]) -> dict[str, object]:
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
        f"faces of other classes (disgust, fear), kept aside: {dataset.notes['other_classes']:,}",
        f"bad rows or files, skipped: {dataset.notes['bad_rows']:,}",
        f"fingerprint: {dataset.fingerprint()}",
        f"written: {out}",
    ):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
