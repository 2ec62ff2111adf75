"""`python -m edge`, also installed as `emotion-edge`: one command a file, which loads what it needs when it runs."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from edge.cli.bench import bench
from edge.cli.bundle import bundle_app
from edge.cli.config import config_app
from edge.cli.demo import demo
from edge.cli.doctor import doctor
from edge.cli.options import Bundle, Classifier, Config
from edge.cli.privacy import privacy_app
from edge.cli.run import run
from edge.cli.support import make_app
from edge.cli.support import run as run_app
from edge.cli.watch import watch

app = make_app("Emotions of the people in front of a camera, published over MQTT; no image leaves the box.")
app.command(epilog="Example: emotion-edge run --camera v4l2:/dev/video0 --mqtt mqtt://pi@broker.local:1883")(run)
app.command(epilog="Example: emotion-edge demo")(demo)
app.command(epilog="Example: sudo emotion-edge doctor")(doctor)
app.command(epilog="Example: emotion-edge watch --mqtt mqtt://me@broker.local --password-file ~/.mqtt-password")(watch)
app.command(epilog="Example: emotion-edge bench --camera file:clip.mp4 --json")(bench)
app.add_typer(bundle_app, name="bundle")
app.add_typer(privacy_app, name="privacy")
app.add_typer(config_app, name="config")


class Form(StrEnum):
    """How `classify` writes."""

    JSON = "json"
    CSV = "csv"


def main() -> int:
    """Run the command line; return its exit code."""
    return run_app(app, name="emotion-edge")


@app.command(epilog="Example: emotion-edge classify holiday/ clip.mp4 https://example.org/face.jpg --annotate out/")
def classify(
    sources: Annotated[
        list[str], typer.Argument(metavar="PATH-or-URL…", help="Pictures, folders, clips, http(s) addresses.")
    ],
    annotate: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write pictures with boxes, landmarks and score bars here."),
    ] = None,
    recursive: Annotated[bool, typer.Option("--recursive", "-r", help="Look into the folders of folders too.")] = False,
    jobs: Annotated[
        int, typer.Option("--jobs", "-j", min=1, max=64, help="Files looked at at the same time, in threads.")
    ] = 1,
    form: Annotated[Form, typer.Option("--format", help="json lines, or csv with a row a face.")] = Form.JSON,
    config: Config = None,
    bundle: Bundle = None,
    classifier: Classifier = None,
) -> None:
    """Say how the faces in pictures and clips feel: one line a picture, one line a frame of a clip.

    A picture without a face is a line with an empty list. One that cannot be read is an error on stderr; the others go
    on, and the exit code is 1 in the end. What is left out of folders is counted on stderr.
    """
    from edge.cli.classify import run_classify
    from edge.settings import load_settings

    settings = load_settings(config, flags={"bundle": bundle, "classifier": classifier})
    if not run_classify(settings, sources, form=form.value, annotate=annotate, recursive=recursive, jobs=jobs):
        raise typer.Exit(1)
