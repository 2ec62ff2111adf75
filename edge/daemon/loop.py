"""The daemon's loop: takes a frame, follows its faces, publishes what happened to them."""

import logging
import threading
from dataclasses import dataclass

from edge.clock import Clock, utc_time, uuid7
from edge.daemon.camera import WatchedCamera
from edge.daemon.event_log import EventLog
from edge.daemon.governor import Governor
from edge.daemon.health import HealthReporter
from edge.daemon.machine import notify_systemd
from edge.daemon.privacy import PrivacyPause
from edge.daemon.watchdog import LOOP_LIMIT_S, Watchdog
from edge.errors import CameraError, ConfigError, DeliveryError
from edge.events.baseline import missing_population
from edge.events.payloads import UNNUMBERED, CameraState, EmotionEvent, Health, State
from edge.events.visits import Moment, Visits
from edge.faces.types import TrackedFace
from edge.frames import Frame
from edge.inference import Classifier
from edge.mqtt.interface import EventPublisher, PublisherStats
from edge.pipeline import Pipeline
from edge.settings import Settings
from edge.web import View

STEP_S = 0.25
"""Seconds a step waits for a frame before it attends to the rest: a stop, the privacy pause, health."""
STATE_REFRESH_S = 2.0
"""Seconds between two retained states while somebody is in view; an event publishes one at once."""
SETTLE_S = 2.0
"""Seconds after a camera closed or failed until health is published again: its last events are delivered by then."""
DRAIN_STEP_S = 0.5
"""Seconds a wait for the broker lasts before it checks for a stop signal or a refusal."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Identity:
    """Which device this is, and which start of its daemon."""

    device: str
    boot: str


class Daemon:
    """Joins camera, faces, visits and broker. `run` returns when the source ends or `stop` was called."""

    def __init__(
        self,
        settings: Settings,
        identity: Identity,
        *,
        camera: WatchedCamera,
        pipeline: Pipeline,
        publisher: EventPublisher,
        privacy: PrivacyPause,
        watchdog: Watchdog,
        clock: Clock,
        view: View | None = None,
    ) -> None:
        self._identity = identity
        self._camera = camera
        self._pipeline = pipeline
        self._publisher = publisher
        self._privacy = privacy
        self._governor = Governor(settings.power, clock)
        self._pulse = watchdog.pulse("loop", LOOP_LIMIT_S)
        self._clock = clock
        self._smoothing = settings.smoothing
        self._visits = Visits(settings.smoothing, forget_after_s=settings.faces.forget_after_s)
        self._health = HealthReporter(clock, interval_s=settings.mqtt.health_interval_s)
        self._event_log = EventLog(clock, each=settings.log.events)
        self._view = view or View(clock)
        self._view_health = HealthReporter(clock, interval_s=0.0)  # its rates are those since the page's last status
        self._stop = threading.Event()
        self._frames = 0
        self._frame_s = 0.0
        self._published_camera: CameraState = "starting"
        self._state_due_s = 0.0
        self._lost = 0

    def stop(self) -> None:
        """Ask `run` to end; may be called from any thread or signal handler."""
        self._stop.set()

    def take_classifier(self, classifier: Classifier) -> None:
        """Use another classifier from the next frame on; from any thread. Visits and their smoothing go on."""
        self._pipeline.classifier = classifier  # the one place that holds the model's name
        self._warn_of_baseline()
        self._health.make_due()
        self._publisher.publish_status()

    def run(self) -> None:
        """Run until the source ends or `stop` is called; after the end of a clip, wait until the broker has everything.

        Raises `CameraError`: the camera gives no frames, even after reopening. Events so far are stored, and sent now
        or at the next start.
        Raises `ConfigError`: the source has ended and the broker refuses the login, so that waiting would never end.
        """
        self._publish_state("starting")
        self._warn_of_baseline()
        self._obey_privacy(at_start=True)
        notify_systemd("READY=1")
        try:
            while not self._stop.is_set() and not self._camera.ended:
                self.step()
        except CameraError:
            self.end("failed")
            raise
        if self._camera.ended:
            log.info("the clip has ended after %d frames", self._frames)
        self.end("stopped")
        self._wait_for_broker()

    def _warn_of_baseline(self) -> None:
        fault = missing_population(self._smoothing, self._pipeline.classifier)
        if fault is not None:
            log.warning("%s", fault)

    def step(self) -> None:
        """Take one frame, if one is due and there, and publish what happened; `run` repeats this."""
        self._obey_privacy()
        rest_s = self._governor.rest_s()
        if rest_s:
            self._stop.wait(min(rest_s, STEP_S))
        frame = self._camera.next(STEP_S) if rest_s <= STEP_S else None
        if frame is not None:
            self._governor.begin_frame()
            self.process(frame)
        self._follow_camera()
        if self._health.is_due():
            self._publish_health()
        self._event_log.write_counts()
        if self._view.wants_status():
            self._show_status()
        self._pulse.beat()
        if frame is None and not self._camera.is_open:
            self._stop.wait(STEP_S)

    def _obey_privacy(self, *, at_start: bool = False) -> None:
        for command in (*self._publisher.take_commands(), *self._view.take_commands()):
            self._privacy.command(paused=command.paused, for_s=command.for_s)
        if not self._privacy.check() and not at_start:
            return
        if self._privacy.pause is not None:
            log.info("privacy pause: the camera is closed")
            self._end_visits()
            self._publisher.publish_privacy(self._privacy.payload())
            self._camera.pause()
        else:
            if not at_start:
                log.info("the privacy pause is over: the camera is opened")
            self._publisher.publish_privacy(self._privacy.payload())
            self._camera.resume()

    def process(self, frame: Frame) -> list[TrackedFace]:
        """Process one frame and publish what happened in it; return its faces."""
        faces = self._pipeline.follow(frame)
        self._frames += 1
        self._frame_s = frame.time_s
        with self._pipeline.stages.measure("smooth"):
            moments = self._visits.update(faces, frame.time_s, self._pipeline.classifier.population)
        with self._pipeline.stages.measure("publish"):
            self._publish(moments)
            is_stale = bool(faces) and self._clock.monotonic() >= self._state_due_s
            if moments or is_stale:
                self._publish_state(self._camera.state)
        if self._view.wants_scene():
            self._view.show(frame, faces, self._visits.readings())
        return faces

    def _follow_camera(self) -> None:
        """Publish the camera's state whenever it changes; visits end when the camera stops seeing."""
        state = self._camera.state
        if state == self._published_camera:
            return
        if state != "ok":
            self._end_visits()
        self._publish_state(state)
        self._publish_health()
        self._show_status()
        if state != "ok":
            self._health.make_due(in_s=SETTLE_S)  # the events of visits that ended are still in the outbox now

    def end(self, camera: CameraState) -> None:
        """End the visits, and publish that and the last state of the camera."""
        self._end_visits()
        self._event_log.write_counts(at_once=True)
        self._publish_state(camera)
        self._publish_health()
        self._show_status()

    def _end_visits(self) -> None:
        self._publish(self._visits.close(self._frame_s))
        self._pipeline.lose_sight()
        self._view.lose_sight()

    def _wait_for_broker(self) -> None:
        warned = False
        while not self._publisher.drain(DRAIN_STEP_S):
            stats = self._publisher.stats()
            if self._stop.is_set():
                log.warning("%d events are kept in the outbox and sent at the next start", stats.depth)
                return
            if stats.last_refusal:
                raise ConfigError(f"{stats.last_refusal}; {stats.depth} events are kept in the outbox")
            self._pulse.beat()
            if not warned:
                log.warning("waiting for the broker to take %d events; Ctrl-C stops, they are kept", stats.depth)
                warned = True

    def _publish(self, moments: list[Moment]) -> None:
        if not moments:
            return
        self._event_log.add(moments)
        self._view.happened(moments)
        try:
            self._publisher.publish_events([self._event(moment) for moment in moments])
        except DeliveryError as error:  # the loop goes on: a full disk may have room again
            if not self._lost:
                log.error("events are lost: %s", error)  # noqa: TRY400 - one line, no traceback
            self._lost += len(moments)
            return
        if self._lost:
            log.warning("events are stored again; %d were lost", self._lost)
            self._lost = 0

    def _event(self, moment: Moment) -> EmotionEvent:
        now_s = self._clock.unix_s()
        reading = moment.reading
        return EmotionEvent(
            event_type=moment.event_type,
            id=uuid7(round(now_s * 1000)),
            seq=UNNUMBERED,
            boot=self._identity.boot,
            time=utc_time(now_s),
            mono_ms=round(moment.time_s * 1000),
            time_synced=self._clock.synced(),
            device=self._identity.device,
            model=self._pipeline.classifier.name,
            face=reading.face,
            box=reading.box,
            emotion=reading.emotion,
            confidence=reading.confidence,
            scores=reading.scores,
            duration_s=reading.duration_s,
            baseline=reading.baseline,
        )

    def _publish_state(self, camera: CameraState) -> None:
        faces = self._visits.readings()
        self._published_camera = camera
        self._state_due_s = self._clock.monotonic() + STATE_REFRESH_S
        emotion = faces[0].emotion if faces else None
        now = utc_time(self._clock.unix_s())
        self._publisher.publish_state(State(faces=faces, emotion=emotion, time=now, camera=camera))

    def _publish_health(self) -> None:
        delivery = self._delivery()
        if delivery is not None:
            self._publisher.publish_health(self._make_health(self._health, delivery))

    def _show_status(self) -> None:
        delivery = self._delivery()
        if delivery is not None:
            self._view.tell(self._make_health(self._view_health, delivery), self._privacy.payload(), delivery)

    def _delivery(self) -> PublisherStats | None:
        try:
            return self._publisher.stats()
        except DeliveryError as error:  # as for an event: the card may answer again
            log.error("no health: %s", error)  # noqa: TRY400 - one line, no traceback
            return None

    def _make_health(self, reporter: HealthReporter, delivery: PublisherStats) -> Health:
        return reporter.make(
            frames=self._frames,
            camera=self._camera,
            governor=self._governor,
            stages=self._pipeline.stages,
            bundle=self._pipeline.classifier.name,
            delivery=delivery,
        )
