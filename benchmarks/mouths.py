"""Measure how often anger is recognised with a closed mouth and with an open one.

    python -m benchmarks.mouths [--data data/fer2013.npz] [--part test] [BUNDLE ...]

A mouth's opening is the mean distance of the three pairs of inner lip landmarks as a share of the distance between the
eyes' centres. Closed means below the median of the training part's angry faces. Recall is given from one look and with
mirror images averaged in; below it, the share of closed mouths with another label that are called angry. Landmarks are
kept beside the data set; without them the first run reads those of all angry faces.
"""

import argparse
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from edge.emotions import EMOTIONS
from train.data.dataset import landmark_cache, load_dataset
from train.data.landmarks import read_landmarks
from train.report.plots import wilson
from train.scoring import score

ANGRY = EMOTIONS.index("angry")


def opening(points: NDArray[np.float32]) -> NDArray[np.float32]:
    """Opening of mouths [n] of landmarks [n, 68, 2], as a share of the distance between the eyes."""
    gap = np.linalg.norm(points[:, 61:64] - points[:, [67, 66, 65]], axis=2).mean(axis=1)
    eyes = np.linalg.norm(points[:, 36:42].mean(axis=1) - points[:, 42:48].mean(axis=1), axis=1)
    return np.asarray(gap / eyes, np.float32)


def shown(hits: NDArray[np.bool_]) -> str:
    """Share of hits with its 95 % interval (Wilson)."""
    low, high = wilson(int(hits.sum()), len(hits))
    return f"{hits.mean():.1%} ({100 * low:.1f}-{100 * high:.1f})"


def main() -> None:
    """Print one table for all bundles."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundles", type=Path, nargs="*", default=[Path("models/default"), Path("models/vgg")])
    parser.add_argument("--data", type=Path, default=Path("data/fer2013.npz"))
    parser.add_argument("--part", choices=("test", "validation"), default="test")
    arguments = parser.parse_args()
    dataset, cache = load_dataset(arguments.data), landmark_cache(arguments.data)
    train, rows = dataset.select("train"), dataset.select(arguments.part)
    images, labels = dataset.images[rows], dataset.labels[rows]
    shouting = read_landmarks(dataset.images[train[dataset.labels[train] == ANGRY]], cache=cache)
    border = float(np.median(opening(shouting.points)))
    closed = opening(read_landmarks(images, cache=cache).points) < border
    groups = {"angry, closed mouth": closed & (labels == ANGRY), "angry, open mouth": ~closed & (labels == ANGRY),
              "others, closed mouth": closed & (labels != ANGRY)}  # fmt: skip
    table = Table(title=f"called angry, {arguments.part} part, closed below {border:.3f}", title_justify="left")
    for name in ("bundle", "look", *(f"{name} ({group.sum():,})" for name, group in groups.items())):
        table.add_column(name)
    for bundle in arguments.bundles:
        for look, flip in (("one", False), ("mirrored too", True)):
            called = score(bundle, images, flip=flip).argmax(axis=1) == ANGRY
            table.add_row(str(bundle), look, *(shown(called[group]) for group in groups.values()))
    Console(width=int(os.environ.get("COLUMNS", "120"))).print(table)


if __name__ == "__main__":
    main()
