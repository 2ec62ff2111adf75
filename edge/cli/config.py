"""`emotion-edge config`: the settings in force."""

import typer

from edge.cli.options import AsJson, Config

config_app = typer.Typer(help="The settings: `emotion-edge config show`.", no_args_is_help=True)


@config_app.command(epilog="Example: emotion-edge config show --json")
def show(config: Config = None, *, as_json: AsJson = False) -> None:
    """Show the settings in force and where each comes from; never a password."""
    from edge.doctor.service import with_service_password
    from edge.settings import load_settings
    from edge.settings import show as settings_show

    shown = settings_show.shown_settings(config)
    password = settings_show.password_origin(with_service_password(load_settings(config)))
    typer.echo((settings_show.as_json if as_json else settings_show.as_toml)(shown, password))


@config_app.callback()
def _group() -> None:
    """Keep `show` a command of its own though it is the only one."""
