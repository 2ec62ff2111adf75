"""Sends systemd's keep-alive while the loop and the MQTT sender make progress; logs which of them does not.

systemd restarts a service that sends no ``WATCHDOG=1`` within ``WatchdogSec`` (sd_watchdog_enabled(3)). Both threads
have a `Pulse` and beat it when they have done something: a frame, a step without a frame, a turn of the sender's loop.
It is never beaten by a timer.
"""

import logging
import os
import sys
import threading
import traceback
from collections.abc import Callable

from edge.clock import Clock
from edge.daemon.machine import notify_systemd

LOOP_LIMIT_S = 25.0
"""Longest step of the loop in seconds: a card that is slow to write an event, with a wide margin."""
SENDER_LIMIT_S = 40.0
"""Longest turn of the sender in seconds: two waits for a connection to end, and a slow card."""
_INTERVAL_S = 5.0

log = logging.getLogger(__name__)


class Pulse:
    """Progress of one thread."""

    def __init__(self, name: str, limit_s: float, clock: Clock) -> None:
        self.name = name
        self.limit_s = limit_s
        self._clock = clock
        self._beat_s = clock.monotonic()
        self._thread_id: int | None = None

    def beat(self) -> None:
        """Record progress; called by the thread itself."""
        self._thread_id = threading.get_ident()
        self._beat_s = self._clock.monotonic()

    def silent_s(self) -> float:
        """Seconds since the last beat."""
        return self._clock.monotonic() - self._beat_s

    def where(self) -> str:
        """Return where the thread is now: file, line and function, innermost first."""
        frame = sys._current_frames().get(self._thread_id or 0)  # noqa: SLF001  # documented, for debuggers
        if frame is None:
            return "it has ended"
        stack = traceback.extract_stack(frame)[-3:]
        return " < ".join(f"{entry.filename.rpartition('/')[2]}:{entry.lineno} {entry.name}" for entry in stack[::-1])


class Watchdog:
    """Checks all pulses every few seconds, in a thread of its own, until `stop`.

    ``notify``: called with ``WATCHDOG=1``.
    """

    def __init__(self, clock: Clock, *, notify: Callable[[str], object] = notify_systemd) -> None:
        self._clock = clock
        self._notify = notify
        self._pulses: list[Pulse] = []
        self._named: set[str] = set()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)

    def pulse(self, name: str, limit_s: float) -> Pulse:
        """Return a new pulse, checked from now on."""
        pulse = Pulse(name, limit_s, self._clock)
        self._pulses.append(pulse)
        return pulse

    def start(self) -> None:
        """Start checking."""
        self._thread.start()

    def stop(self) -> None:
        """Stop checking; systemd has its own limit for a stop."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()

    def check(self) -> list[str]:
        """Send ``WATCHDOG=1`` if no thread is stuck, else log which are; return their names."""
        stuck = [pulse for pulse in self._pulses if pulse.silent_s() > pulse.limit_s]
        for pulse in stuck:
            if pulse.name not in self._named:
                log.error("thread %s has made no progress for %.0f s: %s", pulse.name, pulse.silent_s(), pulse.where())
        for name in self._named - {pulse.name for pulse in stuck}:
            log.warning("thread %s makes progress again", name)
        self._named = {pulse.name for pulse in stuck}
        if not stuck:
            self._notify("WATCHDOG=1")
        return sorted(self._named)

    def _run(self) -> None:
        while not self._stopped.wait(_interval_s()):
            self.check()


def _interval_s() -> float:
    """Return a quarter of what systemd allows, 5 s at most; sd_watchdog_enabled(3) recommends half."""
    try:
        allowed_s = int(os.environ.get("WATCHDOG_USEC", "")) / 1e6
    except ValueError:
        return _INTERVAL_S
    return min(_INTERVAL_S, max(0.05, allowed_s / 4))
