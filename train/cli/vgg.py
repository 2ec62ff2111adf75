"""``python -m train vgg``: VGG16 by transfer."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from edge.errors import UsageError
from train.cli.training import run_training
from train.fit.settings import FitSettings

if TYPE_CHECKING:
    from train.data.dataset import Dataset
    from train.fit.distribute import Distribution


DEFAULTS = FitSettings()
ViewsOption = Annotated[
    int,
    typer.Option(min=1, help="Warped copies of each training picture that teachers score, one an epoch; then again."),
]
MixOption = Annotated[
    float,
    typer.Option(min=0.0, max=1.0, help="Share of what teachers look at that another picture is laid over (mixup)."),
]


def demand_teacher(teachers: list[Path] | None, views: int, mix: float) -> None:
    """Raise ``UsageError`` for options that change nothing without a teacher."""
    if not teachers and (views, mix) != (DEFAULTS.views, DEFAULTS.mix_share):
        raise UsageError("--views and --mix say what teachers look at: give a --teacher with them")


def vgg(
    *,
    data: Annotated[Path, typer.Option(metavar="FILE", help="Prepared data set.")] = Path("data/fer2013.npz"),
    run_folder: Annotated[Path, typer.Option("--run", metavar="FOLDER", help="Where the run is kept.")] = Path(
        "runs/vgg"
    ),
    weights: Annotated[
        str,
        typer.Option(
            metavar="WEIGHTS",
            help="What the convolutions begin with: none, imagenet (Keras downloads it), or a file of that layout.",
        ),
    ] = "none",
    width: Annotated[
        float | None,
        typer.Option(min=0.05, max=1.0, help="Share of VGG16's channels.", show_default="0.5; 1 with weights"),
    ] = None,
    pretrain_epochs: Annotated[int, typer.Option(min=1, help="Of pretraining, where there are no weights.")] = 20,
    frozen_epochs: Annotated[int, typer.Option(min=1, help="Of the new head on frozen convolutions.")] = 1,
    epochs: Annotated[int, typer.Option(min=1, help="Of fine-tuning all layers.")] = 8,
    batch: Annotated[int, typer.Option(min=2, help="Pictures a step.")] = 128,
    teacher: Annotated[
        list[Path] | None,
        typer.Option(metavar="MODEL", help="A model whose scores are learned too; several are averaged."),
    ] = None,
    views: ViewsOption = DEFAULTS.views,
    mix: MixOption = DEFAULTS.mix_share,
    seed: Annotated[int, typer.Option(min=0, help="Everything random is drawn from it.")] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run of this folder.")] = False,
    distribute: Annotated[
        Literal["none", "mirrored", "multiworker"],
        typer.Option(help="Share the work out: over the GPUs of this machine, or over the machines of TF_CONFIG."),
    ] = "none",
) -> None:
    """Train VGG16 by transfer: a new head on frozen convolutions, then all of it.

    With `--weights none` the convolutions are pretrained here first: on the faces of all seven classes, with FER+
    votes as targets where there are some, on pictures that grow from 32 to 48 px. Each of the stages is a run of its
    own within the folder, and resumable.

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

    demand_teacher(teacher, views, mix)

    def work(dataset: "Dataset", distribution: "Distribution") -> None:
        from train.fit.vgg import VggPlan, train_vgg

        plan = VggPlan(
            weights=chosen, width=width or (0.5 if chosen == "none" else 1.0), pretrain_epochs=pretrain_epochs,
            frozen_epochs=frozen_epochs, epochs=epochs, batch=batch, seed=seed, teachers=tuple(teacher or ()),
            views=views, mix_share=mix,
        )  # fmt: skip
        train_vgg(dataset, run_folder, plan, resume=resume, report=_say, distribution=distribution)

    run_training(work, data, run_folder, distribute=distribute, say=_say)


def _say(line: str) -> None:
    print(line, flush=True)
