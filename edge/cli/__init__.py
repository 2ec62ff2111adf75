"""`python -m edge`, also installed as `emotion-edge`. Commands import what they need when they run."""

import logging
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from edge.cli.bundle import bundles
from edge.cli.privacy import privacy_app
from edge.cli.support import make_app, run
from edge.errors import EmotionEdgeError

app = make_app("Emotions of the people in front of a camera, published over MQTT; no image leaves the box.")
app.add_typer(bundles, name="bundle")

Config = Annotated[
    Path | None,
    typer.Option("--config", help="Settings file; /etc/emotion-edge/config.toml if there is one."),
]
Bundle = Annotated[
    str | None,
    typer.Option(help="Folder of a model bundle; if not given, the one that `bundle use` chose or that ships."),
]
Classifier = Annotated[str | None, typer.Option(help="Which model decides: cnn, vgg, knn or ensemble.")]


class Form(StrEnum):
    """How `classify` writes."""

    JSON = "json"
    CSV = "csv"


class Pace(StrEnum):
    """How fast a clip is played."""

    REALTIME = "realtime"
    FAST = "fast"


app.add_typer(privacy_app, name="privacy")


def main() -> int:
    """Run the command line; return its exit code."""
    return run(app, name="emotion-edge")


@app.command("run", epilog="Example: emotion-edge run --camera v4l2:/dev/video0 --mqtt mqtt://pi@broker.local:1883")
def run_command(
    config: Config = None,
    camera: Annotated[
        str | None,
        typer.Option(help="picamera2:0, v4l2:/dev/video0, rtsp://…, file:CLIP, photos:FOLDER, demo:"),
    ] = None,
    mqtt: Annotated[str | None, typer.Option(help="Broker: mqtt://[user@]host[:port] or mqtts://…")] = None,
    device: Annotated[str | None, typer.Option(help="Name of this device in topics.")] = None,
    bundle: Bundle = None,
    classifier: Classifier = None,
    state_dir: Annotated[str | None, typer.Option(help="Folder of outbox and bundles.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Log warnings and errors only.")] = False,
) -> None:
    """Run the daemon: camera, faces, emotions, events."""
    from edge.settings import load_settings

    flags = {
        "camera": camera,
        "mqtt.url": mqtt,
        "device": device,
        "bundle": bundle,
        "classifier": classifier,
        "state_dir": state_dir,
    }
    settings = load_settings(config, flags=flags)
    logging.basicConfig(
        level=logging.WARNING if quiet else logging.INFO,
        format="%(levelname)s %(message)s",
        stream=sys.stderr,
    )
    from edge.daemon.service import run_service

    run_service(settings)


@app.command(epilog="Example: emotion-edge demo")
def demo(
    picture: Annotated[Path, typer.Option(help="Where the annotated picture goes.")] = Path("out/demo.png"),
    pace: Annotated[Pace, typer.Option(help="realtime as a camera, fast for the impatient.")] = Pace.REALTIME,
) -> None:
    """Show it all without camera or broker: a built-in clip, the real daemon, its events in a table."""
    from edge.cli.demo import run_demo

    run_demo(picture, pace=pace.value)


@app.command(epilog="Example: emotion-edge classify holiday/ clip.mp4 https://example.org/face.jpg --annotate out/")
def classify(
    sources: Annotated[
        list[str], typer.Argument(metavar="PATH-or-URL…", help="Pictures, folders, clips, http(s) addresses.")
    ],
    annotate: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write pictures with boxes, landmarks and score bars here."),
    ] = None,
    form: Annotated[Form, typer.Option("--format", help="json lines, or csv with a row a face.")] = Form.JSON,
    config: Config = None,
    bundle: Bundle = None,
    classifier: Classifier = None,
) -> None:
    """Say how the faces in pictures and clips feel: one line a picture, one line a frame of a clip.

    A picture without a face is a line with an empty list. One that cannot be read is an error on stderr; the others go
    on, and the exit code is 1 in the end.
    """
    from edge.cli.classify import Writer, annotation_folder
    from edge.cli.classify import annotate as write_annotated
    from edge.cli.classify import classify as look_at
    from edge.pipeline import load_pipeline
    from edge.settings import load_settings

    settings = load_settings(config, flags={"bundle": bundle, "classifier": classifier})
    failed: list[EmotionEdgeError] = []

    def fail(error: EmotionEdgeError) -> None:
        typer.echo(f"error: {error}", err=True)
        failed.append(error)

    writer = Writer(sys.stdout, form.value)
    taken: set[str] = set()
    with annotation_folder(annotate) as folder:
        for look in look_at(load_pipeline(settings), sources, on_error=fail):
            writer.write(look)
            if folder is not None:
                try:
                    write_annotated(look, folder, taken)
                except EmotionEdgeError as error:
                    fail(error)
    if failed:
        raise typer.Exit(1)


@app.command(epilog="Example: emotion-edge bench --camera file:clip.mp4 --json")
def bench(
    camera: Annotated[str | None, typer.Option(help="As for run; a clip is looked at once, every frame.")] = None,
    frames: Annotated[int | None, typer.Option(min=1, help="Stop after so many; a live camera needs it.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of the table.")] = False,
    config: Config = None,
    bundle: Bundle = None,
) -> None:
    """Measure what a frame costs here, stage by stage, in the daemon's own loop; nothing is sent to a broker."""
    import msgspec
    from rich.console import Console

    from edge.cli.bench import run_bench, show
    from edge.settings import load_settings

    result = run_bench(load_settings(config, flags={"camera": camera, "bundle": bundle}), frames=frames)
    if as_json:
        typer.echo(msgspec.json.encode(result))
    else:
        show(result, Console())


@app.command(epilog="Example: sudo emotion-edge doctor")
def doctor(
    config: Config = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of a table.")] = False,
) -> None:
    """Say what is wrong with this device, in plain words, and what to do. Exit code 1 if something will not work.

    With sudo it can read the service's password and log in as the service does.
    """
    from rich.console import Console

    from edge.doctor import examine, report

    errors = Console(stderr=True)
    with errors.status("examining") as status:
        findings = list(examine(config, on_begin=lambda name: status.update(f"examining: {name}")))
    if as_json:
        typer.echo(report.as_json(findings))
    else:
        console = Console()
        console.print(report.as_table(findings))
        console.print(report.summary(findings))
    if not report.is_fine(findings):
        raise typer.Exit(1)


config_app = typer.Typer(help="The settings: `emotion-edge config show`.", no_args_is_help=True)
app.add_typer(config_app, name="config")


@config_app.command("show", epilog="Example: emotion-edge config show --json")
def config_show(
    config: Config = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of TOML.")] = False,
) -> None:
    """Show the settings in force and where each comes from; never a password."""
    from edge.doctor.service import with_service_password
    from edge.settings import load_settings
    from edge.settings import show as settings_show

    shown = settings_show.shown_settings(config)
    password = settings_show.password_origin(with_service_password(load_settings(config)))
    typer.echo((settings_show.as_json if as_json else settings_show.as_toml)(shown, password))


@app.command(epilog="Example: emotion-edge watch --mqtt mqtt://me@broker.local --password-file ~/.mqtt-password")
def watch(
    mqtt: Annotated[str, typer.Option(help="Broker: mqtt://[user@]host[:port] or mqtts://…")] = "mqtt://localhost:1883",
    device: Annotated[str, typer.Option(help="Name of the device, + for all.")] = "+",
    password_file: Annotated[str, typer.Option(help="File with mode 0600 that holds the password.")] = "",
    ca_file: Annotated[str, typer.Option(help="PEM file of the authority that signed the broker's certificate.")] = "",
) -> None:
    """Show events as they arrive, in a table. Ctrl-C ends it."""
    from queue import SimpleQueue

    from rich.console import Console

    from edge.cli.watch import EventTable, subscribe
    from edge.events.payloads import EmotionEvent, State
    from edge.settings import MqttSettings

    events: SimpleQueue[EmotionEvent | State | EmotionEdgeError] = SimpleQueue()
    client = subscribe(MqttSettings(url=mqtt, password_file=password_file, ca_file=ca_file), device, events.put)
    try:
        with EventTable(Console(), title=f"emotion/1/{device}/event at {mqtt}") as table:
            while True:
                table.add(events.get())
    except KeyboardInterrupt:
        return
    finally:
        client.disconnect()
        client.loop_stop()
