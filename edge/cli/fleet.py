"""`emotion-edge fleet`: all devices at one broker."""

import time
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from edge.cli.options import AsJson, BrokerPasswordFile, BrokerUrl, CaFile
from edge.cli.support import echo_json
from edge.cli.watch import listening, read, table_of
from edge.clock import utc_time
from edge.record.fleet import DeviceNow, Fleet
from edge.settings import MqttSettings

_SILENCE_S = 0.5  # of the broker, after which it has sent what it keeps
_MOST_S = 30.0

fleet_app = typer.Typer(help="All devices at one broker: `emotion-edge fleet status`.", no_args_is_help=True)


@fleet_app.command(epilog="Example: emotion-edge fleet status --mqtt mqtt://me@broker.local --record events.db --json")
def status(
    mqtt: BrokerUrl = "mqtt://localhost:1883",
    password_file: BrokerPasswordFile = "",
    ca_file: CaFile = "",
    record: Annotated[str, typer.Option(help="What `collect` wrote: counts missing events, knows the last one.")] = "",
    *,
    as_json: AsJson = False,
) -> None:
    """Show every device by its retained messages, those that need attention first."""
    fleet = Fleet()
    settings = MqttSettings(url=mqtt, password_file=password_file, ca_file=ca_file)
    with listening(settings, "+") as subscriber:
        until = time.monotonic() + _MOST_S
        while time.monotonic() < until and (messages := read(subscriber, _SILENCE_S)):
            for seen in messages:
                fleet.note(seen.row)
    if record:
        _look_up(fleet, record)
    now_ms = time.time_ns() // 1_000_000
    devices = fleet.by_trouble(now_ms)
    if as_json:
        for one in devices:
            echo_json(_values(one, now_ms))
        return
    online = sum(one.status == "online" for one in devices)
    troubled = sum(bool(one.troubles(now_ms)) for one in devices)
    title = f"{len(devices):,} devices at {mqtt}: {online:,} online, {troubled:,} with trouble"
    table = table_of(title, "device", "status", "last event", "version", "°C>", "waiting>", "missing>", "trouble")
    table.columns[-1].no_wrap = False
    for one in devices:
        values = _values(one, now_ms)
        heat = values["temperature_c"]
        table.add_row(
            one.name,
            Text(one.status, style="" if one.status == "online" else "bold red"),
            str(values["last_event"] or "")[:16].replace("T", " "),
            str(values["version"] or ""),
            f"{heat:.0f}" if isinstance(heat, int | float) else "",
            str(values["outbox_depth"] if values["outbox_depth"] is not None else ""),
            str(one.missing) if record else "",
            Text("; ".join(words for words in one.troubles(now_ms) if words != one.status), style="yellow"),
        )
    Console().print(table)


def _values(one: DeviceNow, now_ms: int) -> dict[str, object]:
    last_ms = one.last_ms
    return {
        "device": one.name, "status": one.status, "last_event": None if last_ms is None else utc_time(last_ms / 1000),
        "version": one.value("status", "version"),
        "bundle": one.value("health", "bundle") or one.value("status", "model"),
        "camera": one.value("health", "camera") or one.value("state", "camera"),
        "temperature_c": one.value("health", "temperature_c"), "outbox_depth": one.value("health", "outbox_depth"),
        "outbox_dropped": one.value("health", "outbox_dropped"), "missing": one.missing,
        "troubles": one.troubles(now_ms),
    }  # fmt: skip


def _look_up(fleet: Fleet, record: str) -> None:
    """Take missing events, and the time of the newest one, from a record."""
    import sqlalchemy as sa

    from edge.record.database import EVENT, open_engine
    from edge.record.gaps import find_gaps

    engine = open_engine(record)
    with engine.connect() as connection:
        newest = sa.select(EVENT.c.device, sa.func.max(EVENT.c.time_ms)).group_by(EVENT.c.device)
        for name, time_ms in connection.execute(newest):
            if name in fleet.devices:
                fleet.devices[name].rows["event"] = {"time_ms": time_ms}
    for gap in find_gaps(engine):
        if gap.device in fleet.devices:
            fleet.devices[gap.device].missing += gap.missing
    engine.dispose()


@fleet_app.callback()
def _group() -> None:
    """Keep `status` a command of its own though it is the only one."""
