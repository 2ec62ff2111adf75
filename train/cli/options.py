"""Options that several commands share."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from edge.errors import UsageError

DATA = Path("data/fer2013.npz")
"""Where `prepare` writes unless told otherwise, and every other command reads."""

DataOption = Annotated[Path, typer.Option(metavar="FILE", help="Prepared data set.")]
RunOption = Annotated[Path, typer.Option("--run", metavar="FOLDER", help="Folder of the run.")]
ResumeOption = Annotated[bool, typer.Option("--resume", help="Go on with the run of this folder.")]
SeedOption = Annotated[int, typer.Option(min=0, help="Seed of everything random.")]
BatchOption = Annotated[int, typer.Option(min=2, help="Pictures in a step.")]
PartOption = Annotated[Literal["test", "validation"], typer.Option(help="Held-out part to measure on.")]
FlipOption = Annotated[bool, typer.Option("--flip", help="Average over each picture and its mirror image.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
FeaturesOption = Annotated[Literal["landmarks", "pixels"], typer.Option(help="What the model looks at.")]
TeacherOption = Annotated[
    list[Path] | None,
    typer.Option(metavar="MODEL", help="A model whose scores are learned too; several are averaged."),
]
ViewsOption = Annotated[
    int,
    typer.Option(min=1, help="Warped copies of each training picture that teachers score: one an epoch, then again."),
]
MixOption = Annotated[
    float,
    typer.Option(min=0.0, max=1.0, help="Share of the batches whose pictures are mixed with each other (mixup)."),
]
DegradeOption = Annotated[
    float,
    typer.Option(
        min=0.0, max=1.0,
        help="Share of the pictures that are blurred, darkened, covered and so on; 0 leaves out no-face chips, too.",
    ),
]  # fmt: skip


def run_option(shown_default: str) -> Any:
    """Return the option ``--run`` of a command whose default depends on its other options."""
    return typer.Option("--run", metavar="FOLDER", help="Folder of the run.", show_default=shown_default)


def refuse_unused(context: typer.Context, *names: str, unless: str) -> None:
    """Raise ``UsageError`` if the user gave one of these options, which change nothing.

    ``unless``: the option that would make them count, for example ``--teacher MODEL``.
    """
    for name in names:
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            raise UsageError(f"--{name.replace('_', '-')} changes nothing here: it counts with {unless}")


def say(line: str) -> None:
    """Print a line of progress at once."""
    print(line, flush=True)
