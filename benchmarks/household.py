"""What `train adapt` gains for a household whose camera differs, and that it refuses what gains nothing.

    python benchmarks/household.py [--model models/default] [--pictures 60 150] [--data data/fer2013.npz] [--json FILE]

A household is pictures of the validation part, seen by a camera made by computer. The adapted network is measured on
the test part seen by the same camera, and as it is; nothing is chosen by either. What ships was trained on the
validation part, too: it knows these people, which makes the household's figures too good.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.errors import DataError
from train.data.chips import Chips
from train.data.dataset import Dataset, load_dataset
from train.metrics import summarise
from train.networks.backend import choose_backend
from train.scoring import open_scorer

Images = NDArray[np.uint8]
CAMERAS = {
    "the data set's own": (1.0, 0.0, 0.0, 1.0, 0.0),
    "flat, bright, soft": (0.5, 45.0, 1.4, 0.8, 0.0),
    "dark, noisy": (0.7, 5.0, 0.9, 1.5, 8.0),
}
"""Contrast, gray levels added, blur in pixels, gamma, standard deviation of the noise in gray levels."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=Path("models/default"))
    parser.add_argument("--data", type=Path, default=Path("data/fer2013.npz"))
    parser.add_argument("--pictures", type=int, nargs="+", default=[60, 150])
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    choose_backend()
    dataset = load_dataset(arguments.data)
    rows = np.random.default_rng(17).permutation(dataset.select("validation"))
    found = []
    for name in CAMERAS:
        for n in arguments.pictures:
            household = Chips(seen_by(name, dataset.images[rows[:n]], 1), dataset.labels[rows[:n]])
            found.append({"camera": name, "pictures": n, **measure(arguments.model, household, dataset, name)})
            print(*(f"{key} {value}" for key, value in found[-1].items()), sep="; ", flush=True)
    muddled = Chips(household.images, np.random.default_rng(0).permutation(household.labels))
    found.append({"camera": name, "labels": "shuffled", **measure(arguments.model, muddled, dataset, name)})
    print(*(f"{key} {value}" for key, value in found[-1].items()), sep="; ", flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=2) + "\n")


def measure(model: Path, household: Chips, dataset: Dataset, camera: str) -> dict[str, Any]:
    """Adapt a network; returns figures before and after on the test part, or why it was refused."""
    from train.fit.adapt import adapt

    test = dataset.select("test")
    pictures = {"test, this camera": seen_by(camera, dataset.images[test], 2), "test": dataset.images[test]}

    def figures(one: Path) -> dict[str, str]:
        scorer = open_scorer(one)
        found = {name: summarise(scorer(images), dataset.labels[test]) for name, images in pictures.items()}
        return {
            name: f"{100 * one.balanced_accuracy:.1f} %, ECE {one.expected_calibration_error:.3f}"
            for name, one in found.items()
        }

    before, began_s = figures(model), time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        try:
            adapted = adapt(model, household, dataset, run)
        except DataError as error:
            return {"cpu_s": round(time.process_time() - began_s), "before": before, "refused": str(error)}
        cpu_s = round(time.process_time() - began_s)
        held_out = [round(100 * one.balanced_accuracy, 1) for one in adapted.held_out]
        temperature = round(adapted.temperature, 2)
        return {"cpu_s": cpu_s, "share": adapted.share, "temperature": temperature, "held_out": held_out,
                "before": before, "after": figures(run)}  # fmt: skip


def seen_by(camera: str, images: Images, seed: int) -> Images:
    """Return pictures [n, 48, 48] as a camera would show them."""
    contrast, lift, blur_px, gamma, noise = CAMERAS[camera]
    wide = images.astype(np.float32)
    if blur_px:
        wide = np.stack([cv2.GaussianBlur(image, (0, 0), blur_px) for image in wide])
    wide = 255 * (wide / 255) ** np.float32(gamma) * np.float32(contrast) + np.float32(lift)
    wide += np.float32(noise) * np.random.default_rng(seed).standard_normal(wide.shape, dtype=np.float32)
    return np.asarray(np.rint(wide.clip(0, 255)), np.uint8)


if __name__ == "__main__":
    main()
