"""`emotion-edge config`: the settings in force, a file of all settings, and what is wrong in a file."""

import os
from pathlib import Path
from typing import Annotated

import typer

from edge.cli.options import AsJson, Config
from edge.errors import ConfigError, UsageError

config_app = typer.Typer(help="The settings: show them, make a file of them, check one.", no_args_is_help=True)


@config_app.command(epilog="Example: emotion-edge config show --json")
def show(config: Config = None, *, as_json: AsJson = False) -> None:
    """Show the settings in force and where each comes from; never a password."""
    from edge.doctor.service import with_service_password
    from edge.settings import load_settings
    from edge.settings import show as settings_show

    shown = settings_show.shown_settings(config)
    password = settings_show.password_origin(with_service_password(load_settings(config)))
    typer.echo((settings_show.as_json if as_json else settings_show.as_toml)(shown, password))


@config_app.command(epilog="Example: emotion-edge config init config.toml")
def init(
    file: Annotated[Path | None, typer.Argument(help="File to make; without one it is printed.")] = None,
) -> None:
    """Write a file with every setting, its default and what it means; all of it commented out."""
    from edge.settings.template import template

    if file is None:
        typer.echo(template(), nl=False)
        return
    try:
        with file.open("x", encoding="utf-8") as new:
            new.write(template())
    except FileExistsError:
        raise UsageError(f"{file}: is there already; it is left as it is") from None
    except OSError as error:
        raise UsageError(f"{file}: cannot be written: {error.strerror}") from error
    typer.echo(f"{file}: every setting is commented out; `emotion-edge config check {file}` checks your changes")


@config_app.command(epilog="Example: emotion-edge config check config.toml")
def check(
    file: Annotated[Path | None, typer.Argument(help="Default: /etc/emotion-edge/config.toml.")] = None,
) -> None:
    """Name every fault of a settings file, not only the first; exit code 78 if there is one."""
    from edge.settings import settings_file
    from edge.settings.loading import find_faults, note_on_form

    faults = find_faults(file)
    for fault in faults:
        typer.echo(fault)
    if faults:
        raise ConfigError(f"{settings_file(file)}: {len(faults)} {'fault' if len(faults) == 1 else 'faults'}")
    typer.echo(f"{settings_file(file)}: no faults{note_on_form(file)}")


@config_app.command(epilog="Example: sudo emotion-edge config migrate /etc/emotion-edge/config.toml")
def migrate(file: Annotated[Path, typer.Argument(help="A settings file of an older form.")]) -> None:
    """Bring a settings file up to date; comments stay, and the old file is kept beside it."""
    from edge.files import Files, replace_file
    from edge.settings import load_settings
    from edge.settings.template import migrated

    before = load_settings(file, environment={})
    text = file.read_text(encoding="utf-8-sig")
    new = migrated(text)
    if new is None:
        typer.echo(f"{file}: up to date")
        return
    backup, mode = file.with_name(f"{file.name}.version-1"), file.stat()
    if backup.exists():
        raise UsageError(f"{backup}: is there already; move it away first")
    draft = file.with_name(f".{file.name}.draft")
    try:
        draft.write_text(new, encoding="utf-8")
        same = load_settings(draft, environment={}) == before
    finally:
        draft.unlink(missing_ok=True)
    if not same:
        raise UsageError(
            f"{file}: its settings would change; write camera.address, camera.rotate and camera.flip yourself"
        )
    os.link(file, backup)
    owner = (mode.st_uid, mode.st_gid) if os.geteuid() == 0 else None
    replace_file(Files(), file, new.encode(), mode=mode.st_mode & 0o7777, owner=owner)
    typer.echo(f"{file}: brought up to date; the old file is kept as {backup}")


@config_app.command(epilog="Example: sudo emotion-edge config take /boot/firmware/emotion-edge.toml")
def take(
    file: Annotated[Path, typer.Argument(help="Settings, and mqtt.password, on the boot partition of a card.")],
    config: Config = None,
) -> None:
    """Put a card's settings over those in force and its password into its own file, then remove it from the card.

    The unit emotion-edge-firstboot does this at each start, before the service starts. A file with a fault changes
    nothing; what became of it is said in emotion-edge.log beside it.
    """
    from edge.settings import settings_file
    from edge.settings.card import take_card

    keys = take_card(file, settings_file(config))
    typer.echo(f"{file}: taken: {', '.join(keys)}" if keys else f"{file}: sets nothing")
