"""How the device does, measured since it was last told."""

from edge.clock import Clock
from edge.daemon.camera import WatchedCamera
from edge.daemon.machine import memory_mb, temperature_c
from edge.events.payloads import Health
from edge.mqtt.identifiers import utc_time
from edge.mqtt.seam import PublisherStats
from edge.stages import Stages


class HealthReporter:
    """Says when a health message is due, and makes it; the first is due at once."""

    def __init__(self, clock: Clock, *, interval_s: float, bundle: str) -> None:
        self._clock = clock
        self._interval_s = interval_s
        self._bundle = bundle
        self._began_s = self._told_s = self._due_s = clock.monotonic()
        self._frames_told = 0

    def name_bundle(self, bundle: str) -> None:
        """Say from now on, and soon, that this one runs."""
        self._bundle = bundle
        self._due_s = self._clock.monotonic()

    def is_due(self) -> bool:
        """True once the interval has passed since the last `make`."""
        return self._clock.monotonic() >= self._due_s

    def make(self, *, frames: int, camera: WatchedCamera, stages: Stages, delivery: PublisherStats) -> Health:
        """Return the message; ``frames`` is how many were looked at since the start."""
        now_s = self._clock.monotonic()
        period_s = now_s - self._told_s
        rate = (frames - self._frames_told) / period_s if period_s > 0 else 0.0
        self._told_s, self._frames_told, self._due_s = now_s, frames, now_s + self._interval_s
        age_s = camera.newest_age_s()
        return Health(
            time=utc_time(self._clock.unix_s()),
            uptime_s=round(now_s - self._began_s, 1),
            frame_age_s=None if age_s is None else round(age_s, 3),
            frames=frames,
            frames_per_s=round(rate, 2),
            frames_dropped=camera.dropped,
            stages=stages.medians(),
            memory_mb=memory_mb(),
            temperature_c=temperature_c(),
            outbox_depth=delivery.depth,
            outbox_dropped=delivery.dropped,
            reconnects=delivery.reconnects,
            bundle=self._bundle,
            time_synced=self._clock.synced(),
            paused=camera.state == "paused",
            camera=camera.state,
            camera_fault=camera.fault,
            camera_failures=camera.failures,
            commands_refused=delivery.commands_refused,
        )
