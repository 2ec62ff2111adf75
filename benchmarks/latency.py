"""Measure the time from a frame to the broker's acknowledgement, on loopback.

    python -m benchmarks.latency --clip ../shared/media/sad-to-laughing.mp4 [--frames 400]

Every frame with a face becomes an event, as if its emotion had changed. It goes through the pipeline, the outbox on
disk (in the folder for temporary files) and mosquitto on loopback. The time runs from the frame in memory until the
outbox is empty again, one frame after the other. Prints percentiles of the wall-clock time, and the pipeline's share.
"""

import argparse
import os
import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.daemon import mosquitto
from edge.cameras import open_camera
from edge.clock import new_boot_id, utc_time, uuid7
from edge.emotions import EMOTIONS
from edge.events.payloads import UNNUMBERED, EmotionEvent
from edge.faces.types import TrackedFace
from edge.mqtt.outbox import Outbox
from edge.mqtt.publisher import Publisher
from edge.pipeline import load_pipeline
from edge.settings import MqttSettings, Settings


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clip", required=True)
    parser.add_argument("--frames", type=int, default=400)
    arguments = parser.parse_args()
    pipeline = load_pipeline(Settings(), live=True)
    source = open_camera(f"file:{arguments.clip}?loop=1")
    whole_ms, pipeline_ms = [], []
    with mosquitto() as url, tempfile.TemporaryDirectory(prefix="emotion-edge-latency-") as folder:
        outbox = Outbox(Path(folder) / "outbox.sqlite3", max_events=1000, max_age_s=3600)
        publisher = Publisher(
            MqttSettings(url=url), "latency", outbox, boot=new_boot_id(), version="0", model=lambda: "m"
        )
        publisher.start()
        for index in range(arguments.frames + 20):
            frame = source.read(5)
            assert frame is not None
            frame = replace(frame, bgr=None)
            began_s = time.perf_counter()
            faces = pipeline.follow(frame)
            looked_s = time.perf_counter()
            if not faces:
                continue
            publisher.publish_events([event(faces[0])])
            if not publisher.drain(10):
                raise SystemExit("the broker does not acknowledge")
            if index >= 20:  # the first ones include connecting
                whole_ms.append(1000 * (time.perf_counter() - began_s))
                pipeline_ms.append(1000 * (looked_s - began_s))
        publisher.stop(3)
        outbox.close()
    source.close()
    when = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    table = Table(title=f"frame to PUBACK, {len(whole_ms)} events, {when}, load {os.getloadavg()[0]:.1f}")
    for name in ("ms", "p50", "p90", "p99", "most"):
        table.add_column(name, justify="left" if name == "ms" else "right")
    for name, values in (("frame to PUBACK", whole_ms), ("of which the pipeline", pipeline_ms)):
        table.add_row(name, *(f"{value:.1f}" for value in (*np.percentile(values, (50, 90, 99)), max(values))))
    Console().print(table)


def event(face: TrackedFace) -> EmotionEvent:
    """An event about this face."""
    now_s = time.time()
    return EmotionEvent(
        event_type="emotion_changed", id=uuid7(round(now_s * 1000)), seq=UNNUMBERED, boot="b", time=utc_time(now_s),
        mono_ms=round(time.monotonic() * 1000), time_synced=True, device="latency", model="m", face=face.track,
        box=tuple(face.box), emotion=str(EMOTIONS[int(face.scores.argmax())]),  # type: ignore[arg-type]  # one of EMOTIONS
        confidence=float(face.scores.max()), duration_s=0.0,
        scores={str(emotion): float(score) for emotion, score in zip(EMOTIONS, face.scores, strict=True)},
    )  # fmt: skip


if __name__ == "__main__":
    main()
