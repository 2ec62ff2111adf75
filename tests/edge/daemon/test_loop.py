"""The loop with every seam faked: what is published, and how a run ends."""

import tempfile
import threading
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from edge.daemon.camera import WatchedCamera
from edge.daemon.loop import Daemon, Identity
from edge.daemon.privacy import PrivacyPause, pause
from edge.daemon.watchdog import LOOP_LIMIT_S, Watchdog
from edge.errors import CameraError, ConfigError, DeliveryError
from edge.events.payloads import PrivacyCommand
from edge.faces.types import Box, TrackedFace
from edge.frames import Frame
from edge.inference.manifest import LogScores
from edge.settings import CameraWatchSettings, Settings, SmoothingSettings
from edge.stages import Stages
from tests.fakes.broker import FakePublisher
from tests.fakes.camera import FakeCamera, make_frame
from tests.fakes.clock import FakeClock

HAPPY = np.array([0.01, 0.95, 0.01, 0.01, 0.02], np.float32)
SAD = np.array([0.01, 0.01, 0.95, 0.01, 0.02], np.float32)
IDENTITY = Identity("hallway", "b00t")


@dataclass
class FakePipeline:
    """Sees in each frame what a test has written down for its number."""

    script: dict[int, list[TrackedFace]] = field(default_factory=dict)
    stages: Stages = field(default_factory=Stages)
    classifier: Any = field(default_factory=lambda: SimpleNamespace(name="test@00000000", population=None))

    def follow(self, frame: Frame) -> list[TrackedFace]:
        return self.script.get(frame.index, [])

    def lose_sight(self) -> None:
        pass


def a_face(scores: NDArray[Any], track: int = 1) -> TrackedFace:
    nothing = np.zeros((68, 2), np.float32), np.zeros((48, 48), np.uint8)
    return TrackedFace(track, Box(10, 20, 100, 100), *nothing, scores)


class Run:
    def __init__(
        self,
        camera: FakeCamera,
        script: dict[int, list[TrackedFace]],
        publisher: FakePublisher,
        *,
        then: FakeCamera | None = None,
        endless: bool = False,
        settings: Settings | None = None,
        population: LogScores | None = None,
    ) -> None:
        """``then`` is what is opened after the first camera was closed."""
        sources = iter([camera])
        self.publisher = publisher
        self.clock = FakeClock()
        self.state_dir = Path(tempfile.mkdtemp())
        self.told_systemd: list[str] = []
        self.camera = WatchedCamera(
            lambda: next(sources, then or camera), settings=CameraWatchSettings(), endless=endless, clock=self.clock
        )
        self.camera.open()
        pipeline = FakePipeline(script)
        pipeline.classifier.population = population
        self.watchdog = Watchdog(self.clock, notify=self.told_systemd.append)
        self.daemon = Daemon(
            settings or Settings(device="hallway"),
            IDENTITY,
            camera=self.camera,
            pipeline=pipeline,  # type: ignore[arg-type]  # the part of it that the loop calls
            publisher=publisher,
            privacy=PrivacyPause(self.state_dir, self.clock),
            watchdog=self.watchdog,
            clock=self.clock,
        )

    def told(self) -> list[tuple[str, str]]:
        return [(event.event_type, event.emotion) for event in self.publisher.events]


def clip(frames: int) -> FakeCamera:
    return FakeCamera(*(make_frame(index) for index in range(frames)), live=False)


def test_a_visit_is_told_from_beginning_to_end() -> None:
    script = {index: [a_face(HAPPY if index < 30 else SAD)] for index in range(60)}
    run = Run(clip(60), script, FakePublisher())
    run.daemon.run()
    assert run.told() == [("face_appeared", "happy"), ("emotion_changed", "sad"), ("face_left", "sad")]
    assert [event.seq for event in run.publisher.events] == [1, 2, 3]
    assert {(e.device, e.boot, e.model) for e in run.publisher.events} == {("hallway", "b00t", "test@00000000")}
    assert len({event.id for event in run.publisher.events}) == 3
    assert run.publisher.events[-1].duration_s == pytest.approx(59 / 15, abs=0.001)


@pytest.mark.parametrize("measured", [True, False], ids=["population", "no population"])
def test_event_says_that_a_baseline_was_applied(measured: bool) -> None:
    at_rest = a_face(np.array([0.05, 0.02, 0.48, 0.01, 0.44], np.float32))
    settings = Settings(device="hallway", smoothing=SmoothingSettings(baseline=True))
    population = (-3.2, -3.5, -2.5, -4.4, -0.75) if measured else None
    script = {second: [at_rest] for second in range(60)}
    run = Run(clip(0), script, FakePublisher(), settings=settings, population=population)
    for second in script:
        run.daemon.process(make_frame(second, time_s=float(second)))
    run.daemon.end("stopped")
    first, *_, left = run.publisher.events
    assert "baseline" not in msgspec.to_builtins(first)
    assert msgspec.to_builtins(left).get("baseline") is (True if measured else None)


def test_state_follows_and_is_empty_at_start_and_end() -> None:
    run = Run(clip(20), {index: [a_face(HAPPY)] for index in range(20)}, FakePublisher())
    run.daemon.run()
    told = [(state.camera, state.emotion) for state in run.publisher.states]
    assert told == [("starting", None), ("ok", "happy"), ("stopped", None)]


def test_an_empty_scene_is_no_event_and_says_that_it_is_seen() -> None:
    run = Run(clip(50), {}, FakePublisher())
    run.daemon.run()
    assert run.told() == []
    assert [state.camera for state in run.publisher.states] == ["starting", "ok", "stopped"]


def test_health_is_told_at_once_and_then_by_the_clock() -> None:
    run = Run(clip(100), {}, FakePublisher())
    for _ in range(100):
        run.daemon.step()
        run.clock.pass_time(1.0)
    healths = run.publisher.healths
    assert [health.frames for health in healths] == [1, 31, 61, 91]
    assert healths[1].frames_per_s == pytest.approx(1.0)
    assert healths[-1].memory_mb > 1


def test_a_camera_that_fails_ends_the_visits_and_the_run() -> None:
    camera = FakeCamera(make_frame(0), make_frame(1), CameraError("unplugged"), live=False)
    run = Run(camera, {0: [a_face(HAPPY)], 1: [a_face(HAPPY)]}, FakePublisher())
    with pytest.raises(CameraError, match="unplugged"):
        run.daemon.run()
    assert run.told() == [("face_appeared", "happy"), ("face_left", "happy")]
    assert run.publisher.states[-1].camera == "failed"


def test_stop_ends_a_run_that_waits_for_a_silent_camera() -> None:
    frame_taken = threading.Event()
    camera = FakeCamera(make_frame(0), threading.Event(), live=True)
    run = Run(camera, {}, FakePublisher())
    process = run.daemon.process

    def process_and_tell(frame: Frame) -> list[TrackedFace]:
        frame_taken.set()
        return process(frame)

    run.daemon.process = process_and_tell  # type: ignore[method-assign]
    thread = threading.Thread(target=run.daemon.run)
    thread.start()
    assert frame_taken.wait(10)
    run.daemon.stop()
    thread.join(10)
    assert not thread.is_alive()
    run.camera.close()


def test_events_that_nobody_takes_are_kept_when_a_stop_comes(caplog: pytest.LogCaptureFixture) -> None:
    run = Run(clip(3), {index: [a_face(HAPPY)] for index in range(3)}, FakePublisher(acknowledges=False))
    waiting = threading.Event()
    drain = run.publisher.drain

    def tell_and_drain(timeout_s: float) -> bool:
        waiting.set()
        return drain(timeout_s)

    run.publisher.drain = tell_and_drain  # type: ignore[method-assign]
    thread = threading.Thread(target=run.daemon.run)
    thread.start()
    assert waiting.wait(10)
    run.daemon.stop()
    thread.join(10)
    assert not thread.is_alive()
    assert "2 events are kept in the outbox" in caplog.text


def test_a_refused_login_ends_a_finished_run_with_the_reason() -> None:
    class Refusing(FakePublisher):
        def stats(self):  # type: ignore[no-untyped-def]
            from dataclasses import replace

            return replace(super().stats(), last_refusal="the broker refused the login: bad user name or password")

    run = Run(clip(3), {index: [a_face(HAPPY)] for index in range(3)}, Refusing(acknowledges=False))
    with pytest.raises(ConfigError, match=r"bad user name or password; 2 events are kept") as caught:
        run.daemon.run()
    assert caught.value.exit_code == 78


def test_what_happens_in_one_frame_is_handed_over_at_once() -> None:
    script = {index: [a_face(HAPPY, 1), a_face(SAD, 2)] for index in range(20)}
    run = Run(clip(20), script, FakePublisher())
    run.daemon.run()
    assert run.told() == [
        ("face_appeared", "happy"),
        ("face_appeared", "sad"),
        ("face_left", "happy"),
        ("face_left", "sad"),
    ]
    assert run.publisher.batches == [2, 2]
    assert [event.face for event in run.publisher.events] == [1, 2, 1, 2]


def test_events_not_stored_are_counted_once_there_is_room_again(caplog: pytest.LogCaptureFixture) -> None:
    class FullAtFirst(FakePublisher):
        full = True

        def publish_events(self, events):  # type: ignore[no-untyped-def]
            if self.full:
                self.full = False
                raise DeliveryError("the disk is full")
            return super().publish_events(events)

    script = {index: [a_face(HAPPY, 1), a_face(SAD, 2), a_face(SAD, 3)] for index in range(20)}
    run = Run(clip(20), script, FullAtFirst())
    run.daemon.run()
    assert caplog.text.count("events are lost: the disk is full") == 1
    assert caplog.text.count("events are stored again; 3 were lost") == 1
    assert run.publisher.batches == [3], "the three that left"


def test_a_full_disk_is_said_once_and_looking_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    class Full(FakePublisher):
        def publish_events(self, events):  # type: ignore[no-untyped-def]
            raise DeliveryError("the disk is full")

    script = {index: [a_face(HAPPY if index < 20 else SAD)] for index in range(40)}
    run = Run(clip(40), script, Full())
    run.daemon.run()
    assert caplog.text.count("the disk is full") == 1
    assert run.publisher.states[-1].camera == "stopped"


def test_camera_that_fails_ends_visits_and_is_published() -> None:
    broken = CameraError("the cable is out")
    failing = FakeCamera(make_frame(0), make_frame(1), broken, live=False)
    run = Run(failing, {0: [a_face(HAPPY)], 1: [a_face(HAPPY)]}, FakePublisher(), then=clip(1000), endless=True)
    for _ in range(3):
        run.daemon.step()
    assert run.told() == [("face_appeared", "happy"), ("face_left", "happy")]
    assert run.publisher.states[-1].camera == "failed"
    told = run.publisher.healths[-1]
    assert (told.camera_fault, told.camera_failures) == ("the cable is out", 1)
    while run.camera.state != "ok":
        run.clock.pass_time(0.1)
        run.daemon.step()
    assert [state.camera for state in run.publisher.states] == ["ok", "failed", "ok"]
    assert run.publisher.healths[-1].camera_fault is None
    run.camera.close()


def test_health_after_a_pause_soon_shows_that_nothing_waits() -> None:
    run = Run(clip(50), {index: [a_face(HAPPY)] for index in range(50)}, FakePublisher())
    run.daemon.step()
    run.publisher.acknowledges = False
    run.publisher.commands.append(PrivacyCommand(paused=True))
    run.daemon.step()
    assert [health.outbox_depth for health in run.publisher.healths][-1] > 0, "what has left is on its way"
    run.publisher.acknowledges = True
    run.clock.pass_time(2)
    run.daemon.step()
    assert [health.outbox_depth for health in run.publisher.healths][-1] == 0
    run.camera.close()


def test_command_closes_the_camera_and_another_opens_it_again() -> None:
    first = clip(50)
    run = Run(first, {index: [a_face(HAPPY)] for index in range(50)}, FakePublisher(), then=clip(50))
    run.daemon.step()
    run.publisher.commands.append(PrivacyCommand(paused=True, for_s=3600))
    run.daemon.step()
    assert first.closed.wait(20)
    assert run.told() == [("face_appeared", "happy"), ("face_left", "happy")]
    assert (run.publisher.states[-1].camera, run.publisher.states[-1].faces) == ("paused", [])
    assert run.publisher.healths[-1].paused
    told = run.publisher.privacies[-1]
    assert (told.paused, told.for_s, told.until) == (True, 3600, "2025-06-15T16:06:40.000Z")
    frames = run.publisher.healths[-1].frames
    for _ in range(3):
        run.daemon.step()
    run.clock.pass_time(3600)
    while run.camera.state != "ok":
        run.daemon.step()
    assert not run.publisher.privacies[-1].paused
    assert run.publisher.states[-1].camera == "ok"
    assert not run.publisher.healths[-1].paused
    run.clock.pass_time(30)
    run.daemon.step()
    assert run.publisher.healths[-1].frames == frames + 2
    run.camera.close()


def test_a_pause_from_before_the_start_keeps_the_camera_closed() -> None:
    run = Run(clip(50), {}, FakePublisher())
    run.camera.close()
    pause(run.state_dir, None, run.clock)
    run.daemon.step()
    assert run.publisher.states[-1].camera == "paused"
    assert run.publisher.privacies[-1].paused
    assert run.publisher.healths[-1].frames == 0


@pytest.mark.parametrize("jump_s", [365 * 86_400.0, -365 * 86_400.0])
def test_date_jump_of_a_year_loses_nothing_and_stops_no_timer(jump_s: float) -> None:
    run = Run(clip(130), {index: [a_face(HAPPY if index < 60 else SAD)] for index in range(120)}, FakePublisher())
    for index in range(130):
        if index == 30:
            run.clock.jump(jump_s)
            run.clock.knows_date = False
        run.daemon.step()
        run.clock.pass_time(1.0)
    assert [told for told, _ in run.told()] == ["face_appeared", "emotion_changed"]
    assert [event.time_synced for event in run.publisher.events] == [True, False]
    assert [event.time[:4] for event in run.publisher.events] == ["2025", "2026" if jump_s > 0 else "2024"]
    assert [event.mono_ms for event in run.publisher.events] == sorted(event.mono_ms for event in run.publisher.events)
    assert len(run.publisher.healths) == 5  # at the start, then every 30 s
    assert {round(health.frames_per_s) for health in run.publisher.healths[1:]} == {1}


def test_the_loop_beats_while_frames_come_and_while_it_is_paused() -> None:
    run = Run(clip(50), {}, FakePublisher())
    for _ in range(2):
        for _ in range(10):
            run.clock.pass_time(LOOP_LIMIT_S + 1)
            run.daemon.step()
            assert run.watchdog.check() == []
        pause(run.state_dir, None, run.clock)
    assert run.camera.state == "paused"


def test_no_picture_is_written_or_published(tmp_path: Path) -> None:
    """Every byte that leaves the loop is a payload of a known type, and none of these can hold an image."""
    run = Run(clip(40), {index: [a_face(HAPPY)] for index in range(40)}, FakePublisher())
    run.daemon.run()
    assert list(run.state_dir.iterdir()) == []
    for sent in (*run.publisher.events, *run.publisher.states, *run.publisher.healths, *run.publisher.privacies):
        assert len(msgspec.json.encode(sent)) < 1000
