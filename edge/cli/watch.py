"""`emotion-edge watch`: events as they arrive, in a table that the demo uses too."""

import re
import secrets
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from edge.emotions import COLOURS_BGR, EMOTIONS
from edge.errors import UsageError
from edge.events.payloads import CONTRACT_VERSION, EmotionEvent, State
from edge.mqtt.address import broker_address
from edge.settings import DEVICE_PATTERN, MqttSettings, check_url

if TYPE_CHECKING:
    from edge.mqtt.subscriber import Subscriber

ROWS = 18
_WORDS = {"face_appeared": "appeared", "emotion_changed": "changed", "face_left": "left"}
_BLOCKS = " ▁▂▃▄▅▆▇█"
_DECODERS: dict[str, msgspec.json.Decoder[EmotionEvent] | msgspec.json.Decoder[State]] = {
    "event": msgspec.json.Decoder(EmotionEvent),
    "state": msgspec.json.Decoder(State),
}


def watch(
    mqtt: Annotated[
        str, typer.Option(help="Broker: mqtt://[user@]host[:port], mqtts://…, ws://… or wss://…")
    ] = "mqtt://localhost:1883",
    device: Annotated[str, typer.Option(help="Name of the device, + for all.")] = "+",
    password_file: Annotated[str, typer.Option(help="File with mode 0600 that holds the password.")] = "",
    ca_file: Annotated[str, typer.Option(help="PEM file of the authority that signed the broker's certificate.")] = "",
) -> None:
    """Show events as they arrive, in a table. Ctrl-C ends it."""
    settings = MqttSettings(url=mqtt, password_file=password_file, ca_file=ca_file)
    table = EventTable(Console(), title=f"emotion/1/{device}/event at {mqtt}")
    with suppress(KeyboardInterrupt), listening(settings, device) as subscriber, table:
        while True:
            for message in read(subscriber, timeout_s=60):
                table.add(message)


class EventTable:
    """A table of the last events, with who is in view under it; without a terminal, one line per event."""

    def __init__(self, console: Console, *, title: str) -> None:
        self._console = console
        self._title = title
        self._rows: deque[EmotionEvent] = deque(maxlen=ROWS)
        self._caption = "waiting for the first event …"
        self._live = Live(self._render(), console=console, refresh_per_second=8)
        self.count = 0

    def __enter__(self) -> "EventTable":
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._caption = ""
        if self._console.is_terminal:
            self._live.update(self._render())
            self._live.stop()

    def add(self, message: EmotionEvent | State) -> None:
        """Show an event, or who is in view now."""
        if isinstance(message, State):
            faces = (f"face {face.face} {face.emotion} {face.confidence:.0%}" for face in message.faces)
            self._caption = f"in view now: {', '.join(faces) or 'nobody'}"
        else:
            self.count += 1
            self._rows.append(message)
            if not self._console.is_terminal:
                self._console.print(_line(message), soft_wrap=True)
        if self._console.is_terminal:
            self._live.update(self._render())

    def _render(self) -> Table:
        table = Table(title=self._title, title_justify="left", caption=self._caption, caption_justify="left")
        for name in ("time (UTC)", "device", "seq", "face", "what", "emotion", "sure", "in view"):
            table.add_column(name, justify="right" if name in {"seq", "face", "sure", "in view"} else "left")
        table.add_column(" ".join(str(emotion)[:3] for emotion in EMOTIONS))
        for event in self._rows:
            blue, green, red = COLOURS_BGR[event.emotion]
            table.add_row(
                event.time[11:23],
                event.device,
                str(event.seq),
                str(event.face),
                _WORDS[event.event_type],
                Text(event.emotion, style=f"bold rgb({red},{green},{blue})"),
                f"{event.confidence:.0%}",
                f"{event.duration_s:.1f} s",
                _bars(event),
            )
        return table


@contextmanager
def listening(settings: MqttSettings, device: str, *, mqtt_5: bool = True) -> "Iterator[Subscriber]":
    """Subscribe to a device's events and state (``+``: of every device); the broker has agreed when this yields.

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
    subscriber = Subscriber(
        broker_address(settings),
        client_id=f"emotion-edge-watch-{secrets.token_hex(4)}",
        topics=[f"emotion/{CONTRACT_VERSION}/{device}/{channel}" for channel in _DECODERS],
        session=Session(),
        persevere=False,
        protocol=MQTTProtocolVersion.MQTTv5 if mqtt_5 else MQTTProtocolVersion.MQTTv311,
    )
    with subscriber:
        while not subscriber.subscribed:
            subscriber.receive(60, most=0)  # one notice at a time: messages are for the caller
        yield subscriber


def read(subscriber: "Subscriber", timeout_s: float) -> list[EmotionEvent | State]:
    """Return what has come, waiting for the first message; invalid ones are ignored."""
    messages = subscriber.receive(timeout_s)
    subscriber.acknowledge(messages)
    found: list[EmotionEvent | State] = []
    for message in messages:
        with suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError, KeyError):
            found.append(_DECODERS[message.topic.rpartition("/")[2]].decode(message.payload))
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
