"""`emotion-edge homeassistant`: what the broker keeps of a device for Home Assistant, and removing it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge.cli.options import AsJson, Broker, Config, PasswordFile
from edge.cli.support import echo_json

if TYPE_CHECKING:
    from edge.homeassistant.kept import Published
    from edge.settings import Settings

homeassistant_app = typer.Typer(
    no_args_is_help=True, help="Show what the broker keeps of this device for Home Assistant, or remove it there."
)

Device = Annotated[str | None, typer.Option(help="Name of the device. Default: the one in the settings.")]


@homeassistant_app.command(epilog="Example: sudo emotion-edge homeassistant show")
def show(
    config: Config = None,
    device: Device = None,
    mqtt: Broker = None,
    password_file: PasswordFile = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Print the discovery message and the retained topics of a device, as the broker has them."""
    from edge.mqtt.address import broker_address
    from edge.mqtt.exchange import exchange

    settings, published = _published(config, device, mqtt, password_file)
    topics = published.topics()
    with exchange(broker_address(settings.mqtt), topics=topics, purpose="show") as link:
        kept = {topic: link.kept.get(topic) for topic in topics}
    if as_json:
        shown = {topic: None if payload is None else _decoded(payload) for topic, payload in kept.items()}
        echo_json({"device": published.device, "topics": shown})
        return
    for topic, payload in kept.items():
        typer.echo(f"{topic}  {'nothing is kept' if payload is None else _summary(payload)}")


@homeassistant_app.command(epilog="Example: sudo emotion-edge homeassistant remove --device hall")
def remove(
    config: Config = None,
    device: Device = None,
    mqtt: Broker = None,
    password_file: PasswordFile = None,
    *,
    force: Annotated[
        bool, typer.Option("--force", help="Also if the broker says that the device is online: it is gone for good.")
    ] = False,
) -> None:
    """Remove a device from Home Assistant: clear its discovery message and its retained topics."""
    from edge.errors import DeliveryError, UsageError
    from edge.homeassistant.kept import clear, forget, kept_status
    from edge.mqtt.address import broker_address
    from edge.mqtt.exchange import exchange

    settings, published = _published(config, device, mqtt, password_file)
    topics = published.topics()
    with exchange(broker_address(settings.mqtt), topics=topics, purpose="remove") as link:
        status = kept_status(link, published.device)
        if status is not None and status.state == "online" and not force:
            raise UsageError(
                f"{published.device} is online and would publish again: stop it first, or set [homeassistant] enabled "
                "= false and restart it, which removes it too. If it is gone for good: --force"
            )
        found = [topic for topic in topics if topic in link.kept]
        refused = clear(link, topics)
    if refused:
        raise DeliveryError(
            f"the broker does not let this user clear {', '.join(refused)} ({next(iter(refused.values()))}): log in as "
            "one that may, with --mqtt mqtt://USER@HOST --password-file FILE"
        )
    if settings.state_dir:
        forget(Path(settings.state_dir), published.device)
    typer.echo(f"{published.device}: {len(found)} retained topics cleared" if found else _nothing(published.device))


def _nothing(device: str) -> str:
    return f"{device}: nothing was kept, or this user may not read it; all its topics are cleared"


def _published(
    config: Any, device: str | None, mqtt: str | None, password_file: str | None
) -> "tuple[Settings, Published]":
    """Return the settings, with the service's password if this user may read it, and what a device publishes."""
    from edge.doctor.service import with_service_password
    from edge.homeassistant.discovery import discovery_topic
    from edge.homeassistant.kept import Published
    from edge.mqtt.topics import Topics
    from edge.settings import load_settings

    flags = {"device": device, "mqtt.url": mqtt, "mqtt.password_file": password_file}
    if mqtt is not None and "@" in mqtt:
        flags["mqtt.username"] = ""  # the one in the address
    settings = with_service_password(load_settings(config, flags=flags))
    return settings, Published(settings.device, discovery_topic(Topics(settings.device), settings.homeassistant))


def _decoded(payload: bytes) -> Any:
    import msgspec

    try:
        return msgspec.json.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return payload.decode(errors="replace")


def _summary(payload: bytes) -> str:
    found = _decoded(payload)
    if isinstance(found, dict) and isinstance(found.get("cmps"), dict):
        device = found.get("dev") or {}
        return f"{device.get('name')!r}, {len(found['cmps'])} entities and triggers, {len(payload)} bytes"
    text = payload.decode(errors="replace")
    return text if len(text) <= 200 else f"{text[:200]}…"
