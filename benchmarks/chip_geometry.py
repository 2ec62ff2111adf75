"""Measure where eyes and mouth are in FER2013's pictures: the source of `edge.faces.chip.TARGET`.

    python benchmarks/chip_geometry.py data/fer2013.npz

Each training picture is enlarged four times and padded; the device's detector and landmark predictor find its face.
Prints one table: mean and spread of the eye and mouth centres in pixels of 48. Below it: how much the chips that the
device's code cuts from the enlarged pictures differ from the original pictures.
"""

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from edge.faces.chip import TARGET, anchor_points, face_chip
from edge.faces.detector import FaceDetector
from edge.faces.landmarks import LandmarkPredictor
from train.data.dataset import load_dataset
from train.data.landmarks import ENLARGE, PAD_PX, enlarge

NAMES = ("left eye", "right eye", "mouth")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--pictures", type=int, default=4000, help="how many to draw from the training part")
    parser.add_argument("--landmarks", type=Path, help="a landmark predictor instead of the one that ships")
    arguments = parser.parse_args()
    dataset = load_dataset(arguments.data)
    rows = np.random.default_rng(0).permutation(dataset.select("train"))[: arguments.pictures]
    detector, predictor = FaceDetector(), LandmarkPredictor(arguments.landmarks)
    anchors, differences = [], []
    for row in track(rows, description="reading faces", console=Console(stderr=True)):
        frame = enlarge(dataset.images[row])
        found = detector.find(frame)
        if not found:
            continue
        landmarks = predictor.points(frame, found[0].box)
        anchors.append((anchor_points(landmarks) - PAD_PX + 0.5) / ENLARGE - 0.5)
        chip = face_chip(frame, landmarks).astype(float)
        differences.append(float(np.abs(chip - dataset.images[row]).mean()))
    report(np.array(anchors), len(rows), np.array(differences))


def report(anchors: NDArray[np.float64], pictures: int, differences: NDArray[np.float64]) -> None:
    """Print the table."""
    table = Table(title=f"FER2013, {len(anchors)} of {pictures} pictures with a face found, pixels of 48")
    for name in ("point", "x mean", "y mean", "x spread", "y spread", "x target", "y target"):
        table.add_column(name, justify="left" if name == "point" else "right")
    for index, name in enumerate(NAMES):
        mean, spread = anchors[:, index].mean(axis=0), anchors[:, index].std(axis=0)
        table.add_row(name, *(f"{value:.2f}" for value in (*mean, *spread, *TARGET[index])))
    console = Console()
    console.print(table)
    console.print(f"device chip and original picture: mean difference {differences.mean():.1f} of 255")


if __name__ == "__main__":
    main()
