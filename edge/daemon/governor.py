"""How often a frame is looked at: less often where a setting, the temperature or the firmware says so.

On a Raspberry Pi the firmware lowers the clock from 80 degrees on (60 on a 3B+), for every program on it. The governor
takes less before that: it looks at fewer frames. The camera's newest frame is taken when the rest is over; those in
between are dropped, as for any slow consumer.
"""

import logging
import time
from collections.abc import Callable
from pathlib import Path

from edge.clock import Clock
from edge.daemon.machine import temperature_c, throttling
from edge.events.payloads import RateLimit
from edge.settings import PowerSettings

LOOK_EVERY_S = 5.0
"""How often temperature and flags are read, seconds: heat does not come faster."""
LEAST_FPS = 1.0
"""However hot it is, somebody who stays is still seen."""
SLOWER, FASTER = 0.75, 1.15
"""Factors of the rate, each time it is too hot, or cool again: down at once, up with care."""
COOL_BY_C = 5.0
"""Degrees below the limit from which the rate may grow again."""
MEMORY = 0.2
"""Weight of the newest frame in the mean CPU time and the mean rate."""
PAUSE_S = 5.0
"""A longer gap is a camera that was away, and says nothing about its rate."""

log = logging.getLogger(__name__)


class Governor:
    """Says how long to rest before the next frame; for the loop's thread.

    Parameters
    ----------
    cpu_s
        CPU time of this process so far, seconds.
    root
        Where ``sys`` is; tests bring their own.
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
        self._looked_s = -LOOK_EVERY_S
        self._taken_s: float | None = None
        self._taken_cpu_s = 0.0
        self._frame_cpu_s = 0.0
        self._interval_s = 0.0
        self._heat_fps: float | None = None
        """frames a second that heat allows; None while it allows any"""
        self._heat: RateLimit = "temperature"

    def begin_frame(self) -> None:
        """Note that a frame is about to be looked at.

        Called before the look: the time a look takes is part of the interval, not added to it.
        """
        now_s, cpu_s = self._clock.monotonic(), self._cpu_s()
        if self._taken_s is not None and now_s - self._taken_s < PAUSE_S:
            first = self._interval_s == 0
            weight = 1.0 if first else MEMORY
            self._interval_s += weight * (now_s - self._taken_s - self._interval_s)
            self._frame_cpu_s += weight * (cpu_s - self._taken_cpu_s - self._frame_cpu_s)
        self._taken_s, self._taken_cpu_s = now_s, cpu_s

    def rest_s(self) -> float:
        """Seconds until the next frame may be taken; 0 means now."""
        now_s = self._clock.monotonic()
        if now_s - self._looked_s >= LOOK_EVERY_S:
            self._looked_s = now_s
            self._mind_heat()
        fps = self.limit_fps()
        if fps is None or self._taken_s is None:
            return 0.0
        return max(0.0, self._taken_s + 1 / fps - now_s)

    def limit_fps(self) -> float | None:
        """Frames a second that are allowed now; None where nothing limits them."""
        return min(self._limits().values(), default=None)

    def limited_by(self) -> RateLimit | None:
        """What allows the least, where that is less than what comes anyway; None where nothing does."""
        limits = self._limits()
        return min(limits, key=lambda name: limits[name], default=None)

    def _limits(self) -> dict[RateLimit, float]:
        limits: dict[RateLimit, float] = {}
        if self._settings.max_fps:
            limits["max_fps"] = self._settings.max_fps
        if self._settings.max_cpu_percent and self._frame_cpu_s > 0:
            allowed = max(LEAST_FPS, self._settings.max_cpu_percent / 100 / self._frame_cpu_s)
            if allowed < 1000:  # beyond that it limits nothing that there is
                limits["max_cpu_percent"] = allowed
        if self._heat_fps is not None:
            limits[self._heat] = self._heat_fps
        return limits

    def _mind_heat(self) -> None:
        degrees, flags = temperature_c(self._root), throttling(self._root)
        flagged = flags is not None and (flags.low_voltage or flags.slowed)
        limit_c = self._settings.max_temperature_c
        too_hot = degrees is not None and degrees >= limit_c
        if too_hot or flagged:
            self._heat = "throttled" if flagged else "temperature"
            came = 1 / self._interval_s if self._interval_s > 0 else 1 / LEAST_FPS
            before = self._heat_fps
            self._heat_fps = max(LEAST_FPS, SLOWER * min(came, before or came))
            if before is None:
                why = "the firmware throttles" if flagged else f"{degrees} degrees"
                log.warning("%s: fewer frames are looked at, %.1f a second", why, self._heat_fps)
        elif self._heat_fps is not None and (degrees is None or degrees < limit_c - COOL_BY_C):
            self._heat_fps *= FASTER
            # The camera gives less than is allowed: heat limits nothing any more.
            if self._interval_s > 0 and 1 / self._interval_s < 0.7 * self._heat_fps:
                self._heat_fps = None
                log.info("cool again: every frame is looked at")
