"""Measure how the cost of a frame grows with faces and resolution, and what an empty room costs.

    python benchmarks/growth.py [--frames 90] [--json FILE] [--plot docs/growth.png]

The scenes are drawn: a gray wall with noise (standard deviation 2, new in every frame), and on it copies of the face of
scikit-image's astronaut, each moving sideways on its own. Frame times are 1/30 s apart. Each figure is the CPU time of
the process, all threads, from the frame in memory to its scores. The first 15 frames of a scene, in which the faces are
found, are not counted.
"""

import argparse
import json
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from edge.cameras.pictures import read_picture
from edge.frames import Frame
from edge.pipeline import load_pipeline
from edge.settings import Settings

FPS = 30
WARM_UP = 15
RESOLUTIONS = ((320, 240), (640, 480), (960, 540), (1280, 720), (1920, 1080))
FACE = (slice(30, 225), slice(140, 300))
"""The head in the astronaut's photo; its face is 88 pixels wide."""

Draw = Callable[[int], NDArray[np.uint8]]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=90, help="of each scene")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    parser.add_argument("--plot", type=Path, help="draw them into this PNG (needs matplotlib)")
    arguments = parser.parse_args()
    faces = [measure(scene(640, 480, count), arguments.frames) for count in range(9)]
    sizes = {f"{w}x{h}": measure(scene(w, h, 1, max(1.0, h / 480)), arguments.frames) for w, h in RESOLUTIONS}
    empty = {
        "nothing moves": measure(scene(640, 480, 0), 5 * arguments.frames),
        "something moves": measure(moving(640, 480), 5 * arguments.frames),
        "everything moves": measure(flicker(640, 480), 5 * arguments.frames),
    }
    slope = float(np.polyfit(range(len(faces)), [row["cpu_ms"] for row in faces], 1)[0])
    figures = {
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC", "load": os.getloadavg()[0], "frames": arguments.frames,
        "faces": faces, "resolutions": sizes, "empty": empty, "cpu_ms_per_further_face": slope,
    }  # fmt: skip
    report(figures)
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")
    if arguments.plot:
        plot(figures, arguments.plot)


def measure(draw: Draw, frames: int) -> dict[str, float]:
    """Return CPU milliseconds for each frame, and the mean number of faces found."""
    pipeline = load_pipeline(Settings())
    spent_ms, found = [], []
    for index in range(WARM_UP + frames):
        frame = Frame(draw(index), index / FPS, index)
        began_s = time.process_time()
        found.append(len(pipeline.follow(frame)))
        spent_ms.append(1000 * (time.process_time() - began_s))
    return {"cpu_ms": float(np.mean(spent_ms[WARM_UP:])), "median_ms": float(np.median(spent_ms[WARM_UP:])),
            "faces": float(np.mean(found[WARM_UP:]))}  # fmt: skip


def scene(width: int, height: int, faces: int, scale: float = 1.0) -> Draw:
    """A wall with faces in two rows, each moving sideways by a few pixels."""
    head = astronaut()[FACE]
    head = np.asarray(cv2.resize(head, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR), np.uint8)
    columns = max(1, min(4, faces))
    phases = np.random.default_rng(1).uniform(0, 6.28, 8)

    def draw(index: int) -> NDArray[np.uint8]:
        luma = wall(width, height, index)
        for number in range(faces):
            row, column = divmod(number, columns)
            sway = round(6 * scale * np.sin(index / FPS * 2 + phases[number]))
            left = round((column + 0.5) * width / columns - head.shape[1] / 2) + sway
            top = round((row + 0.5) * height / 2 - head.shape[0] / 2)
            left, top = max(0, min(left, width - head.shape[1])), max(0, min(top, height - head.shape[0]))
            luma[top : top + head.shape[0], left : left + head.shape[1]] = head
        return luma

    return draw


def moving(width: int, height: int) -> Draw:
    """A wall in front of which a rectangle, a fifth of the picture wide, moves to and fro."""

    def draw(index: int) -> NDArray[np.uint8]:
        luma = wall(width, height, index)
        left = round((np.sin(index / FPS) + 1) / 2 * width * 0.8)
        cv2.rectangle(luma, (left, height // 3), (left + width // 5, height), 40, -1)
        return luma

    return draw


def flicker(width: int, height: int) -> Draw:
    """A wall in flickering light: every pixel changes in every frame."""

    def draw(index: int) -> NDArray[np.uint8]:
        light = np.random.default_rng(index).uniform(-60, 60)
        return np.asarray(np.clip(wall(width, height, index) + light, 0, 255), np.uint8)

    return draw


def wall(width: int, height: int, seed: int) -> NDArray[np.uint8]:
    """A gray wall with camera noise."""
    noise = np.random.default_rng(seed).normal(120, 2, (height, width))
    return np.asarray(noise, np.uint8)


def astronaut() -> NDArray[np.uint8]:
    """The photo, uint8 [512, 512]."""
    data = files("skimage.data").joinpath("astronaut.png").read_bytes()
    return np.asarray(cv2.cvtColor(read_picture(data, name="astronaut.png").bgr, cv2.COLOR_BGR2GRAY), np.uint8)


def report(figures: dict[str, Any]) -> None:
    """Print the table."""
    table = Table(title=f"growth, {figures['frames']} frames a scene, {figures['date']}, load {figures['load']:.1f}")
    for name in ("scene", "faces found", "CPU a frame, mean", "median"):
        table.add_column(name, justify="left" if name == "scene" else "right")
    rows = {f"{count} faces in 640x480": row for count, row in enumerate(figures["faces"])}
    rows |= {f"1 face in {name}": row for name, row in figures["resolutions"].items()}
    rows |= {f"nobody in 640x480, {name}": row for name, row in figures["empty"].items()}
    for name, row in rows.items():
        table.add_row(name, f"{row['faces']:.2f}", f"{row['cpu_ms']:.2f} ms", f"{row['median_ms']:.2f} ms")
    console = Console()
    console.print(table)
    console.print(f"each additional face: {figures['cpu_ms_per_further_face']:.2f} ms (least squares over 0 to 8)")
    for name, row in figures["empty"].items():
        console.print(f"nobody, {name}, 30 frames a second: {row['cpu_ms'] * FPS / 10:.1f} % of one core")


def plot(figures: dict[str, Any], path: Path) -> None:
    """Plot the cost over the number of faces and over the resolution."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
    left.plot(range(9), [row["cpu_ms"] for row in figures["faces"]], "o-", color="#2a6f97")
    left.set(xlabel="faces in 640x480", ylabel="CPU a frame, ms", ylim=(0, None))
    names = list(figures["resolutions"])
    right.plot(range(len(names)), [figures["resolutions"][name]["cpu_ms"] for name in names], "o-", color="#2a6f97")
    right.set(xlabel="frame, one face", xticks=range(len(names)), xticklabels=names, ylim=(0, None))
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=90)


if __name__ == "__main__":
    main()
