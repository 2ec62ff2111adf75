"""`emotion-edge watch`: events as they arrive, and how the devices are, in tables that the demo uses too."""

import re
import secrets
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from edge.cli.options import BrokerPasswordFile, BrokerUrl, CaFile
from edge.emotions import COLOURS_BGR, EMOTIONS
from edge.errors import UsageError
from edge.events.payloads import EmotionEvent, State
from edge.mqtt.address import broker_address
from edge.mqtt.topics import Topics
from edge.record.fleet import DeviceNow, Fleet
from edge.record.messages import InvalidMessageError, Row
from edge.record.messages import read as read_row
from edge.settings import DEVICE_PATTERN, MqttSettings, check_url

if TYPE_CHECKING:
    from edge.mqtt.subscriber import Subscriber

ROWS = 50
"""events that are kept; as many are shown as the terminal has room for"""
_FRAME_LINES = 11
"""lines of titles, headers and blanks around events and devices"""
DEVICES = 8
"""devices shown below the events, those with trouble first"""
_DEVICE_WIDTH = 14
"""columns for the name of a device"""
_BESIDE_VIEW = 50
"""columns that the other cells of the table of devices take"""
_BARS_FROM = 101
"""columns of a terminal that has room for the bars"""
_WORDS = {"face_appeared": "appeared", "emotion_changed": "changed", "face_left": "left"}
_BLOCKS = " ▁▂▃▄▅▆▇█"
_DECODE: dict[str, Callable[[bytes], EmotionEvent | State]] = {
    "event": msgspec.json.Decoder(EmotionEvent).decode,
    "state": msgspec.json.Decoder(State).decode,
}


@dataclass(frozen=True, slots=True)
class Seen:
    """A valid message."""

    row: Row
    message: EmotionEvent | State | None
    """the whole of it, None for health and status"""


def watch(
    mqtt: BrokerUrl = "mqtt://localhost:1883",
    device: Annotated[str, typer.Option(help="Name of the device, + for all.")] = "+",
    password_file: BrokerPasswordFile = "",
    ca_file: CaFile = "",
) -> None:
    """Show events as they arrive, who is in view, and how each device is. Ctrl-C ends it."""
    settings = MqttSettings(url=mqtt, password_file=password_file, ca_file=ca_file)
    table = EventTable(Console(), title=f"emotion/1/{device}/event at {mqtt}")
    with suppress(KeyboardInterrupt), listening(settings, device) as subscriber, table:
        while True:
            for seen in read(subscriber, timeout_s=60):
                table.add(seen)


class EventTable:
    """The last events, and the devices under them; without a terminal, one line per event."""

    def __init__(self, console: Console, *, title: str) -> None:
        self._console = console
        self._title = title
        self._rows: deque[EmotionEvent] = deque(maxlen=ROWS)
        self._fleet = Fleet()
        self._in_view: dict[str, State] = {}
        self._live = Live(self._render(), console=console, refresh_per_second=8)
        self.count = 0

    def __enter__(self) -> "EventTable":
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._console.is_terminal:
            self._live.update(self._render())
            self._live.stop()

    def add(self, seen: Seen) -> None:
        """Show an event, who is in view now, or how a device is."""
        device = self._fleet.note(seen.row).name
        if isinstance(seen.message, State):
            self._in_view[device] = seen.message
        elif seen.message is not None:
            self.count += 1
            self._rows.append(seen.message)
            if not self._console.is_terminal:
                self._console.print(_line(seen.message), soft_wrap=True)
        if self._console.is_terminal:
            self._live.update(self._render())

    def _render(self) -> Group:
        return Group(self._events(), self._devices())

    def _events(self) -> Table:
        table = table_of(self._title, "UTC", "device", "seq>", "face>", "what", "emotion", "sure>", "for>")
        with_bars = self._console.width >= _BARS_FROM
        if with_bars:
            table.add_column(" ".join(str(emotion)[:3] for emotion in EMOTIONS), no_wrap=True)
        room = max(3, self._console.height - _FRAME_LINES - min(len(self._fleet.devices), DEVICES))
        for event in list(self._rows)[-room:]:
            blue, green, red = COLOURS_BGR[event.emotion]
            table.add_row(
                event.time[11:19],
                event.device,
                str(event.seq),
                str(event.face),
                _WORDS[event.event_type],
                Text(event.emotion, style=f"bold rgb({red},{green},{blue})"),
                f"{event.confidence:.0%}",
                f"{event.duration_s:.1f} s",
                *([_bars(event)] if with_bars else []),
            )
        return table

    def _devices(self) -> Table:
        now_ms = time.time_ns() // 1_000_000
        devices = self._fleet.by_trouble(now_ms)
        more = f" ({len(devices) - DEVICES} more, all of them better)" if len(devices) > DEVICES else ""
        table = table_of(f"devices{more}" if devices else "waiting for the first message …",
                       "device", "status", "fps>", "°C>", "waiting>", "in view")  # fmt: skip
        table.columns[-1].max_width = max(10, self._console.width - _BESIDE_VIEW)
        for one in devices[:DEVICES]:
            fps, heat = one.value("health", "frames_per_s"), one.value("health", "temperature_c")
            table.add_row(
                one.name,
                Text(one.status, style="" if one.status == "online" else "bold red"),
                "" if fps is None else f"{fps:.1f}",
                "" if heat is None else f"{heat:.0f}",
                str(one.value("health", "outbox_depth") or 0),
                self._view(one, now_ms),
            )
        return table

    def _view(self, one: DeviceNow, now_ms: int) -> Text:
        """Return who is in view or, rather, what is wrong."""
        if troubles := [words for words in one.troubles(now_ms) if words != one.status]:
            return Text("; ".join(troubles), style="yellow")
        state = self._in_view.get(one.name)
        if state is None or one.status not in {"online", "unknown"}:
            return Text()
        faces = (f"face {face.face} {face.emotion} {face.confidence:.0%}" for face in state.faces)
        return Text(", ".join(faces) or ("nobody" if state.camera == "ok" else f"camera {state.camera}"))


def table_of(title: str, *names: str) -> Table:
    """Return an empty table that wastes no column; a > at the end of a name aligns it to the right."""
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in names:
        width = _DEVICE_WIDTH if name == "device" else None
        justify: Literal["left", "right"] = "right" if name.endswith(">") else "left"
        table.add_column(name.rstrip(">"), justify=justify, no_wrap=True, max_width=width)
    return table


@contextmanager
def listening(settings: MqttSettings, device: str, *, mqtt_5: bool = True) -> "Iterator[Subscriber]":
    """Subscribe to what a device publishes (``+``: to that of all); the broker has agreed when this yields.

    ``mqtt_5``: False tries MQTT 3.1.1 first.
    Raises `ConfigError`: the address, the password file or the authority's file is wrong.
    Raises `UsageError`: the device's name is invalid, or the broker cannot be reached or refuses.
    """
    from paho.mqtt.enums import MQTTProtocolVersion

    from edge.mqtt.connection import Session
    from edge.mqtt.subscriber import Subscriber

    if device != "+" and not re.fullmatch(DEVICE_PATTERN, device):
        raise UsageError(f"--device: found {device!r}: allowed are a-z, 0-9 and -, at most 64 characters, or + for all")
    check_url(settings.url)
    topics = Topics(device)
    subscriber = Subscriber(
        broker_address(settings),
        client_id=f"emotion-edge-watch-{secrets.token_hex(4)}",
        topics=[topics.event, topics.state, topics.health, topics.status],
        session=Session(),
        persevere=False,
        protocol=MQTTProtocolVersion.MQTTv5 if mqtt_5 else MQTTProtocolVersion.MQTTv311,
    )
    with subscriber:
        while not subscriber.subscribed:
            subscriber.receive(60, most=0)  # one notice at a time: messages are for the caller
        yield subscriber


def read(subscriber: "Subscriber", timeout_s: float) -> list[Seen]:
    """Return what has come, waiting for the first message; invalid ones are ignored."""
    messages = subscriber.receive(timeout_s)
    subscriber.acknowledge(messages)
    now_ms = time.time_ns() // 1_000_000
    found = []
    for message in messages:
        with suppress(InvalidMessageError):
            row = read_row(message.topic, message.payload, now_ms)
            found.append(Seen(row, _DECODE[row.table](message.payload) if row.table in _DECODE else None))
    return found


def _bars(event: EmotionEvent) -> str:
    """Each emotion's score as a block of that height."""
    levels = (min(8, round(event.scores.get(emotion, 0.0) * 8)) for emotion in EMOTIONS)
    return " ".join(f"{_BLOCKS[level]:^3}" for level in levels)


def _line(event: EmotionEvent) -> str:
    return (
        f"{event.time}  {event.device}  #{event.seq:<4} face {event.face}  {_WORDS[event.event_type]:<9} "
        f"{event.emotion:<10} {event.confidence:4.0%}  {event.duration_s:6.1f} s  {_bars(event)}".rstrip()
    )
