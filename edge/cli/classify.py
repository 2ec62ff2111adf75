"""`emotion-edge classify`: photos, folders, clips and addresses to a line each."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from edge.cli.options import Bundle, Classifier, Config


def classify(
    sources: Annotated[
        list[str], typer.Argument(metavar="PATH-or-URL…", help="Pictures, folders, clips, http(s) addresses.")
    ],
    annotate: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write pictures with boxes, landmarks and score bars here."),
    ] = None,
    jobs: Annotated[
        int,
        typer.Option("--jobs", "-j", min=1, max=64, help="How many files at a time; try one for each core."),
    ] = 1,
    form: Annotated[
        Literal["json", "csv"], typer.Option("--format", help="JSON lines, or CSV: a row a face.")
    ] = "json",
    config: Config = None,
    bundle: Bundle = None,
    classifier: Classifier = None,
    *,
    recursive: Annotated[bool, typer.Option("--recursive", "-r", help="Take folders in folders too.")] = False,
) -> None:
    """Say how the faces in pictures and clips feel: one line a picture, one line a frame of a clip.

    A picture without a face is a line with an empty list. One that cannot be read is an error on stderr; the others go
    on, and the exit code is 1 in the end. What is left out of folders is counted on stderr.
    """
    from edge.cli.classify_files import run_classify
    from edge.settings import load_settings

    settings = load_settings(config, flags={"bundle": bundle, "classifier": classifier})
    if not run_classify(settings, sources, form=form, annotate=annotate, recursive=recursive, jobs=jobs):
        raise typer.Exit(1)
