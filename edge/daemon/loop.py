"""The daemon's loop: a frame, its faces, what happened to them, the broker."""

import logging
import threading
from dataclasses import dataclass
from typing import Literal

from edge.cameras import Capture
from edge.clock import Clock
from edge.daemon.health import HealthReporter
from edge.daemon.machine import notify_systemd
from edge.errors import CameraError, ConfigError, DeliveryError
from edge.events.episodes import Episodes, Moment
from edge.events.payloads import EmotionEvent, State
from edge.frames import Frame
from edge.mqtt.identifiers import time_synced, utc_time, uuid7
from edge.mqtt.seam import EventPublisher
from edge.pipeline import Pipeline, ScoredFace
from edge.settings import Settings

FRAME_TIMEOUT_S = 5.0
"""A camera that gives nothing for this long has failed."""
STATE_REFRESH_S = 2.0
"""Retained state is renewed this often while somebody is in view; at once when something happens."""
DRAIN_STEP_S = 0.5
"""How often a wait for the broker looks up for a stop signal or a refusal."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Identity:
    """Who speaks: the same in every event of one start."""

    device: str
    boot: str
    model: str


class Daemon:
    """Joins camera, faces, episodes and broker. `run` returns when the source ends or `stop` was called."""

    def __init__(
        self,
        settings: Settings,
        identity: Identity,
        *,
        capture: Capture,
        pipeline: Pipeline,
        publisher: EventPublisher,
        clock: Clock,
    ) -> None:
        self._identity = identity
        self._capture = capture
        self._pipeline = pipeline
        self._publisher = publisher
        self._clock = clock
        self._episodes = Episodes(settings.smoothing, forget_after_s=settings.faces.forget_after_s)
        self._health = HealthReporter(clock, interval_s=settings.mqtt.health_interval_s, bundle=identity.model)
        self._stop = threading.Event()
        self._frames = 0
        self._frame_s = 0.0
        self._state_due_s = 0.0
        self._storing = True

    def stop(self) -> None:
        """Ask `run` to end; from any thread or a signal handler."""
        self._stop.set()
        self._capture.interrupt()

    def run(self) -> None:
        """Work until the source ends or `stop` is called, then wait until the broker has everything.

        Raises
        ------
        CameraError
            The camera gives no frames; what was seen is stored, and sent at the next start if not now.
        ConfigError
            The source has ended and the broker refuses the login, so that nobody will ever take the events.
        """
        self._publish_state("starting")
        notify_systemd("READY=1")
        try:
            self._look_until_the_end()
        except CameraError:
            self._end_visits("failed")
            raise
        self._end_visits("stopped")
        self._wait_for_broker()

    def _look_until_the_end(self) -> None:
        while not self._stop.is_set():
            frame = self._capture.get(FRAME_TIMEOUT_S)
            if frame is None:
                if not self._stop.is_set():
                    log.info("the camera has come to its end after %d frames", self._frames)
                return
            self.look(frame)
            notify_systemd("WATCHDOG=1")

    def look(self, frame: Frame) -> list[ScoredFace]:
        """Take in one frame and publish what happened in it; return its faces."""
        faces = self._pipeline.follow(frame)
        self._frames += 1
        self._frame_s = frame.time_s
        with self._pipeline.stages.measure("smooth"):
            moments = self._episodes.update(faces, frame.time_s)
        with self._pipeline.stages.measure("publish"):
            self._tell(moments, seen=bool(faces))
        return faces

    def _tell(self, moments: list[Moment], *, seen: bool) -> None:
        for moment in moments:
            self._publish(moment)
        is_stale = seen and self._clock.monotonic() >= self._state_due_s
        if moments or is_stale or self._frames == 1:
            self._publish_state("ok")
        if self._health.is_due():
            self._publish_health()

    def _end_visits(self, camera: Literal["failed", "stopped"]) -> None:
        for moment in self._episodes.close(self._frame_s):
            self._publish(moment)
        self._publish_state(camera)
        self._publish_health()

    def _wait_for_broker(self) -> None:
        told = False
        while not self._publisher.drain(DRAIN_STEP_S):
            stats = self._publisher.stats()
            if self._stop.is_set():
                log.warning("%d events are kept in the outbox and sent at the next start", stats.depth)
                return
            if stats.last_refusal:
                raise ConfigError(f"{stats.last_refusal}; {stats.depth} events are kept in the outbox")
            notify_systemd("WATCHDOG=1")
            if not told:
                log.warning("waiting for the broker to take %d events; Ctrl-C stops, they are kept", stats.depth)
                told = True

    def _publish(self, moment: Moment) -> None:
        now_s = self._clock.unix_s()
        reading = moment.reading

        def build(seq: int) -> EmotionEvent:
            return EmotionEvent(
                event_type=moment.event_type,
                id=uuid7(round(now_s * 1000)),
                seq=seq,
                boot=self._identity.boot,
                time=utc_time(now_s),
                mono_ms=round(moment.time_s * 1000),
                time_synced=time_synced(),
                device=self._identity.device,
                model=self._identity.model,
                face=reading.face,
                box=reading.box,
                emotion=reading.emotion,
                confidence=reading.confidence,
                scores=reading.scores,
                duration_s=reading.duration_s,
            )

        log.info("face %d %s: %s %.2f", reading.face, moment.event_type, reading.emotion, reading.confidence)
        try:
            self._publisher.publish_event(build)
            self._storing = True
        except DeliveryError as error:  # looking goes on: a full disk may have room again
            if self._storing:
                log.error("events are lost: %s", error)  # noqa: TRY400 - one line, no traceback
            self._storing = False

    def _publish_state(self, camera: Literal["starting", "ok", "failed", "stopped"]) -> None:
        faces = self._episodes.readings()
        self._state_due_s = self._clock.monotonic() + STATE_REFRESH_S
        emotion = faces[0].emotion if faces else None
        now = utc_time(self._clock.unix_s())
        self._publisher.publish_state(State(faces=faces, emotion=emotion, time=now, camera=camera))

    def _publish_health(self) -> None:
        try:
            delivery = self._publisher.stats()
        except DeliveryError as error:  # as for an event: the card may answer again
            log.error("no health: %s", error)  # noqa: TRY400 - one line, no traceback
            return
        self._publisher.publish_health(
            self._health.make(
                frames=self._frames, capture=self._capture, stages=self._pipeline.stages, delivery=delivery
            )
        )
