"""Compare the cost of the article's pipeline with ours, on the same frames in one run.

    python benchmarks/article.py --clip ../shared/media/sad-to-laughing.mp4 [--sample 8] [--json FILE]

The article's pipeline does this for each frame: dlib's detector on the colour picture upsampled once, dlib's 68
landmarks, and `predict` of a Keras CNN on the 48x48 face. Ours is `edge.pipeline.Pipeline` on the luma plane, as the
daemon runs it. Both get decoded frames. The cost is CPU time of the process, all threads. They take turns of one second
of the clip, so that other work on the machine affects both equally. Memory is the peak resident set of a process that
runs only one of them. The Keras CNN has the article's layers (four convolutions, two dense) with random weights, on
which its cost does not depend. The article's landmarks come from the predictor that ships here (10 MB), or from the one
that ``--landmarks`` names (the article's own has 100 MB).

``--sample N`` gives the article's pipeline only every Nth frame, since its frames do not depend on each other.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from edge.cameras import open_camera
from edge.daemon.machine import peak_memory_mb
from edge.events.smoothing import EmotionSmoother
from edge.faces.landmarks import shipped_landmarks
from edge.faces.types import Box, TrackedFace
from edge.frames import Frame
from edge.pipeline import Pipeline, load_pipeline
from edge.settings import Settings

Scores = np.ndarray[Any, np.dtype[np.float32]] | None


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clip", type=Path, required=True)
    parser.add_argument("--sample", type=int, default=1, help="give the article's pipeline only every Nth frame")
    parser.add_argument("--landmarks", type=Path, default=shipped_landmarks())
    parser.add_argument("--json", type=Path, help="write the figures here too")
    parser.add_argument("--only", choices=("article", "ours"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.only:
        print(json.dumps(memory_after(arguments.only, arguments.clip, arguments.landmarks)))
        return
    figures = measure(arguments.clip, arguments.landmarks, arguments.sample)
    for side in ("article", "ours"):
        figures[f"{side}_memory_mb"] = memory_alone(side, arguments.clip, arguments.landmarks)
    report(figures)
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")


def measure(clip: Path, landmarks: Path, sample: int) -> dict[str, Any]:
    """Run both on the clip in turns."""
    frames = read(clip)
    article, pipeline = Article(landmarks), load_pipeline(Settings())
    article(frames[0])
    pipeline.follow(frames[0])
    pipeline.forget()
    article_s, ours_s = [], []
    found_by_article: dict[int, bool] = {}
    ours: list[list[TrackedFace]] = []
    for start in range(0, len(frames), 24):
        turn = frames[start : start + 24]
        for index, frame in enumerate(turn, start):
            if index % sample == 0:
                found_by_article[index], spent_s = timed(lambda frame=frame: article(frame) is not None)  # type: ignore[misc]
                article_s.append(spent_s)
        gray = [replace(frame, bgr=None) for frame in turn]
        seen, spent_s = timed(lambda gray=gray: [pipeline.follow(frame) for frame in gray])  # type: ignore[misc]
        ours += seen
        ours_s.append(spent_s)
    compared = sorted(found_by_article)
    return {
        "clip": clip.name,
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "load": os.getloadavg()[0],
        "frames": len(frames),
        "article_frames": len(compared),
        "article_cpu_ms": 1000 * sum(article_s) / len(article_s),
        "ours_cpu_ms": 1000 * sum(ours_s) / len(frames),
        "article_found": sum(found_by_article.values()),
        "ours_found": sum(bool(ours[index]) for index in compared),
        "visits": len({face.track for faces in ours for face in faces}),
        **agreement(frames, ours, pipeline),
    }


class Article:
    """The article's pipeline: detector on the upsampled picture, landmarks, `predict` of a Keras CNN on the face."""

    def __init__(self, landmarks: Path) -> None:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        import dlib

        self._detector = dlib.get_frontal_face_detector()
        self._predictor = dlib.shape_predictor(str(landmarks))
        self._network = article_network()

    def __call__(self, frame: Frame) -> Scores:
        """Scores [5] of the largest face, or None."""
        import cv2

        assert frame.bgr is not None
        rgb = cv2.cvtColor(frame.bgr, cv2.COLOR_BGR2RGB)
        found = self._detector(rgb, 1)
        if not found:
            return None
        face = max(found, key=lambda box: box.width())
        shape = self._predictor(rgb, face)
        np.array([(point.x, point.y) for point in shape.parts()])
        gray = cv2.cvtColor(frame.bgr, cv2.COLOR_BGR2GRAY)
        cut = gray[max(0, face.top()) : face.bottom(), max(0, face.left()) : face.right()]
        chip = cv2.resize(cut, (48, 48)).astype(np.float32)[np.newaxis, :, :, np.newaxis] / 255
        return np.asarray(self._network.predict(chip, verbose=0)[0])


def article_network() -> Any:
    """A Keras CNN like the article's: four convolutions with pooling, two dense layers, 1.8 million parameters."""
    import keras

    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((48, 48, 1)),
            layers.Conv2D(32, 3, activation="relu", padding="same"),
            layers.Conv2D(64, 3, activation="relu", padding="same"),
            layers.MaxPooling2D(),
            layers.Conv2D(128, 3, activation="relu", padding="same"),
            layers.MaxPooling2D(),
            layers.Conv2D(128, 3, activation="relu", padding="same"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(340, activation="relu"),
            layers.Dropout(0.5),
            layers.Dense(5, activation="softmax"),
        ]
    )


def agreement(frames: list[Frame], ours: list[list[TrackedFace]], pipeline: Pipeline) -> dict[str, float]:
    """Share of frames whose stable, and raw, emotion equals that of running every step on every frame."""
    ours_smooth, every_smooth = EmotionSmoother(Settings().smoothing), EmotionSmoother(Settings().smoothing)
    stable, raw = [], []
    for frame, seen in zip(frames, ours, strict=True):
        every = everything(frame, pipeline)
        stable_every = None if every is None else every_smooth.update(every, frame.time_s).emotion
        if not seen or every is None:
            continue
        scores = seen[0].scores
        stable.append(ours_smooth.update(scores, frame.time_s).emotion == stable_every)
        raw.append(int(scores.argmax()) == int(every.argmax()))
    return {"agreement": float(np.mean(stable)), "raw_agreement": float(np.mean(raw))}


def everything(frame: Frame, pipeline: Pipeline) -> Scores:
    """Scores of the largest face from detector, landmarks and network on this frame alone, not upsampled."""
    boxes, _, _ = detector().run(frame.luma, 0, 0.0)
    if not boxes:
        return None
    widest = max(boxes, key=lambda box: box.width())
    box = Box(widest.left(), widest.top(), widest.width(), widest.height())
    return pipeline.score_boxes(frame.luma, [box])[0].scores


@cache
def detector() -> Any:
    """The detector of dlib, created once."""
    import dlib

    return dlib.get_frontal_face_detector()


def read(clip: Path) -> list[Frame]:
    """All frames of a clip, in memory."""
    source = open_camera(f"file:{clip}")
    frames = []
    while (frame := source.read(5)) is not None:
        frames.append(frame)
    return frames


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """The result, and the CPU time of all threads in seconds."""
    began_s = time.process_time()
    result = work()
    return result, time.process_time() - began_s


def memory_alone(side: str, clip: Path, landmarks: Path) -> float:
    """Peak memory of a process that runs only this pipeline, megabytes."""
    command = [sys.executable, __file__, "--only", side, "--clip", str(clip), "--landmarks", str(landmarks)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])


def memory_after(side: str, clip: Path, landmarks: Path) -> float:
    """Process twenty frames one by one, as from a camera, and return the peak memory of this process."""
    look: Callable[[Frame], object] = Article(landmarks) if side == "article" else load_pipeline(Settings()).follow
    source = open_camera(f"file:{clip}")
    for _ in range(20):
        frame = source.read(5)
        if frame is not None:
            look(frame)
    return peak_memory_mb()


def report(figures: dict[str, Any]) -> None:
    """Print the table."""
    table = Table(title=f"{figures['clip']}, {figures['frames']} frames, {figures['date']}, load {figures['load']:.1f}")
    for name in ("figure", "article", "ours", "ratio"):
        table.add_column(name, justify="left" if name == "figure" else "right")
    article, ours = figures["article_cpu_ms"], figures["ours_cpu_ms"]
    table.add_row("CPU a frame", f"{article:.1f} ms", f"{ours:.2f} ms", f"{article / ours:.1f}x")
    found, of = figures["article_found"], figures["article_frames"]
    share = figures["ours_found"] / found if found else 0
    table.add_row(f"frames with a face, of {of}", str(found), str(figures["ours_found"]), f"{share:.3f}")
    article, ours = figures["article_memory_mb"], figures["ours_memory_mb"]
    table.add_row("peak memory", f"{article:.0f} MB", f"{ours:.0f} MB", f"{article / ours:.1f}x")
    table.add_row("visits", "-", str(figures["visits"]), "")
    table.add_row("stable emotion equals that of every step on every frame", "-", f"{figures['agreement']:.1%}", "")
    table.add_row("the same before smoothing", "-", f"{figures['raw_agreement']:.1%}", "")
    Console().print(table)


if __name__ == "__main__":
    main()
