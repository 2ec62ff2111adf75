"""``python -m train average``: one network from several."""

from pathlib import Path
from typing import Annotated

import typer

from train.cli.options import DATA, DataOption, RunOption, say
from train.cli.training import run_training
from train.data.dataset import Dataset


def average(
    models: Annotated[
        list[Path], typer.Argument(metavar="MODEL...", help="Run folders or .keras files, at least two.")
    ],
    run_folder: RunOption,
    data: DataOption = DATA,
) -> None:
    """Average the weights of several networks that started from the same weights.

    The mean is calibrated and measured on the validation part, and runs at the cost of one network. Networks that were
    trained independently have no useful mean.

    For example:

    - `python -m train cnn --start runs/cnn-device --teacher runs/vgg --rate 0.08 --epochs 28 --run runs/cnn-further`
    - `python -m train average runs/cnn-device runs/cnn-further --run runs/cnn-mean`
    """

    def work(dataset: Dataset, _distribution: object) -> None:
        from train.fit.average import average as average_weights

        average_weights(models, dataset, run_folder, report=say)

    run_training(work, data, run_folder, resumes=False)
