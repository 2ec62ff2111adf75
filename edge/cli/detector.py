"""`emotion-edge detector`: fetch the second detector, which does not ship."""

from pathlib import Path
from typing import Annotated

import typer

from edge.cli.options import Config, StateDir

detector_app = typer.Typer(
    no_args_is_help=True, rich_markup_mode="markdown", help='Fetch BlazeFace for `faces.search = "blazeface"`.'
)


@detector_app.callback()
def detector() -> None:
    """Fetch BlazeFace for `faces.search = "blazeface"`."""


@detector_app.command(epilog="Example: sudo emotion-edge detector install mediapipe-0.10.21-cp311-cp311-linux.whl")
def install(
    wheel: Annotated[Path | None, typer.Argument(metavar="[WHEEL]", help="A mediapipe wheel; pip fetches one.")] = None,
    config: Config = None,
    state_dir: StateDir = None,
) -> None:
    """Take BlazeFace (0.7 MB, Apache 2.0) out of a mediapipe 0.10.21 wheel, check it, keep it in the state folder."""
    from edge.inference.blazeface import install as install_file
    from edge.settings import load_settings, require_state_dir

    settings = load_settings(config, flags={"state_dir": state_dir})
    path = install_file(require_state_dir(settings), wheel)
    typer.echo(f'{path}: installed; faces.search = "blazeface" uses it')
