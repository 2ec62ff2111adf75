"""``python -m train cnn``: which network, in which folder."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from train.cli.training import run_training
from train.data.dataset import Dataset
from train.fit.distribute import Distribution, Kind
from train.fit.settings import FitSettings

if TYPE_CHECKING:
    import keras


def train_cnn(
    data: Path,
    run: Path | None,
    settings: FitSettings,
    *,
    arch: Literal["device", "article"],
    filters: int,
    width: float = 1.0,
    teachers: Sequence[Path] = (),
    start: Path | None = None,
    resume: bool,
    distribute: Kind = "none",
    say: Callable[[str], None],
) -> None:
    """Train one of the two CNNs. Raises what `train.fit.loop.fit` and `train.networks.article.demand_memory` raise."""
    build: Callable[[], keras.Model]
    if arch == "article":
        from train.networks.article import (
            ARTICLE_FILTERS,
            ARTICLE_PEAK_LEARNING_RATE,
            article_cnn,
            count_parameters,
            demand_memory,
        )

        literal = f"the article's {ARTICLE_FILTERS:,} filters would make {count_parameters(ARTICLE_FILTERS):,}"
        say(f"{filters:,} filters make {count_parameters(filters):,} parameters; {literal}")
        demand_memory(filters, batch=settings.batch)
        settings = replace(settings, peak_learning_rate=ARTICLE_PEAK_LEARNING_RATE)

        def build() -> "keras.Model":
            return article_cnn(filters)
    else:

        def build() -> "keras.Model":
            from train.networks.device import DeviceCnnShape, device_cnn

            return device_cnn(DeviceCnnShape().scaled(width))

    folder = run or Path("runs") / f"cnn-{arch}"

    def work(dataset: Dataset, distribution: Distribution) -> None:
        from train.fit.loop import fit

        fit(
            build, dataset, folder, settings, teachers=teachers, start=start, resume=resume, report=say,
            distribution=distribution,
        )  # fmt: skip

    run_training(work, data, folder, distribute=distribute, say=say)
