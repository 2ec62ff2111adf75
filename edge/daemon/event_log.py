"""What the log says of events: how many there were, or, where that is asked for, each of them."""

import logging
from collections import Counter
from collections.abc import Iterable

from edge.clock import Clock
from edge.events.visits import Moment

COUNT_EVERY_S = 60.0
"""Seconds from the first event that was not logged to the line that counts it."""

log = logging.getLogger(__name__)


class EventLog:
    """Logs events. Each of them is personal data and the journal keeps it for weeks, so that counts are the default.

    ``each``: True logs each event, with the emotion; False one line a minute at most, with counts.
    """

    def __init__(self, clock: Clock, *, each: bool) -> None:
        self._clock = clock
        self._each = each
        self._counts: Counter[str] = Counter()
        self._since_s = 0.0

    def add(self, moments: Iterable[Moment]) -> None:
        """Log events, or count them."""
        for moment in moments:
            reading = moment.reading
            if self._each:
                log.info("face %d %s: %s %.2f", reading.face, moment.event_type, reading.emotion, reading.confidence)
                continue
            if not self._counts:
                self._since_s = self._clock.monotonic()
            self._counts[moment.event_type] += 1

    def write_counts(self, *, at_once: bool = False) -> None:
        """Log how many events came, if the line is due or wanted at once."""
        passed_s = self._clock.monotonic() - self._since_s
        if not self._counts or (passed_s < COUNT_EVERY_S and not at_once):
            return
        appeared, changed, left = (self._counts[name] for name in ("face_appeared", "emotion_changed", "face_left"))
        log.info("in %.0f s: %d appeared, %d emotions changed, %d left", passed_s, appeared, changed, left)
        self._counts.clear()
