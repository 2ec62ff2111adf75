"""Nothing is stored that is not what its topic must hold."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from edge.events.payloads import EmotionEvent
from edge.record.messages import InvalidMessageError, filters, read


def changed(event: EmotionEvent, **changes: Any) -> bytes:
    return msgspec.json.encode({**msgspec.to_builtins(event), **changes})


def test_event_becomes_a_row(event: Callable[..., EmotionEvent]) -> None:
    sent = event(seq=7, device="hall", time="2026-11-27T10:00:00.250Z")
    row = read("emotion/1/hall/event", msgspec.json.encode(sent), 5)
    assert row.table == "event"
    assert (row.values["device"], row.values["seq"], row.values["x"], row.values["happy"]) == ("hall", 7, 10, 0.75)
    assert (row.values["time_ms"], row.values["received_ms"]) == (1_795_773_600_250, 5)


def test_event_of_a_later_version_may_have_more_fields(event: Callable[..., EmotionEvent]) -> None:
    assert read("emotion/1/hall/event", changed(event(seq=1, device="hall"), baseline=True), 5).values["seq"] == 1


@pytest.mark.parametrize(
    ("topic", "changes", "kind"),
    [
        ("emotion/1/hall/event", {"device": "door"}, "the device is not that of the topic"),
        ("emotion/1/hall/event", {"seq": 0}, "`int` >= 1"),
        ("emotion/1/hall/event", {"seq": 2**63}, "seq is too large"),
        ("emotion/1/hall/event", {"mono_ms": 2**64}, "too large"),
        ("emotion/1/hall/event", {"emotion": "bored"}, "Invalid enum value 'bored'"),
        ("emotion/1/hall/event", {"time": "yesterday"}, "not RFC 3339"),
        ("emotion/1/hall/event", {"time": "2026-11-27T10:00:00"}, "no time zone"),
        ("emotion/1/hall/event", {"id": "a\0b"}, "zero byte"),
        ("emotion/1/hall/event", {"model": "m" * 5000}, "too long"),
        ("emotion/1/hall/event", {"box": [1, 2, 3]}, "length 4"),
        ("emotion/1/Hall/event", {}, "unknown topic"),
        ("emotion/2/hall/event", {}, "unknown topic"),
        ("emotion/1/hall/picture", {}, "unknown topic"),
        ("emotion/1/hall/event\n", {}, "unknown topic"),
        ("", {}, "unknown topic"),
    ],
)  # fmt: skip
def test_message_that_is_no_event_is_refused(
    topic: str, changes: dict[str, Any], kind: str, event: Callable[..., EmotionEvent]
) -> None:
    with pytest.raises(InvalidMessageError, match=kind.replace("'", ".").replace("`", ".")):
        read(topic, changed(event(seq=1, device="hall"), **changes), 5)


@pytest.mark.parametrize("payload", [b"", b"{", b"[]", b"\xff\xfe", b"null", b'{"seq": NaN}', b"[" * 5000])
@pytest.mark.parametrize("channel", ["event", "state", "health", "status"])
def test_message_that_is_no_object_is_refused(channel: str, payload: bytes) -> None:
    with pytest.raises(InvalidMessageError):
        read(f"emotion/1/hall/{channel}", payload, 5)


def test_health_of_another_version_is_stored_with_what_it_has() -> None:
    row = read("emotion/1/hall/health", b'{"time": "2026-11-27T10:00:00Z", "frames": 3, "new": [], "stages": null}', 5)
    assert (row.values["frames"], row.values["temperature_c"], row.values["stages"]) == (3, None, None)
    with pytest.raises(InvalidMessageError):
        read("emotion/1/hall/health", b'{"time": "2026-11-27T10:00:00Z", "frames": "many"}', 5)


def test_state_and_status_become_rows() -> None:
    state = read(
        "emotion/1/hall/state", b'{"faces": [], "emotion": null, "time": "2026-11-27T10:00:00Z", "camera": "ok"}', 5
    )
    assert (state.table, state.values["faces"], state.values["camera"]) == ("state", 0, "ok")
    status = read("emotion/1/hall/status", b'{"state": "offline", "boot": "b", "version": "1"}', 5)
    assert (status.table, status.values["time_ms"], status.values["received_ms"]) == ("status", None, 5)


def test_filters_of_collectors_that_share() -> None:
    assert filters() == tuple(f"emotion/1/+/{one}" for one in ("event", "state", "health", "status"))
    assert filters(share="house", events_only=True) == ("$share/house/emotion/1/+/event",)
