"""From a message to a row: topic and payload are checked before anything is stored."""

import re
import types
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

from edge.emotions import EMOTIONS
from edge.errors import EmotionEdgeError
from edge.events.payloads import EmotionEvent, Health, State, Status
from edge.mqtt.topics import PREFIX, Topics

Value = str | int | float | bool | None

EVENT_COLUMNS: dict[str, type] = {
    "device": str, "id": str, "seq": int, "boot": str, "event_type": str, "time_ms": int, "mono_ms": int,
    "time_synced": bool, "face": int, "x": int, "y": int, "width": int, "height": int, "emotion": str,
    "confidence": float, **{str(emotion): float for emotion in EMOTIONS}, "duration_s": float, "model": str,
    "received_ms": int,
}  # fmt: skip
"""Columns of an event in every record; device and id tell events apart."""
LARGEST_INT = 2**63 - 1
"""Largest number that a column holds; JSON may hold larger ones."""
_LONGEST_TEXT = 1000
_TOPIC = re.compile(rf"{PREFIX}/([a-z0-9-]{{1,64}})/(event|state|health|status)")
_FILTERS = Topics("+")


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a table."""

    table: Literal["event", "state", "health", "status"]
    values: dict[str, Value]
    """column to value; times are in milliseconds since 1970 UTC"""


class InvalidMessageError(EmotionEdgeError):
    """A message that is stored nowhere; the text is its kind, without content."""


def filters(*, share: str = "", events_only: bool = False) -> tuple[str, ...]:
    """Return the topic filters of all devices; with ``share`` several collectors divide the messages."""
    wanted = (_FILTERS.event,) if events_only else (_FILTERS.event, _FILTERS.state, _FILTERS.health, _FILTERS.status)
    return tuple(f"$share/{share}/{one}" if share else one for one in wanted)


def read(topic: str, payload: bytes, received_ms: int) -> Row:
    """Return the row of a message.

    Raises `InvalidMessageError`: the topic is unknown, or the payload is not what this topic must hold.
    """
    found = _TOPIC.fullmatch(topic)
    if found is None:
        raise InvalidMessageError("unknown topic")
    device, channel = found[1], found[2]
    try:
        row = _READERS[channel](device, payload)
    except msgspec.DecodeError as error:  # also raised for a payload of another shape
        raise InvalidMessageError(f"{channel}: {str(error).partition(' (byte')[0]}") from None
    row.values["received_ms"] = received_ms
    for name, value in row.values.items():
        _require_storable(channel, name, value)
    return row


def health_columns() -> dict[str, type]:
    """Return the columns of health messages with their types, from the payload's type."""
    return {name: _plain(kind) for name, kind in get_type_hints(Health).items() if name != "time"}


def _event(device: str, payload: bytes) -> Row:
    event = _DECODE_EVENT.decode(payload)
    if event.device != device:
        raise InvalidMessageError("event: the device is not that of the topic")
    x, y, width, height = event.box
    return Row(
        "event",
        {
            "device": device, "id": event.id, "seq": event.seq, "boot": event.boot, "event_type": event.event_type,
            "time_ms": _milliseconds(event.time, "event"), "mono_ms": event.mono_ms, "time_synced": event.time_synced,
            "face": event.face, "x": x, "y": y, "width": width, "height": height, "emotion": event.emotion,
            "confidence": event.confidence, **{str(one): event.scores.get(one, 0.0) for one in EMOTIONS},
            "duration_s": event.duration_s, "model": event.model,
        },
    )  # fmt: skip


def _state(device: str, payload: bytes) -> Row:
    state = _DECODE_STATE.decode(payload)
    time_ms = _milliseconds(state.time, "state")
    values: dict[str, Value] = {"device": device, "time_ms": time_ms, "camera": state.camera, "emotion": state.emotion}
    return Row("state", {**values, "faces": len(state.faces)})


def _health(device: str, payload: bytes) -> Row:
    values = msgspec.structs.asdict(_DECODE_HEALTH.decode(payload))
    stages = values.pop("stages")
    time_ms = _milliseconds(values.pop("time"), "health")
    text = None if stages is None else msgspec.json.encode(stages).decode()
    return Row("health", {"device": device, "time_ms": time_ms, **values, "stages": text})


def _status(device: str, payload: bytes) -> Row:
    status = _DECODE_STATUS.decode(payload)
    time_ms = None if status.time is None else _milliseconds(status.time, "status")
    values = {"device": device, "state": status.state, "boot": status.boot, "time_ms": time_ms}
    return Row("status", {**values, "version": status.version, "model": status.model})


def _milliseconds(text: str, channel: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidMessageError(f"{channel}: the time is not RFC 3339") from None
    if moment.tzinfo is None:
        raise InvalidMessageError(f"{channel}: the time has no time zone")
    return round(moment.timestamp() * 1000)


def _require_storable(channel: str, name: str, value: Value) -> None:
    """Refuse what a database would refuse: it would never be acknowledged, and come again and again."""
    if isinstance(value, str) and (len(value) > _LONGEST_TEXT or "\0" in value):
        raise InvalidMessageError(f"{channel}: {name} is too long or holds a zero byte")
    if isinstance(value, int) and abs(value) > LARGEST_INT:
        raise InvalidMessageError(f"{channel}: {name} is too large")


def _plain(kind: Any) -> type:
    """Return str, int, float or bool for an annotation."""
    origin = get_origin(kind)
    if origin is Annotated:
        return _plain(get_args(kind)[0])
    if origin in {Union, types.UnionType}:
        return _plain(next(one for one in get_args(kind) if one is not type(None)))
    if origin is Literal or kind not in {str, int, float, bool}:
        return str
    return kind  # type: ignore[no-any-return]


_READERS = {"event": _event, "state": _state, "health": _health, "status": _status}
_DECODE_EVENT = msgspec.json.Decoder(EmotionEvent)
_DECODE_STATE = msgspec.json.Decoder(State)
_DECODE_STATUS = msgspec.json.Decoder(Status)
# Devices of other versions lack fields, or have more: what is there must have its type, all else is NULL.
_DECODE_HEALTH = msgspec.json.Decoder(
    msgspec.defstruct(
        "AnyHealth",
        [("time", str), *((name, dict[str, float] | None if name == "stages" else kind | None, None)
                          for name, kind in health_columns().items())],
    )
)  # fmt: skip
