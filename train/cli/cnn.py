"""``python -m train cnn``: the CNN of the device, or the article's."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from train.cli.options import (
    DATA,
    BatchOption,
    DataOption,
    MixOption,
    ResumeOption,
    SeedOption,
    TeacherOption,
    ViewsOption,
    refuse_unused,
    say,
)
from train.cli.training import run_training
from train.data.dataset import Dataset
from train.fit.distribute import Distribution
from train.fit.settings import TAUGHT, FitSettings
from train.networks.article import (
    ARTICLE_FILTERS,
    ARTICLE_PEAK_LEARNING_RATE,
    article_cnn,
    count_parameters,
    require_memory,
)

if TYPE_CHECKING:
    import keras

DEFAULTS = FitSettings()


def cnn(
    context: typer.Context,
    *,
    data: DataOption = DATA,
    run_folder: Annotated[
        Path | None,
        typer.Option("--run", metavar="FOLDER", help="Folder of the run.", show_default="runs/cnn-ARCH"),
    ] = None,
    arch: Annotated[
        Literal["device", "plain", "article"],
        typer.Option(help="Residual blocks for the device, plain pairs of convolutions, or the article's."),
    ] = "device",
    filters: Annotated[int, typer.Option(min=1, help="Filters of --arch article; the article had 5000.")] = 128,
    width: Annotated[
        float,
        typer.Option(min=0.25, max=4.0, help="Channels of --arch device or plain, as a share of the default."),
    ] = 1.0,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the training part.")] = DEFAULTS.epochs,
    batch: BatchOption = DEFAULTS.batch,
    teacher: TeacherOption = None,
    views: ViewsOption = DEFAULTS.views,
    mix: MixOption = DEFAULTS.mix_share,
    start: Annotated[
        Path | None, typer.Option(metavar="MODEL", help="Run or int8 bundle whose weights it starts from.")
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(
            min=1e-5, max=1.0, help="Highest learning rate; lower keeps more of --start.",
            show_default=f"{DEFAULTS.peak_learning_rate:g}; {ARTICLE_PEAK_LEARNING_RATE:g} with --arch article",
        ),
    ] = None,
    seed: SeedOption = DEFAULTS.seed,
    resume: ResumeOption = False,
    distribute: Annotated[
        Literal["none", "mirrored", "multiworker"],
        typer.Option(help="Split each step between the GPUs of this machine, or between the machines of TF_CONFIG."),
    ] = "none",
) -> None:  # fmt: skip
    """Train a CNN for the device, of residual blocks or of plain convolutions, or the CNN of the article.

    A checkpoint is written after each epoch: Ctrl-C or a crash loses at most one epoch. Go on with the same command
    and `--resume`. The Keras backend is TensorFlow unless `KERAS_BACKEND` names another.

    For example:

    - `python -m train cnn`
    - `python -m train cnn --run runs/short --epochs 20 --seed 1`
    - `python -m train cnn --run runs/short --epochs 20 --seed 1 --resume`
    - `python -m train cnn --teacher runs/vgg --teacher runs/cnn-device --run runs/cnn-taught`
    - `python -m train cnn --width 2 --run runs/cnn-wide`
    - `python -m train cnn --arch plain --start runs/vgg24 --teacher runs/vgg64 --rate 0.05 --run runs/plain-further`
    - `python -m train cnn --arch article --filters 64 --epochs 20`
    - `TF_CONFIG=... python -m train cnn --distribute multiworker`
    """
    if arch == "article":
        refuse_unused(context, "width", unless="--arch device or plain")
    else:
        refuse_unused(context, "filters", unless="--arch article")
    if not teacher:
        refuse_unused(context, "views", "mix", unless="--teacher MODEL")
    highest = rate or (ARTICLE_PEAK_LEARNING_RATE if arch == "article" else DEFAULTS.peak_learning_rate)
    settings = FitSettings(epochs=epochs, batch=batch, seed=seed, peak_learning_rate=highest)
    if teacher:
        settings = replace(settings, views=views, mix_share=mix, **TAUGHT)
    if arch == "article":
        say(
            f"{filters:,} filters make {count_parameters(filters):,} parameters; "
            f"the article's {ARTICLE_FILTERS:,} would make {count_parameters(ARTICLE_FILTERS):,}"
        )
        require_memory(filters, batch=batch)
    folder = run_folder or Path("runs") / f"cnn-{arch}"
    build = _builder(arch, filters, width)

    def work(dataset: Dataset, distribution: Distribution) -> None:
        from train.fit.loop import fit

        fit(
            build, dataset, folder, settings, teachers=teacher or (), start=start, resume=resume, report=say,
            distribution=distribution,
        )  # fmt: skip

    run_training(work, data, folder, distribute=distribute)


def _builder(arch: str, filters: int, width: float) -> Callable[[], "keras.Model"]:
    if arch == "article":
        return lambda: article_cnn(filters)
    if arch == "plain":

        def build_plain() -> "keras.Model":
            from train.networks.plain import CHANNELS, plain_cnn

            return plain_cnn([round(n * width) for n in CHANNELS], dropout=0.1)

        return build_plain

    def build() -> "keras.Model":
        from train.networks.device import DeviceCnnShape, device_cnn

        return device_cnn(DeviceCnnShape().scaled(width))

    return build
