"""Events as they come, in a table on the terminal: `emotion-edge watch`, and what the demo shows."""

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from urllib.parse import urlsplit

import msgspec
import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from edge.emotions import COLOURS_BGR, EMOTIONS
from edge.events.payloads import EmotionEvent, State

ROWS = 18
_WORDS = {"face_appeared": "appeared", "emotion_changed": "changed", "face_left": "left"}
_BLOCKS = " ▁▂▃▄▅▆▇█"
_DECODERS: dict[str, msgspec.json.Decoder[EmotionEvent] | msgspec.json.Decoder[State]] = {
    "event": msgspec.json.Decoder(EmotionEvent),
    "state": msgspec.json.Decoder(State),
}


class EventTable:
    """A table that grows downwards, with who is in view under it; on something that is no terminal, a line an event."""

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
        """Show one more event, or who is in view now."""
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
        for name in ("time (UTC)", "seq", "face", "what", "emotion", "sure", "in view"):
            table.add_column(name, justify="right" if name in {"seq", "face", "sure", "in view"} else "left")
        table.add_column(" ".join(str(emotion)[:3] for emotion in EMOTIONS))
        for event in self._rows:
            blue, green, red = COLOURS_BGR[event.emotion]
            table.add_row(
                event.time[11:23],
                str(event.seq),
                str(event.face),
                _WORDS[event.event_type],
                Text(event.emotion, style=f"bold rgb({red},{green},{blue})"),
                f"{event.confidence:.0%}",
                f"{event.duration_s:.1f} s",
                _bars(event),
            )
        return table


def subscribe(
    url: str, device: str, on_message: Callable[[EmotionEvent | State], None], *, password: str | None = None
) -> paho.Client:
    """Connect, subscribe to a device's events and state (``+``: of every device), and call back from paho's thread.

    A message that is no valid event is passed over. The caller ends it with ``disconnect`` and ``loop_stop``.

    Raises
    ------
    OSError
        Nobody answers at the address.
    """
    parts = urlsplit(url)
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv311)
    if parts.scheme == "mqtts":
        client.tls_set()
    if parts.username:
        client.username_pw_set(parts.username, password)

    def subscribe_again(client: paho.Client, *_: object) -> None:
        client.subscribe([(f"emotion/1/{device}/{channel}", 1) for channel in _DECODERS])

    def take(_client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
        with suppress(msgspec.DecodeError):  # includes a payload of another shape
            on_message(_DECODERS[message.topic.rpartition("/")[2]].decode(message.payload))

    client.on_connect = subscribe_again
    client.on_message = take
    client.connect(parts.hostname or "localhost", parts.port or (8883 if parts.scheme == "mqtts" else 1883))
    client.loop_start()
    return client


def _bars(event: EmotionEvent) -> str:
    """Each emotion's score as a block of that height."""
    levels = (min(8, round(event.scores.get(emotion, 0.0) * 8)) for emotion in EMOTIONS)
    return " ".join(f"{_BLOCKS[level]:^3}" for level in levels)


def _line(event: EmotionEvent) -> str:
    return (
        f"{event.time}  #{event.seq:<4} face {event.face}  {_WORDS[event.event_type]:<9} {event.emotion:<10} "
        f"{event.confidence:4.0%}  {event.duration_s:6.1f} s  {_bars(event)}".rstrip()
    )
