"""``python -m train mlp``: the article's multilayer perceptron, with its settings or ours."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from train.cli.knn import load_features
from train.cli.options import DATA, DataOption, FeaturesOption, ResumeOption, SeedOption, run_option, say
from train.cli.training import run_training
from train.data.dataset import Dataset


def mlp(
    *,
    data: DataOption = DATA,
    run_folder: Annotated[Path | None, run_option("runs/mlp")] = None,
    features: FeaturesOption = "landmarks",
    recipe: Annotated[
        Literal["best", "article"], typer.Option(help="Ours, or SGD 0.001 on standardised features.")
    ] = "best",
    epochs: Annotated[
        int | None,
        typer.Option(min=1, help="Passes over the training part.", show_default="14; the article's recipe 30"),
    ] = None,
    seed: SeedOption = 0,
    resume: ResumeOption = False,
) -> None:
    """Train the article's multilayer perceptron, 1024-512-5.

    A checkpoint is written after each epoch: Ctrl-C or a crash loses at most one epoch. It ends with a report on the
    validation part.

    For example:

    - `python -m train mlp`
    - `python -m train mlp --features pixels --recipe article --run runs/mlp-article`
    """
    run = run_folder or Path("runs/mlp" if features == "landmarks" else "runs/mlp-pixels")

    def work(dataset: Dataset, _distribution: object) -> None:
        chosen = load_features(dataset, data, features, smooth=True)
        from train.classic.mlp import train_mlp
        from train.classic.mlp_settings import MlpSettings, article

        if recipe == "article":
            settings = article(features, epochs=epochs or 30, seed=seed)
        else:
            settings = MlpSettings(features=features, epochs=epochs or 14, seed=seed)
        train_mlp(dataset, chosen, run, settings, resume=resume, report=say)

    run_training(work, data, run)
