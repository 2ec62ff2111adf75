"""Makes the health message: figures of the device since the last one."""

from collections import deque

from edge.clock import Clock, utc_time
from edge.daemon.camera import WatchedCamera
from edge.daemon.governor import Governor
from edge.daemon.machine import memory_mb, temperature_c, written_bytes
from edge.events.payloads import Health, StageTimes
from edge.mqtt.interface import PublisherStats
from edge.stages import Stages

_MOST_READINGS = 1000  # bounds the memory, whatever the interval


class HourlyRate:
    """Growth of a counter per hour, measured over the last hour, or since the start if that is less."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, float]] = deque()

    def per_hour(self, now_s: float, count: float | None) -> float | None:
        """Return the rate: 0 at first, None if the count is unknown."""
        if count is None:
            return None
        self._seen.append((now_s, count))
        while len(self._seen) > 2 and (self._seen[1][0] <= now_s - 3600 or len(self._seen) > _MOST_READINGS):
            self._seen.popleft()
        (then_s, before), (_, last) = self._seen[0], self._seen[-1]
        return round((last - before) / (now_s - then_s) * 3600, 3) if now_s > then_s else 0.0


class HealthReporter:
    """Says when a health message is due, and makes it. The first is due at once."""

    def __init__(self, clock: Clock, *, interval_s: float) -> None:
        self._clock = clock
        self._interval_s = interval_s
        self._began_s = self._last_s = self._due_s = clock.monotonic()
        self._last_frames = 0
        self._commits, self._megabytes = HourlyRate(), HourlyRate()

    def make_due(self, in_s: float = 0.0) -> None:
        """Have the next message made after ``in_s`` seconds instead of after the rest of the interval."""
        self._due_s = min(self._due_s, self._clock.monotonic() + in_s)

    def is_due(self) -> bool:
        """True once the interval has passed since the last `make`."""
        return self._clock.monotonic() >= self._due_s

    def make(
        self,
        *,
        frames: int,
        camera: WatchedCamera,
        governor: Governor,
        stages: Stages,
        bundle: str,
        delivery: PublisherStats,
    ) -> Health:
        """Return the message; ``frames`` is how many were processed since the start."""
        now_s = self._clock.monotonic()
        period_s = now_s - self._last_s
        rate = (frames - self._last_frames) / period_s if period_s > 0 else 0.0
        self._last_s, self._last_frames, self._due_s = now_s, frames, now_s + self._interval_s
        age_s, written = camera.newest_age_s(), written_bytes()
        limit_fps = governor.limit_fps()
        return Health(
            time=utc_time(self._clock.unix_s()),
            uptime_s=round(now_s - self._began_s, 1),
            frame_age_s=None if age_s is None else round(age_s, 3),
            frames=frames,
            frames_per_s=round(rate, 2),
            limit_fps=None if limit_fps is None else round(limit_fps, 2),
            limited_by=governor.limited_by(),
            frames_dropped=camera.dropped,
            stages=_stage_times(stages),
            memory_mb=memory_mb(),
            temperature_c=temperature_c(),
            outbox_depth=delivery.depth,
            outbox_dropped=delivery.dropped,
            outbox_on_disk=delivery.on_disk,
            outbox_damaged=delivery.set_aside,
            disk_commits_per_hour=self._commits.per_hour(now_s, delivery.commits) or 0.0,
            disk_mb_per_hour=self._megabytes.per_hour(now_s, None if written is None else written / 1e6),
            reconnects=delivery.reconnects,
            bundle=bundle,
            time_synced=self._clock.synced(),
            paused=camera.state == "paused",
            camera=camera.state,
            camera_fault=camera.fault,
            camera_failures=camera.failures,
            commands_refused=delivery.commands_refused,
        )


def _stage_times(stages: Stages) -> StageTimes | None:
    """Return the medians of the published stages; None before the first frame."""
    if not stages.wall_ms("total"):
        return None
    return StageTimes(
        detect_ms=stages.median_ms("detect"),
        landmarks_ms=stages.median_ms("landmarks"),
        chip_ms=stages.median_ms("chip"),
        classify_ms=stages.median_ms("classify"),
        total_ms=stages.median_ms("total"),
    )
