"""One payload of each kind; a test replaces what it is about: ``replace(HEALTH, frames=7)``."""

from msgspec.structs import replace

from edge.events.payloads import UNNUMBERED, EmotionEvent, FaceReading, Health

__all__ = ["EVENT", "HEALTH", "READING", "replace"]

READING = FaceReading(
    face=1, box=(10, 20, 30, 40), emotion="happy", confidence=0.75, duration_s=1.5,
    scores={"angry": 0.05, "happy": 0.75, "sad": 0.1, "surprise": 0.05, "neutral": 0.05},
)  # fmt: skip
EVENT = EmotionEvent(
    event_type="emotion_changed", id="019321c1-0000-7000-8000-000000000000", seq=UNNUMBERED, boot="b007",
    time="2026-11-22T19:14:09.722Z", mono_ms=1234, time_synced=False, device="dev-1", model="default-12345678",
    face=READING.face, box=READING.box, emotion=READING.emotion, confidence=READING.confidence, scores=READING.scores,
    duration_s=READING.duration_s,
)  # fmt: skip
HEALTH = Health(
    time="2026-11-22T19:14:09.722Z", uptime_s=1.0, frame_age_s=0.1, frames=0, frames_per_s=10.0, limit_fps=None,
    limited_by=None, frames_dropped=0, stages=None, memory_mb=100.0, temperature_c=40.0, outbox_depth=0,
    outbox_dropped=0, outbox_on_disk=True, outbox_damaged=0, disk_commits_per_hour=12.0, disk_mb_per_hour=0.5,
    reconnects=0, bundle="default-1234", time_synced=False, paused=False, camera="ok", camera_fault=None,
    camera_failures=0, commands_refused=0,
)  # fmt: skip
