"""The figures of ``health`` in Prometheus's text form, with units in their names."""

from collections.abc import Iterator

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from edge.events.payloads import CameraState, Health, RateLimit
from edge.web.view import Status

CONTENT_TYPE = CONTENT_TYPE_LATEST
_PREFIX = "emotion_edge_"


def metrics(status: Status, *, device: str, version: str, viewers: int) -> bytes:
    """Return all metrics; without health (before the first step of the loop) only a few."""
    registry = CollectorRegistry()
    registry.register(_Figures(status, device=device, version=version, viewers=viewers))
    return generate_latest(registry)


class _Figures(Collector):
    def __init__(self, status: Status, *, device: str, version: str, viewers: int) -> None:
        self._status = status
        self._device, self._version, self._viewers = device, version, viewers

    def collect(self) -> Iterator[Metric]:
        health = self._status.health
        info = GaugeMetricFamily(f"{_PREFIX}info", "Device, version and model.", labels=("device", "version", "model"))
        info.add_metric((self._device, self._version, health.bundle if health else ""), 1)
        yield info
        yield _gauge("page_lookers", "Streams of the page that are open.", self._viewers)
        yield _gauge("broker_connected", "1 while the broker accepts messages.", self._status.connected)
        yield _gauge("people_in_view", "Faces in view now.", self._status.people)
        if health is not None:
            yield from _of_health(health)


def _of_health(health: Health) -> Iterator[Metric]:
    yield _counter("frames", "Frames processed since the start.", health.frames)
    yield _counter("frames_dropped", "Frames replaced by a newer one.", health.frames_dropped)
    yield _gauge("frames_per_second", "Frames processed, since the last reading.", health.frames_per_s)
    yield _gauge("uptime_seconds", "Time since the start.", health.uptime_s)
    yield _gauge("memory_bytes", "Resident memory.", health.memory_mb * 1e6)
    yield _counter("broker_reconnects", "Connections after the first.", health.reconnects)
    yield _gauge("outbox_events", "Events that wait for the broker.", health.outbox_depth)
    yield _counter("outbox_dropped_events", "Events dropped since the outbox was created.", health.outbox_dropped)
    yield _gauge("outbox_on_disk", "0 while events wait in memory.", health.outbox_on_disk)
    yield _counter("outbox_damaged", "Outboxes set aside since the start.", health.outbox_damaged)
    yield _gauge("disk_commits_per_hour", "Writes of the outbox, over the last hour.", health.disk_commits_per_hour)
    yield _gauge("time_synced", "1 if the date is synchronised.", health.time_synced)
    yield _gauge("paused", "1 during a privacy pause.", health.paused)
    yield _counter("camera_failures", "Faults of the camera since the start.", health.camera_failures)
    yield _counter("commands_refused", "Messages that were no command.", health.commands_refused)
    yield _one_of("camera_state", "1 for the camera's state.", "state", CameraState.__args__, health.camera)  # type: ignore[attr-defined]
    yield _one_of("limited", "1 for what limits the frame rate.", "by", RateLimit.__args__, health.limited_by)  # type: ignore[attr-defined]
    if health.stages is not None:
        stages = GaugeMetricFamily(f"{_PREFIX}stage_seconds", "Median time of a stage.", labels=("stage",))
        for name in health.stages.__struct_fields__:
            stages.add_metric((name.removesuffix("_ms"),), getattr(health.stages, name) / 1000)
        yield stages
    if health.frame_age_s is not None:
        yield _gauge("frame_age_seconds", "Age of the newest frame.", health.frame_age_s)
    if health.limit_fps is not None:
        yield _gauge("limit_frames_per_second", "Frame rate that is allowed.", health.limit_fps)
    if health.temperature_c is not None:
        yield _gauge("temperature_celsius", "Temperature of the processor.", health.temperature_c)
    if health.disk_mb_per_hour is not None:
        yield _gauge(
            "disk_bytes_per_hour", "Written by the process, over the last hour.", health.disk_mb_per_hour * 1e6
        )


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(_PREFIX + name, text, value=float(value))


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(_PREFIX + name, text, value=float(value))


def _one_of(name: str, text: str, label: str, values: tuple[str, ...], now: str | None) -> Metric:
    family = GaugeMetricFamily(_PREFIX + name, text, labels=(label,))
    for value in values:
        family.add_metric((value,), float(value == now))
    return family
