"""What every command that trains does: load, train, say how to go on, report."""

import shlex
import sys
from collections.abc import Callable
from pathlib import Path

import typer

from edge.cli.support import INTERRUPTED
from train.data.dataset import Dataset, landmark_cache, load_dataset
from train.fit.distribute import Distribution, Kind, open_distribution
from train.networks.backend import choose_backend


def run_training(
    work: Callable[[Dataset, Distribution], object],
    data: Path,
    run: Path,
    *,
    distribute: Kind = "none",
    say: Callable[[str], None],
) -> None:
    """Do the work that fills a run folder, and write its report on the validation part.

    Raises what ``work`` raises; ends the process with exit code 130 and a line that says how to go on where Ctrl-C
    stops it.
    """
    dataset = load_dataset(data)
    choose_backend()
    distribution = open_distribution(distribute)
    try:
        work(dataset, distribution)
    except KeyboardInterrupt:
        words = [word for word in sys.argv[1:] if word != "--resume"]
        again = shlex.join(["python", "-m", "train", *words, "--resume"])
        print(f"\ninterrupted; go on with: {again}", file=sys.stderr)
        raise typer.Exit(INTERRUPTED) from None
    if not distribution.chief:
        return
    report_run(run, dataset, data, say=say)


def report_run(
    run: Path, dataset: Dataset, data: Path, *, result: str = "model.keras", say: Callable[[str], None]
) -> None:
    """Say where the result of a complete run is, and write the run's report on the validation part.

    Parameters
    ----------
    data
        The file of ``dataset``; landmarks of its pictures are kept beside it.
    result
        The file that a training of this kind leaves in ``run``.

    Raises
    ------
    DataError
        As `train.report.page.write_report`.
    """
    from train.report.page import write_report

    say(f"{run / result} is written; measure it with: python -m train evaluate {run}")
    page = write_report(run, dataset, part="validation", cache=landmark_cache(data)).page
    say(f"{page} shows how it went, on the validation part")
