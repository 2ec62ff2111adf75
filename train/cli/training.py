"""What every training command does: load the data, train, say how to go on after Ctrl-C, write the report."""

import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

import typer

from edge.cli.support import INTERRUPTED
from train.cli.options import say
from train.data.dataset import Dataset, landmark_cache, load_dataset
from train.fit.distribute import Distribution, Kind, open_distribution
from train.networks.backend import choose_backend


def run_training(
    work: Callable[[Dataset, Distribution], object],
    data: Path,
    run: Path,
    *,
    distribute: Kind = "none",
    resumes: bool = True,
    result: str = "model.keras",
) -> None:
    """Do the work that fills a run folder, and write its report on the validation part.

    Raises what ``work`` raises. Ctrl-C ends the process with exit code 130 and a line that says how to go on.

    ``resumes``: the command has ``--resume``; one without it starts again from the beginning.
    ``result``: the file in ``run`` that holds the model.
    """
    dataset = load_dataset(data)
    if distribute == "multiworker":  # otherwise a worker that is lost fills the screen
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    choose_backend()
    distribution = open_distribution(distribute)
    try:
        work(dataset, distribution)
    except KeyboardInterrupt:
        words = [word for word in sys.argv[1:] if word != "--resume"]
        again = shlex.join(["python", "-m", "train", *words, *(["--resume"] if resumes else [])])
        print(f"\ninterrupted; {'go on' if resumes else 'start again'} with: {again}", file=sys.stderr)
        raise typer.Exit(INTERRUPTED) from None
    if not distribution.chief:
        return
    from train.report.page import write_report

    say(f"{run / result} is written; measure it with: python -m train evaluate {run}")
    page = write_report(run, dataset, part="validation", cache=landmark_cache(data)).page
    say(f"{page} shows how it went, on the validation part")
