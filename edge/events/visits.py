"""Visits: from the moment a face appears, through each change of its emotion, until it leaves."""

from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from edge.emotions import EMOTIONS
from edge.events.payloads import EventType, FaceReading
from edge.events.smoothing import EmotionSmoother, Smoothed
from edge.faces.types import Box, TrackedFace
from edge.inference.manifest import LogScores
from edge.settings import SmoothingSettings


@dataclass(frozen=True, slots=True)
class Moment:
    """A face appeared, changed its emotion, or left."""

    event_type: EventType
    reading: FaceReading
    time_s: float
    """time of the frame that showed it, seconds"""


@dataclass(slots=True)
class _Visit:
    smoother: EmotionSmoother
    began_s: float
    seen_s: float
    box: Box
    smoothed: Smoothed


class Visits:
    """Tracks the current visits and reports what begins, changes and ends.

    A visit ends ``forget_after_s`` after its face was last seen.
    """

    def __init__(self, smoothing: SmoothingSettings, *, forget_after_s: float) -> None:
        self._smoothing = smoothing
        self._forget_after_s = forget_after_s
        self._visits: dict[int, _Visit] = {}

    def update(self, faces: Iterable[TrackedFace], time_s: float, population: LogScores | None = None) -> list[Moment]:
        """Add the faces of one frame; return what happened, in order.

        ``population``: of the classifier that scored them (`Classifier.population`); for their baselines.
        """
        moments = [moment for face in faces if (moment := self._see(face, time_s, population))]
        gone = [n for n, visit in self._visits.items() if time_s - visit.seen_s > self._forget_after_s]
        return [*moments, *(self._leave(number, time_s) for number in gone)]

    def close(self, time_s: float) -> list[Moment]:
        """End every visit, because the camera ended or was closed."""
        return [self._leave(number, time_s) for number in list(self._visits)]

    def smoothed(self, track: int) -> Smoothed:
        """Return the smoothed emotion of a face that is in view."""
        return self._visits[track].smoothed

    def readings(self) -> list[FaceReading]:
        """Return the reading of everybody in view, the largest face first."""
        order = sorted(self._visits, key=lambda number: self._visits[number].box.width, reverse=True)
        return [_reading(number, self._visits[number]) for number in order]

    def _see(self, face: TrackedFace, time_s: float, population: LogScores | None) -> Moment | None:
        visit = self._visits.get(face.track)
        if visit is None:
            smoother = EmotionSmoother(self._smoothing)
            smoothed = smoother.update(face.scores, time_s, population)
            visit = _Visit(smoother, time_s, time_s, face.box, smoothed)
            self._visits[face.track] = visit
            return Moment("face_appeared", _reading(face.track, visit), time_s)
        before = visit.smoothed.emotion
        visit.smoothed = visit.smoother.update(face.scores, time_s, population)
        visit.seen_s, visit.box = time_s, face.box
        if visit.smoothed.emotion == before:
            return None
        return Moment("emotion_changed", _reading(face.track, visit), time_s)

    def _leave(self, number: int, time_s: float) -> Moment:
        return Moment("face_left", _reading(number, self._visits.pop(number)), time_s)


def _reading(number: int, visit: _Visit) -> FaceReading:
    smoothed = visit.smoothed
    return FaceReading(
        face=number,
        box=(visit.box.x, visit.box.y, visit.box.width, visit.box.height),
        emotion=smoothed.emotion,  # type: ignore[arg-type]  # one of EMOTIONS or uncertain
        confidence=round(min(1.0, smoothed.confidence), 3),
        scores={str(e): round(min(1.0, float(s)), 3) for e, s in zip(EMOTIONS, smoothed.scores, strict=True)},
        duration_s=round(visit.seen_s - visit.began_s, 3),
        baseline=smoothed.baseline or msgspec.UNSET,
    )
