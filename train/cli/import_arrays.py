"""``python -m train import``: a network that was trained elsewhere, from its arrays to a run folder."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from train.cli.options import DATA, DataOption, run_option, say
from train.cli.training import run_training
from train.data.dataset import Dataset


def import_arrays(
    arrays: Annotated[Path, typer.Argument(metavar="NPZ", help="Weights: conv0_kernel, conv0_gamma and so on.")],
    run_folder: Annotated[Path | None, run_option("runs/ and the file's name")] = None,
    data: DataOption = DATA,
    kind: Annotated[
        Literal["cnn", "vgg"] | None,
        typer.Option(help="Which network of a bundle it is.", show_default="cnn up to a million weights, else vgg"),
    ] = None,
    temperature: Annotated[
        float, typer.Option(min=0.25, max=4.0, help="Divide the logits by it; below 1 makes scores more confident.")
    ] = 1.0,
    origin: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Where and how it was trained, for the model card.")
    ] = None,
) -> None:
    """Make a run folder of a network that was trained elsewhere, from an .npz file of its weights.

    The network is pairs of 3x3 convolutions with BatchNorm, ReLU and a 2x2 max pool after each pair, a mean over the
    picture, and a dense layer with five or seven outputs; docs/training.md names the arrays. Its weights are taken as
    they are, but for `--temperature`: nothing is trained or calibrated. `--data` names the data set on whose training
    part it was trained.

    For example:

    - `python -m train import vgg24.npz`
    - `python -m train import vgg64.npz --run runs/vgg --kind vgg`
    """
    run = run_folder or Path("runs") / arrays.stem

    def work(dataset: Dataset, _distribution: object) -> None:
        from train.fit.imported import import_network

        import_network(arrays, dataset, run, kind=kind, temperature=temperature, origin=origin, report=say)

    run_training(work, data, run, resumes=False)
