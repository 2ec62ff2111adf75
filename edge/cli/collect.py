"""`emotion-edge collect`: stores the messages of all devices; lists what is missing."""

import logging
import re
import signal
import socket
import threading
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from edge.cli.options import AsJson, BrokerPasswordFile, BrokerUrl, CaFile
from edge.cli.support import echo_json
from edge.clock import utc_time
from edge.errors import UsageError

_NAME = r"[A-Za-z0-9._-]{1,64}"


def collect(
    to: Annotated[
        str, typer.Option(help="FILE.db (SQLite), postgresql://[user@]host/name, FILE.jsonl or FILE.csv.")
    ] = "events.db",
    mqtt: BrokerUrl = "mqtt://localhost:1883",
    name: Annotated[str, typer.Option(help="Name of this collector, for which the broker keeps messages.")] = "",
    share: Annotated[str, typer.Option(help="Divide the messages with all collectors of this group.")] = "",
    password_file: BrokerPasswordFile = "",
    ca_file: CaFile = "",
    cert_file: Annotated[str, typer.Option(help="PEM file of a certificate of one's own, if the broker asks.")] = "",
    key_file: Annotated[str, typer.Option(help="PEM file with mode 0600 of its key.")] = "",
    *,
    gaps: Annotated[
        bool, typer.Option("--gaps", help="List the events that are missing in the record, and end.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Store what all devices publish. Ctrl-C ends it; the broker keeps what comes until the next start.

    A message is acknowledged when it is stored, so nothing is lost if this program, the broker or the database dies.
    """
    if gaps:
        _list_gaps(to, as_json=as_json)
        return
    from edge.mqtt.address import broker_address
    from edge.mqtt.connection import Session
    from edge.mqtt.subscriber import Subscriber
    from edge.record.collector import KEEP_S, MAX_IN_FLIGHT, Collector
    from edge.record.messages import filters
    from edge.record.targets import open_target
    from edge.settings import MqttSettings, check_url

    name = name or socket.gethostname()
    for option, text in (("--name", name), ("--share", share or "x")):
        if not re.fullmatch(_NAME, text):
            raise UsageError(f"{option}: found {text!r}: allowed are letters, digits, ., _ and -, at most 64")
    check_url(mqtt)
    broker = broker_address(
        MqttSettings(url=mqtt, password_file=password_file, ca_file=ca_file, cert_file=cert_file, key_file=key_file)
    )
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    target = open_target(to)
    wanted = filters(share=share, events_only=target.events_only)
    subscriber = Subscriber(
        broker,
        client_id=f"emotion-edge-collect-{name}",
        topics=wanted,
        session=Session(keep_s=KEEP_S, max_in_flight=MAX_IN_FLIGHT),
    )
    collector = Collector(subscriber, target)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    try:
        collector.run(stop)
    finally:
        target.close()
        (echo_json if as_json else typer.echo)(collector.counts)


def _list_gaps(to: str, *, as_json: bool) -> None:
    from edge.record.database import open_engine
    from edge.record.gaps import find_gaps

    engine = open_engine(to)
    found = find_gaps(engine)
    engine.dispose()
    if as_json:
        for gap in found:
            echo_json({**msgspec.to_builtins(gap), "missing": gap.missing})
        return
    if not found:
        typer.echo("no gaps: every number between the first and the last event of each device is there")
        return
    table = Table(title=f"{sum(gap.missing for gap in found):,} events are missing", title_justify="left")
    for title in ("device", "missing", "from seq", "to seq", "after (UTC)", "before (UTC)"):
        table.add_column(title, justify="right" if title in {"missing", "from seq", "to seq"} else "left")
    for gap in found:
        table.add_row(
            gap.device, f"{gap.missing:,}", str(gap.first_seq), str(gap.last_seq),
            *(utc_time(moment / 1000)[:19] for moment in (gap.after_ms, gap.before_ms)),
        )  # fmt: skip
    Console().print(table)
