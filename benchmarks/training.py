"""What training each model costs here: images a second, processor time, peak memory.

    python benchmarks/training.py [--data data/fer2013.npz] [--seconds 20] [--models knn mlp ...] [--json FILE]

Each model trains in its own process, one after the other, so that the peak resident set (``/proc/self/status``, VmHWM)
is that model's, libraries and data set included. Networks and the MLP are fitted as their commands do it (settings,
batches, augmentation, Keras's `fit` on the backend that ``KERAS_BACKEND`` names) for ``--seconds``. The first step,
which builds the graph, is not counted, and nothing is validated or saved meanwhile. The article's CNN has 128 filters,
or the number in the environment variable ``ARTICLE_FILTERS``. An image is one picture in one training step; for the
MLP, a mirrored picture counts as another one.

The KNN is fitted to the whole training part, at least once: that is the last fit of `train knn`, without the
cross-validation that chooses its parameters. Its landmarks are random, 68 points a picture: finding the real ones takes
minutes, and the cost of a fit does not depend on their values.
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
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.table import Table

from edge.daemon.machine import peak_memory_mb
from train.data.dataset import CLASSES, Dataset, load_dataset
from train.fit.settings import FitSettings
from train.networks.backend import choose_backend

if TYPE_CHECKING:
    import keras

    from train.data.features import Features

FILTERS = int(os.environ.get("ARTICLE_FILTERS", "128"))
"""Filters of the article's CNN; 128 is the default of `train cnn`. The workers inherit the variable."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data/fer2013.npz"))
    parser.add_argument("--seconds", type=float, default=20.0, help="how long each model trains after its first step")
    parser.add_argument("--models", nargs="+", choices=TRAININGS, default=list(TRAININGS))
    parser.add_argument("--json", type=Path, help="write the figures here too")
    parser.add_argument("--worker", choices=TRAININGS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if not arguments.data.is_file():
        parser.error(f"{arguments.data}: no such file; write it with: python -m train prepare")
    choose_backend()
    if arguments.worker:
        print(json.dumps(work(arguments.worker, arguments.data, arguments.seconds)))
        return
    figures: dict[str, Any] = {
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC", "load": os.getloadavg()[0],
        "backend": os.environ["KERAS_BACKEND"], "cores": len(os.sched_getaffinity(0)), "seconds": arguments.seconds,
    }  # fmt: skip
    figures["models"] = [measure(name, arguments.data, arguments.seconds) for name in arguments.models]
    report(figures)
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")


def measure(name: str, data: Path, seconds: float) -> dict[str, Any]:
    """Train a model in its own process."""
    command = [sys.executable, __file__, "--worker", name, "--data", str(data), "--seconds", str(seconds)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{TITLES[name]} was not trained (exit code {done.returncode}); its reason is above")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def work(name: str, data: Path, seconds: float) -> dict[str, Any]:
    """Train a model in this process and return its figures; memory in megabytes (10^6 bytes)."""
    clock = TRAININGS[name](load_dataset(data), seconds)
    return {
        "name": name, "images": clock.images, "seconds": clock.spent_s, "images_per_s": clock.images / clock.spent_s,
        "cpu_ms": 1000 * clock.cpu_s / clock.images,
        "memory_mb": peak_memory_mb(),
    }  # fmt: skip


class Clock:
    """Counts images and time from `start` until the given number of seconds has passed."""

    def __init__(self, seconds: float) -> None:
        self.images = 0
        self.spent_s = 0.0
        self.cpu_s = 0.0
        self._seconds = seconds
        self._began_s: tuple[float, float] | None = None

    @property
    def started(self) -> bool:
        """Whether the clock has been started."""
        return self._began_s is not None

    @property
    def enough(self) -> bool:
        """Whether the seconds have passed."""
        return self.spent_s >= self._seconds

    def start(self) -> None:
        """Start counting."""
        self._began_s = time.perf_counter(), time.process_time()

    def count(self, images: int) -> None:
        """Add the images since the last call, and update the times."""
        assert self._began_s is not None
        self.images += images
        self.spent_s = time.perf_counter() - self._began_s[0]
        self.cpu_s = time.process_time() - self._began_s[1]


def watch(clock: Clock, model: "keras.Model", pictures: int, batch: int) -> "keras.callbacks.Callback":
    """Return a callback that counts the training's steps and ends it after the given time; ``pictures`` in an epoch."""
    import keras

    def step(index: int, logs: dict[str, Any]) -> None:
        float(logs["loss"])  # JAX runs asynchronously until a value is read
        if clock.started:
            clock.count(min(batch, pictures - index * batch))
        else:
            clock.start()
        model.stop_training = clock.enough

    return keras.callbacks.LambdaCallback(on_train_batch_end=step)


def train_network(
    build: Callable[[], "keras.Model"], dataset: Dataset, seconds: float, settings: FitSettings | None = None
) -> Clock:
    """Fit a network as `train.fit.loop.fit` does, without what that does between epochs."""
    import keras

    from train.fit.batches import Batches, trained_rows
    from train.fit.distribute import Distribution
    from train.fit.loop import compile_network

    settings = settings or FitSettings()
    keras.utils.set_random_seed(settings.seed)
    rows = trained_rows(dataset)
    points = np.random.default_rng(0).uniform(8, 40, size=(len(rows), 68, 2)).astype(np.float32)
    model, batches, clock = build(), Batches(dataset, settings, None, points), Clock(seconds)
    compile_network(model, settings, steps=settings.epochs * len(batches))
    callbacks = [
        keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, _logs: batches.start_epoch(epoch)),
        watch(clock, model, len(batches) * batches.size, batches.size),
    ]
    Distribution().fit(model, batches, callbacks, done=0, epochs=settings.epochs, verbose=0)
    return clock


def train_device(dataset: Dataset, seconds: float) -> Clock:
    """The network of the device."""
    from train.networks.plain import plain_cnn

    return train_network(lambda: plain_cnn(classes=CLASSES, dropout=0.1), dataset, seconds)


def train_article(dataset: Dataset, seconds: float) -> Clock:
    """The article's CNN."""
    from train.networks.article import ARTICLE_PEAK_LEARNING_RATE, article_cnn

    settings = replace(FitSettings(), peak_learning_rate=ARTICLE_PEAK_LEARNING_RATE)
    return train_network(lambda: article_cnn(FILTERS, classes=CLASSES), dataset, seconds, settings)


def train_vgg(dataset: Dataset, seconds: float) -> Clock:
    """The large network of VGG's shape."""
    from train.networks.plain import VGG_CHANNELS, plain_cnn

    return train_network(lambda: plain_cnn(VGG_CHANNELS, classes=CLASSES, dropout=0.4), dataset, seconds)


def train_mlp(dataset: Dataset, seconds: float) -> Clock:
    """Our version of the article's MLP; on a fast machine it is trained before the seconds have passed."""
    import keras

    from train.classic.mlp import build_mlp, compile_mlp, training_set
    from train.classic.mlp_settings import MlpSettings

    settings, clock = MlpSettings(), Clock(seconds)
    keras.utils.set_random_seed(settings.seed)
    x, targets, weights = training_set(dataset, made_features(dataset), dataset.select("train"), settings)
    model = build_mlp(x, settings)
    compile_mlp(model, settings, steps=settings.epochs * -(-len(x) // settings.batch))
    model.fit(
        x, targets, sample_weight=weights, batch_size=settings.batch, epochs=settings.epochs, verbose=0,
        callbacks=[watch(clock, model, len(x), settings.batch)],
    )  # fmt: skip
    return clock


def fit_knn(dataset: Dataset, seconds: float) -> Clock:
    """The KNN on landmark distances, with the largest numbers of components and neighbours that `train knn` tries."""
    from train.classic.knn import COMPONENTS, NEIGHBORS, KnnSettings, fit_pipeline

    features, rows, clock = made_features(dataset), dataset.select("train"), Clock(seconds)
    chosen = {"components": min(max(COMPONENTS), len(rows) // 2), "neighbors": max(NEIGHBORS)}
    clock.start()
    while not clock.enough:
        fit_pipeline(features, rows, dataset.labels[rows], KnnSettings(), chosen)
        clock.count(len(rows))
    return clock


def made_features(dataset: Dataset) -> "Features":
    """Landmark features of the training part, from random points."""
    from train.data.features import Features
    from train.data.landmarks import PictureLandmarks

    rows = dataset.select("train")
    points = np.random.default_rng(0).uniform(60, 230, size=(len(rows), 68, 2)).astype(np.float32)
    return Features(dataset.images, PictureLandmarks(points, np.zeros(len(rows), np.uint8)), rows)


TRAININGS: dict[str, Callable[[Dataset, float], Clock]] = {
    "knn": fit_knn,
    "mlp": train_mlp,
    "article": train_article,
    "device": train_device,
    "vgg": train_vgg,
}
TITLES = {
    "knn": "KNN, landmark distances (its last fit)",
    "mlp": "MLP, landmark distances, ours",
    "article": f"CNN, the article's at {FILTERS} filters",
    "device": "CNN, for the device",
    "vgg": "VGG, eight convolutions",
}


def report(figures: dict[str, Any]) -> None:
    """Print the table."""
    table = Table(
        title=f"training, {figures['seconds']:g} s each, {figures['date']}, load {figures['load']:.1f}, "
        f"{figures['backend']}, {figures['cores']} cores"
    )
    for name in ("model", "images/s", "CPU an image", "images", "peak memory"):
        table.add_column(name, justify="left" if name == "model" else "right")
    for row in figures["models"]:
        table.add_row(TITLES[row["name"]], f"{row['images_per_s']:,.0f}", f"{row['cpu_ms']:.2f} ms",
                      f"{row['images']:,}", f"{row['memory_mb']:,.0f} MB")  # fmt: skip
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
