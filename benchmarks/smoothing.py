"""Compare settings of smoothing on the labelled parts of clips, clean and as daily life shows them.

    python -m benchmarks.smoothing [--media ../shared/media] [--no-mirror]

Every clip is followed as the daemon follows a camera, once for each change of `CHANGES`; its scores are then smoothed
with each row's settings. Right and uncertain are shares of the labelled frames with a face (`benchmarks.wild.LABELS`),
each emotion of each clip alike; changes are those of the stable emotion in a minute.
"""

import argparse
import os
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.degraded import Scene, blur, darken_and_noise
from benchmarks.wild import LABELS, lumas
from edge.emotions import UNCERTAIN
from edge.events.smoothing import EmotionSmoother
from edge.frames import Frame
from edge.inference.manifest import LogScores
from edge.pipeline import load_pipeline
from edge.settings import FaceSettings, Settings, SmoothingSettings

FPS = 24
CHANGES = {"clean": None, "blurred by 3 %": blur(0.03), "dark, with noise": darken_and_noise}

ROWS: dict[str, dict[str, float]] = {
    "as it ships": {},
    "not smoothed": {"confidence_floor": 0.0, "margin": 0.0, "time_constant_s": 0.0, "hold_s": 0.0},
    **{f"confidence_floor {value}": {"confidence_floor": value} for value in (0.3, 0.35, 0.4, 0.5)},
    **{f"margin {value}": {"margin": value} for value in (0.0, 0.04, 0.15)},
    **{f"time_constant_s {value}": {"time_constant_s": value} for value in (0.2, 0.3, 0.4, 0.9, 1.5)},
    "baseline": {"baseline": True},
    **{f"hold_s {value}": {"hold_s": value} for value in (0.0, 0.6)},
}


@dataclass(frozen=True, slots=True, eq=False)
class Followed:
    """The largest face of each frame of one clip that has one."""

    change: str
    times_s: list[float]
    scores: NDArray[np.float32]
    labels: list[str]
    """emotion, or empty"""
    population: LogScores | None
    """of the classifier"""


def main() -> None:
    """Follow all clips, then print one row for each choice of settings."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--media", type=Path, default=Path(__file__).resolve().parents[2] / "shared/media")
    parser.add_argument("--times", type=int, default=1, help="play each clip so often in one visit")
    parser.add_argument("--no-mirror", action="store_true", help="every look unmirrored, as with faces.mirror = false")
    arguments = parser.parse_args()
    settings = Settings(faces=FaceSettings(mirror=not arguments.no_mirror))
    clips = [follow(arguments.media, clip, change, settings) for change in CHANGES for clip in LABELS]
    clips = [played(clip, arguments.times) for clip in clips]
    title = f"{len(clips)} clips, {time.strftime('%Y-%m-%d %H:%M')}, load {os.getloadavg()[0]:.1f}"
    table = Table(title=f"{title}: right / uncertain, and changes a minute")
    table.add_column("")
    for change in CHANGES:
        table.add_column(change, justify="right")
        table.add_column("changes", justify="right")
    for name, changed in ROWS.items():
        smoothing = msgspec.structs.replace(SmoothingSettings(), **changed)
        table.add_row(name, *(cell for change in CHANGES for cell in row(clips, change, smoothing)))
    Console(width=120).print(table)


def follow(media: Path, clip: str, change: str, settings: Settings) -> Followed:
    """Follow one clip, changed."""
    pipeline = load_pipeline(settings)
    labels = LABELS[clip][1]
    width, times, scores, names = 0, [], [], []
    for index, luma in enumerate(lumas(media / clip)):
        degrade = CHANGES[change]
        width = width or max([face.box.width for face in pipeline.find_still(luma)], default=0)
        scene = Scene(luma, np.array([[0, 0, width, width]], np.float32), np.zeros((0, 68, 2), np.float32))
        seen = pipeline.follow(Frame(degrade(scene).luma if degrade else luma, index / FPS, index))
        if seen:
            times.append(index / FPS)
            scores.append(seen[0].scores)
            names.append(next((emotion for first, last, emotion in labels if first <= index <= last), ""))
    return Followed(change, times, np.array(scores), names, pipeline.classifier.population)


def played(clip: Followed, times: int) -> Followed:
    """Play a clip several times in one visit, as a person who stays: a baseline needs minutes."""
    length_s = clip.times_s[-1] + 1 / FPS if clip.times_s else 0.0
    times_s = [time_s + again * length_s for again in range(times) for time_s in clip.times_s]
    return Followed(clip.change, times_s, np.tile(clip.scores, (times, 1)), clip.labels * times, clip.population)


def row(clips: list[Followed], change: str, settings: SmoothingSettings) -> tuple[str, str]:
    """Shares and changes of all clips with one change."""
    right, uncertain, changes, seconds = [], [], 0, 0.0
    for clip in clips:
        if clip.change != change or not clip.times_s:
            continue
        smoother = EmotionSmoother(settings)
        looks = zip(clip.scores, clip.times_s, strict=True)
        told = [smoother.update(*look, clip.population).emotion for look in looks]
        changes += sum(one != other for one, other in pairwise(told))
        seconds += len(told) / FPS
        for emotion in sorted({*clip.labels} - {""}):
            part = [name for name, label in zip(told, clip.labels, strict=True) if label == emotion]
            right.append(np.mean([name == emotion for name in part]))
            uncertain.append(np.mean([name == UNCERTAIN for name in part]))
    return f"{100 * np.mean(right):.1f} / {100 * np.mean(uncertain):.1f} %", f"{60 * changes / seconds:.0f}"


if __name__ == "__main__":
    main()
