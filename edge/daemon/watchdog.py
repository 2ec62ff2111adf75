"""Tells systemd that the daemon lives, as long as each of its threads makes progress; names the one that does not.

sd_watchdog_enabled(3): systemd expects word within ``WatchdogSec``, and ends and restarts what stays silent. A thread
has a `Pulse` that it beats when it has got something done: a frame looked at, a step made while there is nothing to
look at, a turn of the sender's loop. A beat is never given by a timer.
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
"""The longest step of the loop, seconds: a card that is slow to write an event, with much to spare."""
SENDER_LIMIT_S = 40.0
"""The longest turn of the sender, seconds: two waits for a connection to end, and a card that takes its time."""
_INTERVAL_S = 5.0

log = logging.getLogger(__name__)


class Pulse:
    """One thread's sign of progress."""

    def __init__(self, name: str, limit_s: float, clock: Clock) -> None:
        self.name = name
        self.limit_s = limit_s
        self._clock = clock
        self._beat_s = clock.monotonic()
        self._thread_id: int | None = None

    def beat(self) -> None:
        """Note progress; called by the thread itself."""
        self._thread_id = threading.get_ident()
        self._beat_s = self._clock.monotonic()

    def silent_s(self) -> float:
        """Seconds since the last beat."""
        return self._clock.monotonic() - self._beat_s

    def where(self) -> str:
        """File, line and function in which the thread is now, innermost first."""
        frame = sys._current_frames().get(self._thread_id or 0)  # noqa: SLF001  # documented, for debuggers
        if frame is None:
            return "it has ended"
        stack = traceback.extract_stack(frame)[-3:]
        return " < ".join(f"{entry.filename.rpartition('/')[2]}:{entry.lineno} {entry.name}" for entry in stack[::-1])


class Watchdog:
    """Looks at all pulses now and then, in a thread of its own, until `stop`.

    Parameters
    ----------
    notify
        Takes ``WATCHDOG=1``.
    """

    def __init__(self, clock: Clock, *, notify: Callable[[str], object] = notify_systemd) -> None:
        self._clock = clock
        self._notify = notify
        self._pulses: list[Pulse] = []
        self._named: set[str] = set()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)

    def pulse(self, name: str, limit_s: float) -> Pulse:
        """Return a new pulse, which counts from now on."""
        pulse = Pulse(name, limit_s, self._clock)
        self._pulses.append(pulse)
        return pulse

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Stop looking; systemd then has its own limit for a stop."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()

    def look(self) -> list[str]:
        """Tell systemd that all is well, or else log what is not; return the names of the threads that are stuck."""
        stuck = [pulse for pulse in self._pulses if pulse.silent_s() > pulse.limit_s]
        for pulse in stuck:
            if pulse.name not in self._named:
                log.error("thread %s is stuck for %.0f s: %s", pulse.name, pulse.silent_s(), pulse.where())
        for name in self._named - {pulse.name for pulse in stuck}:
            log.warning("thread %s goes on", name)
        self._named = {pulse.name for pulse in stuck}
        if not stuck:
            self._notify("WATCHDOG=1")
        return sorted(self._named)

    def _run(self) -> None:
        while not self._stopped.wait(_interval_s()):
            self.look()


def _interval_s() -> float:
    """A quarter of what systemd allows, 5 s at most; sd_watchdog_enabled(3) asks for half."""
    try:
        allowed_s = int(os.environ.get("WATCHDOG_USEC", "")) / 1e6
    except ValueError:
        return _INTERVAL_S
    return min(_INTERVAL_S, max(0.05, allowed_s / 4))
