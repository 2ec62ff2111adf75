"""The last hour: which emotion each face had from when to when, and when the camera could not see."""

import threading
from collections.abc import Iterable

import msgspec

from edge.events.payloads import CameraState
from edge.events.visits import Moment

LENGTH_S = 3600.0
MOST_SPANS = 2000
"""Spans kept: an hour with a change every other second."""
CAMERA = 0
"""``face`` of a span that is about the camera."""


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """Something that lasted. Times are seconds of the monotonic clock."""

    id: int
    face: int
    """number of the visit; `CAMERA` for the camera"""
    what: str
    """the emotion, or the camera's state"""
    from_s: float
    to_s: float | None
    """None while it lasts"""


class History:
    """Spans of the last hour, at most `MOST_SPANS`; written by the loop, read by the page's thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._spans: dict[int, tuple[int, Span]] = {}
        """each with the version at which it changed; the oldest first"""
        self._open: dict[int, int] = {}
        """of each face and the camera: the span that lasts"""
        self._ids = 0
        self.version = 0
        """grows with each change"""

    def add(self, moments: Iterable[Moment], now_s: float) -> None:
        """Note what happened to faces."""
        with self._lock:
            for moment in moments:
                self._end(moment.reading.face, now_s)
                if moment.event_type != "face_left":
                    self._begin(moment.reading.face, moment.reading.emotion, now_s)
            self._forget_old(now_s)

    def add_camera(self, state: CameraState, now_s: float) -> None:
        """Note the state of the camera; a state that it already has changes nothing."""
        with self._lock:
            span = self._spans.get(self._open.get(CAMERA, -1))
            if span is None or span[1].what != state:
                self._end(CAMERA, now_s)
                self._begin(CAMERA, state, now_s)
                self._forget_old(now_s)

    def since(self, version: int) -> tuple[int, list[Span]]:
        """Return the present version, and the spans that began or ended after the given one."""
        with self._lock:
            return self.version, [span for changed, span in self._spans.values() if changed > version]

    def _begin(self, face: int, what: str, now_s: float) -> None:
        self._ids += 1
        self._open[face] = self._ids
        self._put(Span(id=self._ids, face=face, what=what, from_s=round(now_s, 2), to_s=None))

    def _end(self, face: int, now_s: float) -> None:
        _, span = self._spans.get(self._open.pop(face, -1), (0, None))
        if span is not None:
            self._put(msgspec.structs.replace(span, to_s=round(now_s, 2)))

    def _put(self, span: Span) -> None:
        self.version += 1
        self._spans[span.id] = (self.version, span)

    def _forget_old(self, now_s: float) -> None:
        ended = [key for key, (_, span) in self._spans.items() if span.to_s is not None]
        for key in ended:
            to_s = self._spans[key][1].to_s
            if len(self._spans) > MOST_SPANS or (to_s is not None and to_s < now_s - LENGTH_S):
                del self._spans[key]
