"""What every command that trains a network does: load, train, say how to go on, report."""

import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from edge.cli_support import INTERRUPTED
from train.backend import choose_backend
from train.dataset import load_dataset
from train.distribute import Kind, open_distribution
from train.fit_settings import FitSettings

if TYPE_CHECKING:
    import keras


def train_network(
    build: "Callable[[], keras.Model]",
    data: Path,
    run: Path,
    settings: FitSettings,
    *,
    resume: bool,
    distribute: Kind = "none",
    say: Callable[[str], None],
) -> None:
    """Train a network into a run folder and write its report on the validation part.

    Raises what `train.fit.fit` raises; ends the process with exit code 130 and a line that says how to go on where
    Ctrl-C stops it.
    """
    dataset = load_dataset(data)
    choose_backend()
    distribution = open_distribution(distribute)
    from train.fit import fit

    try:
        fit(build, dataset, run, settings, resume=resume, report=say, distribution=distribution)
    except KeyboardInterrupt:
        words = [word for word in sys.argv[1:] if word != "--resume"]
        again = shlex.join(["python", "-m", "train", *words, "--resume"])
        print(f"\ninterrupted; go on with: {again}", file=sys.stderr)
        raise typer.Exit(INTERRUPTED) from None
    if not distribution.chief:
        return
    say(f"{run / 'model.keras'} is written; measure it with: python -m train evaluate {run}")
    from train.report import write_report

    say(f"{write_report(run, dataset, part='validation').page} shows how it went, on the validation part")
