"""``python -m train knn`` and ``mlp``: the article's two models of features, landmark distances or pixels."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
import typer

from edge.errors import UsageError
from train.cli.training import report_run, run_training
from train.data.dataset import Dataset, landmark_cache, load_dataset
from train.fit.distribute import Distribution

if TYPE_CHECKING:
    from train.data.features import Features

DATA = Path("data/fer2013.npz")

DataOption = Annotated[Path, typer.Option(metavar="FILE", help="Prepared data set.")]
FeaturesOption = Annotated[Literal["landmarks", "pixels"], typer.Option(help="What the model looks at.")]
SeedOption = Annotated[int, typer.Option(min=0, help="Everything random is drawn from it.")]


def knn(
    *,
    data: DataOption = DATA,
    run_folder: Annotated[
        Path | None, typer.Option("--run", metavar="FOLDER", help="Where the run is kept.", show_default="runs/knn")
    ] = None,
    features: FeaturesOption = "landmarks",
    projection: Annotated[
        Literal["lda", "none"], typer.Option(help="Look for neighbours after a linear discriminant analysis, or not.")
    ] = "lda",
    neighbors: Annotated[
        int | None, typer.Option(min=1, metavar="K", help="Neighbours that vote.", show_default="by cross-validation")
    ] = None,
    seed: SeedOption = 0,
) -> None:
    """Make a k-nearest-neighbours classifier.

    What is left open is chosen by cross-validation within the training part. Landmarks are found by the device's own
    code, once: they are kept beside the data set. It ends with a report on the validation part.

    For example:

    - `python -m train knn`
    - `python -m train knn --projection none --neighbors 3 --run runs/knn-article`
    - `python -m train knn --features pixels --projection none --neighbors 3 --run runs/knn-pixels`
    """
    dataset = load_dataset(data)
    chosen = _features(dataset, data, features)
    from train.classic.knn import KnnSettings, train_knn

    run = run_folder or Path("runs/knn" if features == "landmarks" else "runs/knn-pixels")
    settings = KnnSettings(features=features, projection=projection, neighbors=neighbors, seed=seed)
    train_knn(dataset, chosen, run, settings, report=_say)
    report_run(run, dataset, data, result="result.json", say=_say)


def mlp(
    *,
    data: DataOption = DATA,
    run_folder: Annotated[
        Path | None, typer.Option("--run", metavar="FOLDER", help="Where the run is kept.", show_default="runs/mlp")
    ] = None,
    features: FeaturesOption = "landmarks",
    recipe: Annotated[
        Literal["best", "article"], typer.Option(help="Ours, or SGD 0.001 on standardised features.")
    ] = "best",
    epochs: Annotated[
        int | None,
        typer.Option(min=1, help="Passes over the training part.", show_default="8; the article's recipe 30"),
    ] = None,
    seed: SeedOption = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run of this folder.")] = False,
) -> None:
    """Train the article's multilayer perceptron, 1024-512-5.

    A checkpoint is written after each epoch: Ctrl-C or a crash loses at most one. It ends with a report on the
    validation part.

    For example:

    - `python -m train mlp`
    - `python -m train mlp --features pixels --recipe article --run runs/mlp-article`
    """
    run = run_folder or Path("runs/mlp" if features == "landmarks" else "runs/mlp-pixels")

    def work(dataset: Dataset, _distribution: Distribution) -> None:
        chosen = _features(dataset, data, features, smooth=True)
        from train.classic.mlp import train_mlp
        from train.classic.mlp_settings import MlpSettings, article

        if recipe == "article":
            settings = article(features, epochs=epochs or 30, seed=seed)
        else:
            settings = MlpSettings(features=features, epochs=epochs or 8, seed=seed)
        train_mlp(dataset, chosen, run, settings, resume=resume, report=_say)

    run_training(work, data, run, say=_say)


def _features(
    dataset: Dataset, data: Path, kind: Literal["landmarks", "pixels"], *, smooth: bool = False
) -> "Features":
    """The features of the training and validation pictures of the data set in this file."""
    from train.data.features import dataset_features

    rows = np.concatenate([dataset.select("train"), dataset.select("validation")])
    if not len(rows):
        raise UsageError(f"{data}: has nothing to train on")
    found = dataset_features(dataset.images, rows, kind, cache=landmark_cache(data), smooth=smooth)
    if found.landmarks is not None:
        _say("landmarks: " + ", ".join(f"{how} {n:,}" for how, n in found.landmarks.counts().items()))
    return found


def _say(line: str) -> None:
    print(line, flush=True)
