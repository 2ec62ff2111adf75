"""`emotion-edge doctor`: the checks, shown."""

from typing import Annotated

import typer

from edge.cli.options import AsJson, Config


def doctor(
    config: Config = None,
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

    errors = Console(stderr=True)
    with errors.status("examining") as status:
        findings = list(examine(config, camera=camera, on_begin=lambda name: status.update(f"examining: {name}")))
    if as_json:
        typer.echo(report.as_json(findings))
    else:
        console = Console()
        console.print(report.as_table(findings))
        console.print(report.summary(findings))
    if not report.is_fine(findings):
        raise typer.Exit(1)
