"""The governor with a clock, a CPU meter and a sysfs that the test sets."""

from pathlib import Path

import pytest

from edge.daemon.governor import MIN_FPS, Governor
from edge.settings import PowerSettings
from tests.fakes.clock import FakeClock


class Device:
    """Takes frames as the loop does: rests as told, then works on each frame, during which time passes."""

    def __init__(
        self,
        root: Path,
        settings: PowerSettings,
        *,
        camera_fps: float = 15,
        frame_cpu_s: float = 0.01,
        look_s: float = 0.01,
    ) -> None:
        self.clock = FakeClock()
        self.cpu_s = 0.0
        self._camera_s = 1 / camera_fps
        self._frame_cpu_s = frame_cpu_s
        self._look_s = look_s
        self._root = root
        self.governor = Governor(settings, self.clock, cpu_s=lambda: self.cpu_s, root=root)

    def fps(self, seconds: float) -> float:
        """Frames a second over some time."""
        began_s, taken, due_s = self.clock.monotonic(), 0, self.clock.monotonic()
        while self.clock.monotonic() - began_s < seconds:
            self.clock.pass_time(max(self.governor.rest_s(), due_s - self.clock.monotonic(), 0))
            due_s = self.clock.monotonic() + self._camera_s
            self.governor.begin_frame()
            self.clock.pass_time(self._look_s)
            self.cpu_s += self._frame_cpu_s
            taken += 1
        return taken / (self.clock.monotonic() - began_s)

    def heat(self, degrees: float) -> None:
        path = self._root / "sys/class/thermal/thermal_zone0/temp"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{round(degrees * 1000)}\n")

    def throttle(self, flags: str) -> None:
        path = self._root / "sys/devices/platform/soc/soc:firmware/get_throttled"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{flags}\n")


def test_nothing_is_limited_where_nothing_says_so(tmp_path: Path) -> None:
    device = Device(tmp_path, PowerSettings())
    assert device.fps(20) == pytest.approx(15, rel=0.05)
    assert (device.governor.limit_fps(), device.governor.limited_by()) == (None, None)


@pytest.mark.parametrize("look_s", [0.0, 0.02, 0.1])
@pytest.mark.parametrize("max_fps", [4, 10])
def test_max_fps_is_reached_however_long_a_look_takes(tmp_path: Path, max_fps: float, look_s: float) -> None:
    device = Device(tmp_path, PowerSettings(max_fps=max_fps), camera_fps=30, look_s=look_s)
    assert device.fps(20) == pytest.approx(max_fps, rel=0.05)
    assert device.governor.limited_by() == "max_fps"


def test_max_cpu_percent_is_used_when_looks_are_slow(tmp_path: Path) -> None:
    device = Device(tmp_path, PowerSettings(max_cpu_percent=50), frame_cpu_s=0.1, look_s=0.1)
    device.fps(5)
    before_s, began_s = device.cpu_s, device.clock.monotonic()
    device.fps(60)
    assert (device.cpu_s - before_s) / (device.clock.monotonic() - began_s) == pytest.approx(0.5, rel=0.05)


@pytest.mark.parametrize("percent", [5, 10, 400])
def test_no_more_cpu_than_allowed(tmp_path: Path, percent: float) -> None:
    device = Device(tmp_path, PowerSettings(max_cpu_percent=percent), frame_cpu_s=0.02)
    device.fps(5)
    before_s, began_s = device.cpu_s, device.clock.monotonic()
    fps = device.fps(60)
    used = (device.cpu_s - before_s) / (device.clock.monotonic() - began_s)
    assert used <= percent / 100 * 1.05
    assert fps == pytest.approx(min(15, percent / 100 / 0.02), rel=0.1)


def test_the_least_of_two_limits_counts(tmp_path: Path) -> None:
    device = Device(tmp_path, PowerSettings(max_fps=10, max_cpu_percent=5), frame_cpu_s=0.01)
    device.fps(10)
    assert device.governor.limited_by() == "max_cpu_percent"
    assert device.governor.limit_fps() == pytest.approx(5, rel=0.05)


def test_a_hot_device_slows_down_step_by_step_and_recovers(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    device = Device(tmp_path, PowerSettings())
    device.heat(60)
    assert device.fps(10) == pytest.approx(15, rel=0.05)
    device.heat(77)
    rates = [device.fps(6) for _ in range(4)]
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] < 8
    assert device.governor.limited_by() == "temperature"
    device.heat(73)  # neither hot nor cool: it stays as it is
    device.fps(6)
    kept = device.governor.limit_fps()
    device.fps(20)
    assert device.governor.limit_fps() == kept
    device.heat(60)
    device.fps(120)
    assert device.governor.limit_fps() is None
    assert device.fps(10) == pytest.approx(15, rel=0.05)
    assert caplog.text.count("fewer frames are processed") == 1


def test_however_hot_it_is_it_goes_on_looking(tmp_path: Path) -> None:
    device = Device(tmp_path, PowerSettings())
    device.heat(99)
    device.fps(200)
    assert device.fps(20) == pytest.approx(MIN_FPS, rel=0.1)


@pytest.mark.parametrize(
    ("flags", "limited_by"), [("4", "throttled"), ("50005", "throttled"), ("50000", None), ("x", None)]
)
def test_flags_of_this_moment_count_and_those_of_the_past_do_not(
    tmp_path: Path, flags: str, limited_by: str | None
) -> None:
    device = Device(tmp_path, PowerSettings())
    device.heat(50)
    device.throttle(flags)
    device.fps(10)
    assert device.governor.limited_by() == limited_by


def test_a_camera_that_was_away_is_no_slow_camera(tmp_path: Path) -> None:
    device = Device(tmp_path, PowerSettings())
    device.fps(6)
    device.clock.pass_time(3600)
    device.fps(6)
    device.heat(80)
    device.fps(6)
    limit = device.governor.limit_fps()
    assert limit is not None
    assert limit > 6
