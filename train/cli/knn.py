"""``python -m train knn``: the article's k-nearest-neighbours classifier, and ours."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
import typer

from edge.errors import UsageError
from train.cli.options import DATA, DataOption, FeaturesOption, SeedOption, refuse_unused, run_option, say
from train.cli.training import run_training
from train.data.dataset import Dataset, landmark_cache

if TYPE_CHECKING:
    from train.data.features import Features


def knn(
    context: typer.Context,
    *,
    data: DataOption = DATA,
    run_folder: Annotated[Path | None, run_option("runs/knn")] = None,
    features: FeaturesOption = "landmarks",
    projection: Annotated[
        Literal["lda", "none"], typer.Option(help="Search for neighbours after a linear discriminant analysis, or not.")
    ] = "lda",
    neighbors: Annotated[
        int | None, typer.Option(min=1, metavar="K", help="Neighbours that vote.", show_default="by cross-validation")
    ] = None,
    seed: SeedOption = 0,
) -> None:
    """Make a k-nearest-neighbours classifier.

    What is left open is chosen by cross-validation within the training part. Landmarks are found once by the device's
    own code, and kept beside the data set. It ends with a report on the validation part.

    For example:

    - `python -m train knn`
    - `python -m train knn --projection none --neighbors 3 --run runs/knn-article`
    - `python -m train knn --features pixels --projection none --neighbors 3 --run runs/knn-pixels`
    """
    if projection == "none" and neighbors is not None:
        refuse_unused(context, "seed", unless="--projection lda, or without --neighbors")
    run = run_folder or Path("runs/knn" if features == "landmarks" else "runs/knn-pixels")

    def work(dataset: Dataset, _distribution: object) -> None:
        chosen = load_features(dataset, data, features)
        from train.classic.knn import KnnSettings, train_knn

        settings = KnnSettings(features=features, projection=projection, neighbors=neighbors, seed=seed)
        train_knn(dataset, chosen, run, settings, report=say)

    run_training(work, data, run, resumes=False, result="result.json")


def load_features(
    dataset: Dataset, data: Path, kind: Literal["landmarks", "pixels"], *, smooth: bool = False
) -> "Features":
    """Return the features of the training and validation pictures of the data set in the file ``data``."""
    from train.data.features import dataset_features

    rows = np.concatenate([dataset.select("train"), dataset.select("validation")])
    if not len(rows):
        raise UsageError(f"{data}: holds no pictures to train on")
    found = dataset_features(dataset.images, rows, kind, cache=landmark_cache(data), smooth=smooth)
    if found.landmarks is not None:
        say("landmarks: " + ", ".join(f"{how} {n:,}" for how, n in found.landmarks.counts().items()))
    return found
