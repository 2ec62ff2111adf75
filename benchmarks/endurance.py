"""Check that the daemon's memory stays flat over 300,000 frames of a looped clip.

    python -m benchmarks.endurance --clip ../shared/media/sad-to-laughing.mp4 [--frames 300000] [--plot FILE]

Starts a mosquitto on loopback and `emotion-edge run` on the looped clip at full speed, reads frame count and resident
memory from the daemon's health messages, one a second, and stops it after ``--frames``. Takes about 20 minutes on an
idle desktop core. Flat means that no later resident set is more than 2 % above the one at 3,000 frames.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion
from rich.console import Console

from benchmarks.daemon import mosquitto
from edge.events.payloads import Health

SETTLED = 3000


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clip", type=Path, required=True)
    parser.add_argument("--frames", type=int, default=300_000)
    parser.add_argument("--json", type=Path, help="write the figures here too")
    parser.add_argument("--plot", type=Path, help="draw them into this PNG (needs matplotlib)")
    arguments = parser.parse_args()
    points: list[tuple[int, float]] = []
    enough = threading.Event()

    def note(_client: Any, _data: Any, message: paho.MQTTMessage) -> None:
        health = msgspec.json.decode(message.payload, type=Health)
        points.append((health.frames, health.memory_mb))
        if health.frames >= arguments.frames:
            enough.set()

    with mosquitto() as url, tempfile.TemporaryDirectory(prefix="emotion-edge-endurance-") as folder:
        client = paho.Client(CallbackAPIVersion.VERSION2)
        client.on_message = note
        client.connect("127.0.0.1", int(url.rpartition(":")[2]))
        client.subscribe("emotion/1/endurance/health", qos=1)
        client.loop_start()
        command = [sys.executable, "-m", "edge", "run", "--quiet", "--camera", f"file:{arguments.clip}?loop=1",
                   "--device", "endurance", "--mqtt", url, "--state-dir", folder, "--config", os.devnull]  # fmt: skip
        environment = {**os.environ, "EMOTION_EDGE__MQTT__HEALTH_INTERVAL_S": "1"}
        with subprocess.Popen(command, env=environment) as daemon:
            while daemon.poll() is None and not enough.wait(1):
                pass
            daemon.send_signal(signal.SIGTERM)
        client.loop_stop()
    report(points, arguments.frames)
    if arguments.json:
        arguments.json.write_text(json.dumps(points) + "\n")
    if arguments.plot:
        plot(points, arguments.plot)


def report(points: list[tuple[int, float]], wanted: int) -> None:
    """Print how memory changed."""
    later = [(frames, memory_mb) for frames, memory_mb in points if frames >= SETTLED]
    if not later:
        raise SystemExit(f"the daemon ended after {points[-1][0] if points else 0} frames")
    first, most = later[0][1], max(memory_mb for _, memory_mb in later)
    console = Console()
    console.print(f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {later[-1][0]} of {wanted} frames")
    console.print(
        f"memory at {later[0][0]} frames: {first:.1f} MB, most after that {most:.1f} MB, last {later[-1][1]:.1f} MB"
    )
    console.print(f"growth: {100 * (most / first - 1):+.2f} % (2 % allowed)")


def plot(points: list[tuple[int, float]], path: Path) -> None:
    """Draw memory over frames."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 2.8), layout="constrained")
    axes.plot([frames / 1000 for frames, _ in points], [memory_mb for _, memory_mb in points], color="#2a6f97")
    axes.set(xlabel="thousand frames", ylabel="resident memory, MB", ylim=(0, None))
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=90)


if __name__ == "__main__":
    main()
