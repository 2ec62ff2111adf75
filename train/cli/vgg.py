"""``python -m train vgg``: VGG16 by transfer."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from edge.errors import UsageError
from train.cli.options import (
    DATA,
    BatchOption,
    DataOption,
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
from train.data.dataset import Dataset
from train.fit.distribute import Distribution
from train.fit.settings import FitSettings

DEFAULTS = FitSettings()


def vgg(
    context: typer.Context,
    *,
    data: DataOption = DATA,
    run_folder: RunOption = Path("runs/vgg"),
    weights: Annotated[
        str,
        typer.Option(
            metavar="WEIGHTS",
            help="What the convolutions start from: none, imagenet (Keras downloads it), or a file of that layout.",
        ),
    ] = "none",
    width: Annotated[
        float | None,
        typer.Option(min=0.05, max=1.0, help="Share of VGG16's channels.", show_default="0.5; 1 with weights"),
    ] = None,
    pretrain_epochs: Annotated[int, typer.Option(min=1, help="Epochs of pretraining; only with --weights none.")] = 20,
    frozen_epochs: Annotated[int, typer.Option(min=1, help="Epochs of the new head on frozen convolutions.")] = 1,
    epochs: Annotated[int, typer.Option(min=1, help="Epochs of fine-tuning all layers.")] = 8,
    batch: BatchOption = 128,
    teacher: TeacherOption = None,
    views: ViewsOption = DEFAULTS.views,
    mix: MixOption = DEFAULTS.mix_share,
    seed: SeedOption = 0,
    resume: ResumeOption = False,
    distribute: Annotated[
        Literal["none", "mirrored"], typer.Option(help="Split each step between the GPUs of this machine.")
    ] = "none",
) -> None:
    """Train VGG16 by transfer: a new head on frozen convolutions, then all of it.

    With `--weights none` the convolutions are pretrained here first: on the faces of all seven classes, with FER+
    votes as targets if there are any, on pictures that grow from 32 to 48 px. Each stage is a resumable run of its own
    within the folder.

    For example:

    - `python -m train vgg`
    - `python -m train vgg --teacher runs/cnn-device --run runs/vgg-taught`
    - `python -m train vgg --weights imagenet --batch 64`
    - `python -m train vgg --weights vgg16_notop.h5 --run runs/vgg-mine --epochs 4`
    """
    chosen: Path | Literal["imagenet", "none"]
    chosen = "none" if weights == "none" else "imagenet" if weights == "imagenet" else Path(weights)
    if isinstance(chosen, Path) and not chosen.is_file():
        raise UsageError(f"--weights must be none, imagenet or a weights file; {chosen}: no such file")
    if chosen != "none":
        refuse_unused(context, "pretrain_epochs", unless="--weights none")
    if not teacher:
        refuse_unused(context, "views", "mix", unless="--teacher MODEL")

    def work(dataset: Dataset, distribution: Distribution) -> None:
        from train.fit.vgg import VggPlan, train_vgg

        plan = VggPlan(
            weights=chosen, width=width or (0.5 if chosen == "none" else 1.0), pretrain_epochs=pretrain_epochs,
            frozen_epochs=frozen_epochs, epochs=epochs, batch=batch, seed=seed, teachers=tuple(teacher or ()),
            views=views, mix_share=mix,
        )  # fmt: skip
        train_vgg(dataset, run_folder, plan, resume=resume, report=say, distribution=distribution)

    run_training(work, data, run_folder, distribute=distribute)
