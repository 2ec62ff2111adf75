"""``python -m train cnn``: the CNN of the device, or the article's."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from train.cli.options import (
    DATA,
    BatchOption,
    DataOption,
    DegradeOption,
    MixOption,
    ResumeOption,
    SeedOption,
    TeacherOption,
    ViewsOption,
    refuse_unused,
    run_option,
    say,
)
from train.cli.training import run_training
from train.data.dataset import Dataset, landmark_cache
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
Arch = Literal["device", "residual", "article"]


def cnn(
    context: typer.Context,
    *,
    data: DataOption = DATA,
    run_folder: Annotated[Path | None, run_option("runs/cnn-ARCH")] = None,
    arch: Annotated[
        Arch, typer.Option(help="Pairs of convolutions, residual blocks (the device's up to 0.1), or the article's.")
    ] = "device",
    filters: Annotated[int, typer.Option(min=1, help="Filters of --arch article; the article had 5000.")] = 128,
    width: Annotated[
        float,
        typer.Option(min=0.25, max=4.0, help="Channels of --arch device or residual, as a share of the default."),
    ] = 1.0,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the training part.")] = DEFAULTS.epochs,
    batch: BatchOption = DEFAULTS.batch,
    teacher: TeacherOption = None,
    views: ViewsOption = DEFAULTS.views,
    mix: MixOption = DEFAULTS.mix_share,
    degrade: DegradeOption = DEFAULTS.degrade_share,
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
    """Train the CNN of the device from scratch, or the CNN of the article.

    A checkpoint is written after each epoch: Ctrl-C or a crash loses at most one epoch. Go on with the same command
    and `--resume`. The Keras backend is TensorFlow unless `KERAS_BACKEND` names another.

    For example:

    - `python -m train cnn`
    - `python -m train cnn --run runs/short --epochs 20 --seed 1`
    - `python -m train cnn --run runs/short --epochs 20 --seed 1 --resume`
    - `python -m train cnn --teacher runs/vgg --run runs/cnn-taught`
    - `python -m train cnn --start runs/vgg24 --teacher runs/vgg64 --rate 0.05 --epochs 60 --run runs/cnn-further`
    - `python -m train cnn --arch article --filters 64 --epochs 20`
    - `TF_CONFIG=... python -m train cnn --distribute multiworker`
    """
    if arch == "article":
        refuse_unused(context, "width", unless="--arch device or residual")
    else:
        refuse_unused(context, "filters", unless="--arch article")
    if not teacher:
        refuse_unused(context, "views", unless="--teacher MODEL")
    highest = rate or (ARTICLE_PEAK_LEARNING_RATE if arch == "article" else DEFAULTS.peak_learning_rate)
    settings = FitSettings(
        epochs=epochs, batch=batch, seed=seed, peak_learning_rate=highest, views=views, mix_share=mix,
        degrade_share=degrade,
    )  # fmt: skip
    if teacher:
        settings = replace(settings, **TAUGHT)
    if arch == "article":
        say(
            f"{filters:,} filters make {count_parameters(filters):,} parameters; "
            f"the article's {ARTICLE_FILTERS:,} would make {count_parameters(ARTICLE_FILTERS):,}"
        )
        require_memory(filters, batch=batch)
    folder = run_folder or Path("runs") / f"cnn-{arch}"

    def build(classes: int) -> "keras.Model":
        if arch == "article":
            return article_cnn(filters, classes=classes)
        if arch == "residual":
            from train.networks.residual import ResidualShape, residual_cnn

            return residual_cnn(ResidualShape().scaled(width), classes=classes)
        from train.networks.plain import DEVICE_CHANNELS, plain_cnn

        return plain_cnn([round(n * width) for n in DEVICE_CHANNELS], classes=classes, dropout=0.1)

    def work(dataset: Dataset, distribution: Distribution) -> None:
        from train.fit.loop import fit

        fit(
            build, dataset, folder, settings, teachers=teacher or (), landmarks=landmark_cache(data), start=start,
            resume=resume, report=say, distribution=distribution,
        )  # fmt: skip

    run_training(work, data, folder, distribute=distribute)
