"""The payloads, one type per topic. The JSON Schema and AsyncAPI documents are generated from these types."""

from typing import Annotated, Literal

import msgspec

from edge.emotions import EMOTIONS, UNCERTAIN

CONTRACT_VERSION = 1
"""The number in ``emotion/1/<device>/…``; it grows when a field changes its meaning or is removed."""

EventType = Literal["face_appeared", "emotion_changed", "face_left"]
StatusName = Literal["online", "stopped", "offline"]
CameraState = Literal["starting", "ok", "black", "failed", "paused", "stopped"]
EmotionName = Literal["angry", "happy", "sad", "surprise", "neutral", "uncertain"]
assert set(EmotionName.__args__) == {*EMOTIONS, UNCERTAIN}  # type: ignore[attr-defined]

UNNUMBERED = 0
"""``seq`` of an event that the outbox has not stored yet: it gives the number when it stores the event."""

RateLimit = Literal["max_fps", "max_cpu_percent", "temperature", "throttled"]

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Count = Annotated[int, msgspec.Meta(ge=0)]
Box = tuple[int, int, int, int]
"""[x, y, width, height], whole pixels of the full frame."""


class FaceReading(msgspec.Struct, frozen=True, kw_only=True):
    """How one face feels now."""

    face: Annotated[int, msgspec.Meta(ge=1, description="number of this visit, counted from 1 at each start")]
    box: Box
    emotion: EmotionName
    confidence: Share
    scores: Annotated[dict[str, Share], msgspec.Meta(description="smoothed, one for each of the five emotions")]
    duration_s: Annotated[float, msgspec.Meta(ge=0, description="seconds since this face appeared")]
    baseline: Annotated[
        bool | msgspec.UnsetType, msgspec.Meta(description="true: the scores are against this face's own rest")
    ] = msgspec.UNSET


class EmotionEvent(FaceReading, frozen=True, kw_only=True):
    """``event``: something changed. Delivered at least once, in order; ``id`` shows a duplicate, ``seq`` a gap.

    ``duration_s`` is how long the visit has lasted; in ``emotion_changed`` the emotion is the new one, in
    ``face_left`` the last one.
    """

    event_type: EventType
    id: Annotated[str, msgspec.Meta(description="UUIDv7")]
    seq: Annotated[int, msgspec.Meta(ge=1, description="grows by one with each event of this device, for ever")]
    boot: Annotated[str, msgspec.Meta(description="id of this start of the daemon")]
    time: Annotated[str, msgspec.Meta(description="RFC 3339, UTC, milliseconds")]
    mono_ms: Annotated[int, msgspec.Meta(ge=0, description="monotonic clock of the device, milliseconds")]
    time_synced: bool
    device: str
    model: Annotated[str, msgspec.Meta(description="bundle name and short hash")]


class State(msgspec.Struct, frozen=True, kw_only=True):
    """``state``, retained: who is in view now and how they feel. Empty at start and after a stop."""

    faces: Annotated[list[FaceReading], msgspec.Meta(description="largest first")]
    emotion: Annotated[EmotionName | None, msgspec.Meta(description="of the largest face; null if nobody is in view")]
    time: str
    camera: Annotated[CameraState, msgspec.Meta(description="whether the camera sees anything at all")]


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """``status``, retained: availability of the daemon. ``offline`` is the last will."""

    state: StatusName
    boot: str
    version: str
    model: str | None = None
    time: str | None = None
    client: Annotated[str | None, msgspec.Meta(description="MQTT client id; two of one name have different ones")] = (
        None
    )


class Privacy(msgspec.Struct, frozen=True, kw_only=True):
    """``privacy/state``, retained: whether the camera is closed for privacy."""

    paused: bool
    for_s: Annotated[float | None, msgspec.Meta(description="seconds that were asked for; null: until it is ended")]
    until: Annotated[str | None, msgspec.Meta(description="when it ends, by the device's clock; null: no limit")]
    time: str


class StageTimes(msgspec.Struct, frozen=True, kw_only=True):
    """Median milliseconds of the stages over the last 300 frames."""

    detect_ms: float
    landmarks_ms: float
    chip_ms: float
    classify_ms: float
    total_ms: float


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """``health``, retained, every 30 s: how the device is doing."""

    time: str
    uptime_s: float
    frame_age_s: Annotated[float | None, msgspec.Meta(description="since the newest frame; null before the first")]
    frames: Count
    frames_per_s: float
    limit_fps: Annotated[
        float | None, msgspec.Meta(description="frames per second that the governor allows; null: no limit")
    ]
    limited_by: Annotated[
        RateLimit | None, msgspec.Meta(description="why: a setting, the temperature, or throttling by the firmware")
    ]
    frames_dropped: Annotated[
        int, msgspec.Meta(ge=0, description="replaced by a newer frame before they were processed")
    ]
    stages: StageTimes | None
    memory_mb: Annotated[float, msgspec.Meta(ge=0, description="resident set, megabytes of 10^6 bytes")]
    temperature_c: float | None
    outbox_depth: Count
    outbox_dropped: Annotated[int, msgspec.Meta(ge=0, description="events dropped since the outbox was created")]
    outbox_on_disk: Annotated[
        bool, msgspec.Meta(description="false: the disk is full or read-only, events wait in memory")
    ]
    outbox_damaged: Annotated[
        int, msgspec.Meta(ge=0, description="outboxes found damaged and set aside since the start")
    ]
    disk_commits_per_hour: Annotated[float, msgspec.Meta(ge=0, description="by the outbox; over the last hour at most")]
    disk_mb_per_hour: Annotated[
        float | None, msgspec.Meta(description="10^6 bytes written by the whole process, over the last hour at most")
    ]
    reconnects: Count
    bundle: str
    time_synced: bool
    paused: bool
    camera: CameraState
    camera_fault: Annotated[str | None, msgspec.Meta(description="what is wrong with the camera, in words")]
    camera_failures: Annotated[int, msgspec.Meta(ge=0, description="faults of the camera since the start")]
    commands_refused: Annotated[int, msgspec.Meta(ge=0, description="messages to this device that were no command")]


LONGEST_PAUSE_S = 31 * 86_400
"""The longest pause that a command may ask for, seconds."""


class PrivacyCommand(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``privacy/set``: close the camera, for some time or until further notice, or open it again."""

    paused: Annotated[bool, msgspec.Meta(description="true closes the camera, false opens it")]
    for_s: Annotated[
        Annotated[float, msgspec.Meta(gt=0, le=LONGEST_PAUSE_S)] | None,
        msgspec.Meta(description="seconds after which the camera opens again; absent or null: on the next command"),
    ] = None
