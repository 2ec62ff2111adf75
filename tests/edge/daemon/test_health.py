"""What a health message says: each value under its own name, and rates that are right."""

from dataclasses import dataclass

import msgspec
import pytest

from edge.daemon.governor import Governor
from edge.daemon.health import HealthReporter, HourlyRate
from edge.events.payloads import CameraState
from edge.mqtt.interface import PublisherStats
from edge.settings import PowerSettings
from edge.stages import Stages
from tests.fakes.clock import FakeClock


@dataclass
class FakeCamera:
    """What a `WatchedCamera` says of itself."""

    dropped: int = 3
    failures: int = 4
    fault: str | None = "the cable is out"
    state: CameraState = "failed"

    def newest_age_s(self) -> float | None:
        return 0.25


def delivery(commits: int) -> PublisherStats:
    """Each number another one, so that none can stand for another."""
    return PublisherStats(
        connected=True,
        reconnects=11,
        depth=12,
        dropped=13,
        in_flight=14,
        last_refusal=None,
        on_disk=False,
        set_aside=15,
        commits=commits,
        commands_refused=16,
    )


def test_each_value_is_told_under_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, written = FakeClock(), [5_000_000]
    monkeypatch.setattr("edge.daemon.health.written_bytes", lambda: written[0])
    monkeypatch.setattr("edge.daemon.health.memory_mb", lambda: 101.5)
    monkeypatch.setattr("edge.daemon.health.temperature_c", lambda: 48.5)
    reporter = HealthReporter(clock, interval_s=30)
    governor = Governor(PowerSettings(max_fps=5), clock)

    def make(frames: int, commits: int) -> dict[str, object]:
        told = reporter.make(
            frames=frames,
            camera=FakeCamera(),  # type: ignore[arg-type]  # what it says of itself
            governor=governor,
            stages=Stages(),
            bundle="two@2",
            delivery=delivery(commits),
        )
        return msgspec.to_builtins(told)  # type: ignore[no-any-return]

    assert reporter.is_due()
    first = make(20, commits=1000)
    assert (first["disk_commits_per_hour"], first["disk_mb_per_hour"]) == (0, 0)
    assert not reporter.is_due()
    clock.pass_time(30)
    assert reporter.is_due()
    written[0] += 3_000_000
    reporter.make_due()
    clock.knows_date = False
    assert make(50, commits=1002) == {
        "time": "2025-06-15T15:07:10.000Z",
        "uptime_s": 30.0,
        "frame_age_s": 0.25,
        "frames": 50,
        "frames_per_s": 1.0,
        "limit_fps": 5.0,
        "limited_by": "max_fps",
        "frames_dropped": 3,
        "stages": None,
        "memory_mb": 101.5,
        "temperature_c": 48.5,
        "outbox_depth": 12,
        "outbox_dropped": 13,
        "outbox_on_disk": False,
        "outbox_damaged": 15,
        "disk_commits_per_hour": 240.0,
        "disk_mb_per_hour": 360.0,
        "reconnects": 11,
        "bundle": "two@2",
        "time_synced": False,
        "paused": False,
        "camera": "failed",
        "camera_fault": "the cable is out",
        "camera_failures": 4,
        "commands_refused": 16,
    }


def test_rate_is_of_the_last_hour_or_since_the_start() -> None:
    rate = HourlyRate()
    assert rate.per_hour(0, 5) == 0
    assert rate.per_hour(600, 15) == 60, "10 in 10 minutes"
    assert rate.per_hour(1200, None) is None
    assert rate.per_hour(3600, 105) == 100
    assert rate.per_hour(4200, 105) == 90, "the first ten minutes are over an hour ago"
    assert rate.per_hour(7200, 105) == 0


def test_a_rate_keeps_a_bounded_number_of_readings() -> None:
    rate = HourlyRate()
    for second in range(3000):
        rate.per_hour(second, second if second < 100 else 10**6 + second)
    assert rate.per_hour(3000, 10**6 + 3000) == 3600, "the early jump is forgotten within the hour"
