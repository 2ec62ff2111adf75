"""Measures what a frame costs, in the daemon's own loop, for `emotion-edge bench`.

Frames are read in small groups into memory, then processed one after another, so that decoding and waiting for the
camera are measured apart. Events go to an outbox in a temporary folder, and to no broker.
"""

import logging
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from edge import __version__
from edge.cameras import is_camera, open_camera
from edge.cli.bench import BenchResult, StageCost
from edge.clock import SystemClock, new_boot_id
from edge.daemon.camera import CLIP_TIMEOUT_S, WatchedCamera
from edge.daemon.loop import Daemon, Identity
from edge.daemon.machine import peak_memory_mb
from edge.daemon.privacy import PrivacyPause
from edge.daemon.watchdog import Watchdog
from edge.errors import CameraError, redacted
from edge.frames import Frame
from edge.mqtt.outbox import Outbox
from edge.mqtt.publisher import Publisher
from edge.pipeline import Pipeline, load_pipeline
from edge.settings import MqttSettings, Settings
from edge.stages import STAGES, Stage, Stages, percentile

GROUP_BYTES = 8_000_000
"""Luma in memory at a time: enough for a decoder's threads to go idle, little compared with the models."""
GROUP_FRAMES = 30


def run_bench(settings: Settings, *, frames: int | None = None) -> BenchResult:
    """Process ``frames`` frames of the camera (None: all) and return what they cost.

    Raises `BundleError`, `LandmarkModelError` or `CameraError`: as for the daemon; also if the camera gives no frame at
    all.
    """
    logging.getLogger("edge.daemon").setLevel(logging.WARNING)  # without the benchmark's events
    stages = Stages(kept=frames or 1_000_000, with_cpu=True)
    with suppress(OSError):  # the detector is cached there, as in the daemon
        Path(settings.state_dir).mkdir(mode=0o700, parents=True, exist_ok=True)
    pipeline = load_pipeline(settings, stages, live=is_camera(settings.camera))
    with _daemon(settings, pipeline) as (daemon, camera):
        started = process_age_s(), time.process_time()
        tally = _Tally()
        while group := _take(camera, stages, tally, frames):
            tally.measure(daemon, group)
    stages.end_frame()
    if not tally.frames:
        raise CameraError(f"{redacted(settings.camera)}: gave no frame to measure")
    return BenchResult(
        camera=redacted(settings.camera),
        width=tally.shape[1],
        height=tally.shape[0],
        frames=tally.frames,
        cpu_ms_per_frame=round(tally.cpu_s / tally.frames * 1000, 4),
        frames_per_s=round(tally.frames / tally.wall_s, 1),
        capture_cpu_ms_per_frame=round(tally.capture_cpu_s / tally.frames * 1000, 4),
        face_recall=round(tally.with_face / tally.frames, 4),
        visits=len(tally.visits),
        peak_memory_mb=peak_memory_mb(),
        startup_s=round(started[0], 2),
        startup_cpu_s=round(started[1], 2),
        stages={name: _cost(stages, name, tally.frames) for name in STAGES},
        bundle=pipeline.classifier.name,
        version=__version__,
        cores=os.cpu_count() or 1,
    )


def process_age_s() -> float:
    """Seconds since this process was started (``/proc/self/stat``, field 22, to a hundredth)."""
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    began_s = int(fields[19]) / os.sysconf("SC_CLK_TCK")
    return time.clock_gettime(time.CLOCK_BOOTTIME) - began_s


@dataclass(slots=True)
class _Tally:
    frames: int = 0
    with_face: int = 0
    visits: set[int] = field(default_factory=set)
    shape: tuple[int, ...] = (0, 0)
    cpu_s: float = 0.0
    wall_s: float = 0.0
    capture_cpu_s: float = 0.0

    def measure(self, daemon: Daemon, group: list[Frame]) -> None:
        wall_began_s, cpu_began_s = time.perf_counter(), time.process_time()
        seen = [daemon.process(frame) for frame in group]
        self.cpu_s += time.process_time() - cpu_began_s
        self.wall_s += time.perf_counter() - wall_began_s
        self.frames += len(seen)
        self.with_face += sum(bool(faces) for faces in seen)
        self.visits |= {face.track for faces in seen for face in faces}
        self.shape = group[-1].luma.shape


@contextmanager
def _daemon(settings: Settings, pipeline: Pipeline) -> Iterator[tuple[Daemon, WatchedCamera]]:
    identity = Identity(settings.device, new_boot_id())
    with tempfile.TemporaryDirectory(prefix="emotion-edge-bench-") as folder:
        outbox = Outbox(Path(folder) / "outbox.sqlite3", max_events=100_000, max_age_s=86_400)
        # Never started, so the broker of the settings and its files do not matter.
        publisher = Publisher(
            MqttSettings(), settings.device, outbox, boot=identity.boot, version=__version__,
            model=lambda: pipeline.classifier.name,
        )  # fmt: skip
        clock = SystemClock()
        # Not endless: a failing camera ends the measurement.
        camera = WatchedCamera(
            lambda: open_camera(settings.camera, rotate=settings.camera_rotate, flip=settings.camera_flip),
            settings=settings.camera_watch,
            endless=False,
            clock=clock,
        )
        try:
            camera.open()
            daemon = Daemon(
                settings, identity, camera=camera, pipeline=pipeline, publisher=publisher,
                privacy=PrivacyPause(Path(folder), clock), watchdog=Watchdog(clock), clock=clock,
            )  # fmt: skip
            yield daemon, camera
        finally:
            camera.close()
            outbox.close()


def _take(camera: WatchedCamera, stages: Stages, tally: _Tally, limit: int | None) -> list[Frame]:
    """Read the next frames into memory, without colour; return an empty list at the end."""
    began_s = time.process_time()
    group: list[Frame] = []
    held = 0
    while len(group) < GROUP_FRAMES and held < GROUP_BYTES and (limit is None or tally.frames + len(group) < limit):
        with stages.measure("capture"):
            frame = camera.next(CLIP_TIMEOUT_S)
        stages.end_frame()
        if frame is None:
            break
        group.append(replace(frame, bgr=None))
        held += frame.luma.nbytes
    tally.capture_cpu_s += time.process_time() - began_s
    return group


def _cost(stages: Stages, stage: Stage, frames: int) -> StageCost:
    wall_ms, cpu_ms = stages.wall_ms(stage), stages.cpu_ms(stage)
    return StageCost(
        frames=len(wall_ms),
        median_ms=round(percentile(wall_ms, 50), 4),
        p95_ms=round(percentile(wall_ms, 95), 4),
        cpu_median_ms=round(percentile(cpu_ms, 50), 4),
        cpu_p95_ms=round(percentile(cpu_ms, 95), 4),
        cpu_ms_per_frame=round(sum(cpu_ms) / frames, 4),
    )
