"""Limits the frame rate by the settings, the temperature and the firmware's throttling.

A Raspberry Pi's firmware lowers the clock of the whole machine from 80 degrees on (60 on a 3B+). The governor acts
before that, by processing fewer frames. After each rest the newest frame is taken; those in between are dropped.
"""

import logging
import time
from collections.abc import Callable
from pathlib import Path

from edge.clock import Clock
from edge.daemon.machine import temperature_c, throttling
from edge.events.payloads import RateLimit
from edge.settings import PowerSettings

READ_EVERY_S = 5.0
"""Seconds between two readings of temperature and flags; heat does not rise faster."""
MIN_FPS = 1.0
"""The lowest limit, however hot it is: somebody who stays is still seen."""
SLOWER, FASTER = 0.75, 1.15
"""Factors applied to the rate at each reading that is too hot, and at each that is cool again."""
COOL_BY_C = 5.0
"""Degrees below the limit from which the rate may grow again."""
SMOOTHING = 0.2
"""Weight of the newest frame in the moving averages of CPU time and interval."""
PAUSE_S = 5.0
"""Seconds; a longer gap between frames means that the camera was away, and is not averaged."""

log = logging.getLogger(__name__)


class Governor:
    """Tells the loop how long to rest before the next frame.

    ``cpu_s``: returns the CPU seconds of this process so far.
    ``root``: folder that holds ``sys``; tests pass their own.
    """

    def __init__(
        self,
        settings: PowerSettings,
        clock: Clock,
        *,
        cpu_s: Callable[[], float] = time.process_time,
        root: Path = Path("/"),
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._cpu_s = cpu_s
        self._root = root
        self._read_s = -READ_EVERY_S
        self._taken_s: float | None = None
        self._taken_cpu_s = 0.0
        self._frame_cpu_s = 0.0
        self._interval_s = 0.0
        self._heat_fps: float | None = None
        """frames a second that the temperature allows; None means no limit"""
        self._heat: RateLimit = "temperature"

    def begin_frame(self) -> None:
        """Note that a frame is about to be processed; the time that takes is part of the interval."""
        now_s, cpu_s = self._clock.monotonic(), self._cpu_s()
        if self._taken_s is not None and now_s - self._taken_s < PAUSE_S:
            first = self._interval_s == 0
            weight = 1.0 if first else SMOOTHING
            self._interval_s += weight * (now_s - self._taken_s - self._interval_s)
            self._frame_cpu_s += weight * (cpu_s - self._taken_cpu_s - self._frame_cpu_s)
        self._taken_s, self._taken_cpu_s = now_s, cpu_s

    def rest_s(self) -> float:
        """Seconds until the next frame may be taken; 0 means now."""
        now_s = self._clock.monotonic()
        if now_s - self._read_s >= READ_EVERY_S:
            self._read_s = now_s
            self._check_heat()
        fps = self.limit_fps()
        if fps is None or self._taken_s is None:
            return 0.0
        return max(0.0, self._taken_s + 1 / fps - now_s)

    def limit_fps(self) -> float | None:
        """Return the allowed frames a second; None means no limit."""
        return min(self._limits().values(), default=None)

    def limited_by(self) -> RateLimit | None:
        """Return which limit is the lowest; None if there is none."""
        limits = self._limits()
        return min(limits, key=lambda name: limits[name], default=None)

    def _limits(self) -> dict[RateLimit, float]:
        limits: dict[RateLimit, float] = {}
        if self._settings.max_fps:
            limits["max_fps"] = self._settings.max_fps
        if self._settings.max_cpu_percent and self._frame_cpu_s > 0:
            allowed = max(MIN_FPS, self._settings.max_cpu_percent / 100 / self._frame_cpu_s)
            if allowed < 1000:  # a higher limit is none: no camera is that fast
                limits["max_cpu_percent"] = allowed
        if self._heat_fps is not None:
            limits[self._heat] = self._heat_fps
        return limits

    def _check_heat(self) -> None:
        degrees, flags = temperature_c(self._root), throttling(self._root)
        flagged = flags is not None and (flags.low_voltage or flags.slowed)
        limit_c = self._settings.max_temperature_c
        too_hot = degrees is not None and degrees >= limit_c
        if too_hot or flagged:
            self._heat = "throttled" if flagged else "temperature"
            came = 1 / self._interval_s if self._interval_s > 0 else 1 / MIN_FPS
            before = self._heat_fps
            self._heat_fps = max(MIN_FPS, SLOWER * min(came, before or came))
            if before is None:
                why = "the firmware is throttling" if flagged else f"{degrees} degrees"
                log.warning("%s: fewer frames are processed, %.1f a second", why, self._heat_fps)
        elif self._heat_fps is not None and (degrees is None or degrees < limit_c - COOL_BY_C):
            self._heat_fps *= FASTER
            # The camera is slower than the limit, which therefore no longer matters.
            if self._interval_s > 0 and 1 / self._interval_s < 0.7 * self._heat_fps:
                self._heat_fps = None
                log.info("cool again: every frame is processed")
