"""`emotion-edge privacy`: pauses the daemon on this machine, with its camera closed."""

import re
from pathlib import Path
from typing import Annotated

import typer

from edge.cli.options import AsJson, Config, StateDir
from edge.cli.support import echo_json
from edge.errors import UsageError

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}

privacy_app = typer.Typer(
    no_args_is_help=True, help="Close the camera of the daemon on this machine for a while, and open it again."
)


@privacy_app.command(epilog="Example: emotion-edge privacy pause --for 1h")
def pause(
    for_: Annotated[
        str | None, typer.Option("--for", metavar="TIME", help="As in 90s, 30m, 1h, 2d; without: until resume.")
    ] = None,
    config: Config = None,
    state_dir: StateDir = None,
) -> None:
    """Close the camera: its light goes off and nobody is seen. Survives a reboot."""
    from edge.clock import SystemClock
    from edge.daemon.privacy import pause as ask

    for_s = None if for_ is None else seconds(for_)
    ask(_folder(config, state_dir), for_s, SystemClock())
    typer.echo("paused until `emotion-edge privacy resume`" if for_ is None else f"paused for {for_}")


@privacy_app.command(epilog="Example: emotion-edge privacy resume")
def resume(config: Config = None, state_dir: StateDir = None) -> None:
    """End a pause: the camera is opened again."""
    from edge.daemon.privacy import resume as end

    end(_folder(config, state_dir))
    typer.echo("not paused")


@privacy_app.command(epilog="Example: emotion-edge privacy status --json")
def status(config: Config = None, state_dir: StateDir = None, *, as_json: AsJson = False) -> None:
    """Say whether a pause is on, and for how long."""
    from edge.clock import SystemClock
    from edge.daemon.privacy import PrivacyPause

    privacy = PrivacyPause(_folder(config, state_dir), SystemClock())
    privacy.check(change=False)
    paused, left_s = privacy.pause is not None, privacy.left_s()
    if as_json:
        echo_json({"paused": paused, "left_s": left_s})
    elif not paused:
        typer.echo("not paused")
    else:
        typer.echo("paused" if left_s is None else f"paused, {left_s:.0f} s left")


def seconds(text: str) -> float:
    """Return the seconds of ``90s``, ``30m``, ``1h`` or ``2d``.

    Raises `UsageError`: it is none of these, or more than 31 days.
    """
    from edge.events.payloads import LONGEST_PAUSE_S

    found = re.fullmatch(r"([0-9]{1,9})([smhd])", text)
    for_s = int(found[1]) * _UNITS_S[found[2]] if found else 0
    if not 0 < for_s <= LONGEST_PAUSE_S:
        raise UsageError(f"--for: found {text!r}: allowed are 90s, 30m, 1h, 2d and the like, up to 31d")
    return float(for_s)


def _folder(config: Path | None, state_dir: str | None) -> Path:
    from edge.settings import load_settings, require_state_dir

    return require_state_dir(load_settings(config, flags={"state_dir": state_dir}))
