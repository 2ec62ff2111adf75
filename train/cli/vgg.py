"""``python -m train vgg``: a large network of VGG's shape from scratch, or VGG16 by transfer."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from edge.errors import UsageError
from train.cli.options import (
    DATA,
    BatchOption,
    DataOption,
    DegradeOption,
    MixOption,
    ResumeOption,
    RunOption,
    SeedOption,
    TeacherOption,
    ViewsOption,
    refuse_unused,
    say,
)
from train.cli.training import run_training
from train.data.dataset import Dataset, landmark_cache
from train.fit.distribute import Distribution
from train.fit.settings import TAUGHT, FitSettings

if TYPE_CHECKING:
    import keras

DEFAULTS = FitSettings()
TRANSFER_RATE = 0.02
"""Highest learning rate with --weights: it keeps most of what they know."""


def vgg(
    context: typer.Context,
    *,
    data: DataOption = DATA,
    run_folder: RunOption = Path("runs/vgg"),
    weights: Annotated[
        str,
        typer.Option(
            metavar="WEIGHTS",
            help="none: from scratch; imagenet (Keras downloads it) or a file of that layout: VGG16 by transfer.",
        ),
    ] = "none",
    width: Annotated[float, typer.Option(min=0.05, max=1.0, help="Share of the channels; with --weights none.")] = 1.0,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the training part.")] = 110,
    batch: BatchOption = DEFAULTS.batch,
    teacher: TeacherOption = None,
    views: ViewsOption = DEFAULTS.views,
    mix: MixOption = DEFAULTS.mix_share,
    degrade: DegradeOption = DEFAULTS.degrade_share,
    seed: SeedOption = 0,
    resume: ResumeOption = False,
    distribute: Annotated[
        Literal["none", "mirrored"], typer.Option(help="Split each step between the GPUs of this machine.")
    ] = "none",
) -> None:
    """Train a large network of VGG's shape from scratch, or VGG16 by transfer with `--weights`.

    It is a teacher for the device's CNN, and the VGG of a bundle. An epoch takes minutes on two cores and seconds on a
    GPU.

    For example:

    - `python -m train vgg`
    - `python -m train vgg --seed 1 --run runs/vgg-second`
    - `python -m train vgg --weights imagenet --epochs 8 --batch 64 --run runs/vgg16`
    - `python -m train vgg --weights vgg16_notop.h5 --epochs 8 --run runs/vgg16`
    """
    chosen: Path | Literal["imagenet"] = "imagenet" if weights == "imagenet" else Path(weights)
    if weights != "none":
        if isinstance(chosen, Path) and not chosen.is_file():
            raise UsageError(f"--weights must be none, imagenet or a weights file; {chosen}: no such file")
        refuse_unused(context, "width", unless="--weights none")
    if not teacher:
        refuse_unused(context, "views", unless="--teacher MODEL")
    settings = FitSettings(
        epochs=epochs, batch=batch, seed=seed, views=views, mix_share=mix, degrade_share=degrade,
        peak_learning_rate=DEFAULTS.peak_learning_rate if weights == "none" else TRANSFER_RATE,
    )  # fmt: skip
    if teacher:
        settings = replace(settings, **TAUGHT)

    def build(classes: int) -> "keras.Model":
        from train.networks.plain import VGG16_CHANNELS, VGG16_POOLS, VGG_CHANNELS, plain_cnn

        if weights == "none":
            return plain_cnn(
                [round(n * width) for n in VGG_CHANNELS], classes=classes, dropout=0.4, name="vgg_plain"
            )  # fmt: skip
        return plain_cnn(VGG16_CHANNELS, pools=VGG16_POOLS, classes=classes, dropout=0.5, name="vgg16")

    def work(dataset: Dataset, distribution: Distribution) -> None:
        from train.fit.loop import fit
        from train.networks.transfer import BODY_FACES, copy_vgg16

        def transfer(model: "keras.Model") -> None:
            copy_vgg16(chosen, model, dataset.images[dataset.select("train")[:BODY_FACES]])

        fit(
            build, dataset, run_folder, settings, teachers=teacher or (), landmarks=landmark_cache(data),
            start=None if weights == "none" else transfer, resume=resume, report=say, distribution=distribution,
        )  # fmt: skip

    run_training(work, data, run_folder, distribute=distribute)
