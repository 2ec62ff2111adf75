"""`emotion-edge doctor`: the checks, shown."""

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from edge.cli.options import AsJson, Config


def doctor(
    config: Config = None,
    homeassistant_user: Annotated[
        str | None,
        typer.Option(help="Also check whether this user of the broker, Home Assistant's, may read our topics."),
    ] = None,
    homeassistant_password_file: Annotated[
        str, typer.Option(metavar="FILE", help="File with mode 0600 that holds that user's password.")
    ] = "",
    picture: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the camera's picture here as the detector sees it (PNG)."),
    ] = None,
    *,
    as_json: AsJson = False,
    camera: Annotated[
        bool, typer.Option(help="Open the camera too, or leave it alone because another program uses it.")
    ] = True,
) -> None:
    """Say what is wrong with this device, in plain words, and what to do. Exit code 1 if something will not work.

    With sudo it can read the service's password and log in as the service does.
    """
    from rich.console import Console

    from edge.doctor import examine, report

    login = None
    if homeassistant_user is not None:
        from edge.doctor.homeassistant import Login
        from edge.settings import MqttSettings, read_password

        # Read before the doctor becomes the service's user, who may not.
        password = read_password(MqttSettings(password_file=homeassistant_password_file))
        login = Login(homeassistant_user, password)
    errors = Console(stderr=True)
    # Opened before the doctor becomes the service's user, too.
    file = nullcontext() if picture is None else picture.open("wb")
    with file as open_picture, errors.status("examining") as status:
        findings = list(
            examine(
                config, camera=camera, homeassistant=login, picture=open_picture,
                on_begin=lambda name: status.update(f"examining: {name}"),
            )
        )  # fmt: skip
    if as_json:
        typer.echo(report.as_json(findings))
    else:
        console = Console()
        console.print(report.as_table(findings))
        console.print(report.summary(findings))
    if not report.is_fine(findings):
        raise typer.Exit(1)
