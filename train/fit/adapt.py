"""Adapt a network to one household: fine-tune its last layers and its temperature on a few dozen pictures.

A fifth of the pictures is held out, and the test part of the data set watches that nothing else is lost. Importing
this module loads Keras.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import keras
import numpy as np
from numpy.typing import NDArray

from edge.emotions import EMOTIONS
from edge.errors import DataError, UsageError
from train.data.augment import Augmentation, Warp, disturb
from train.data.chips import Chips
from train.data.dataset import Dataset
from train.files import write_json
from train.fit.calibration import Calibration, calibrate
from train.fit.result import describe, predict, save, without_optimizer
from train.fit.teacher import identify
from train.metrics import Summary, softmax, summarise
from train.networks.backend import load_network, logits
from train.networks.from_bundle import load_bundle
from train.run_folder import begin_run

LEAST_PICTURES = 10
TUNED = 3
"""Layers with kernels that are fine-tuned: the last two convolutions and the dense layer."""
MAX_LOSS = 0.01
"""Balanced accuracy that may be lost on the test part."""
MOST_BLUR = 3.0
"""Largest blur, in pixels, that other pictures get to look like the household's."""
TRUST = 50
"""Held-out pictures that count as much as the calibration that the network has."""
GENTLE = Augmentation(shift=0.05, rotation_deg=8, scale=0.08, aspect=0.03, shear=0.04, brightness=0.06, contrast=0.15,
                      erase_probability=0.2, erase_px=(4, 12))  # fmt: skip


@dataclass(frozen=True, slots=True)
class AdaptSettings:
    """Settings of an adaptation. Everything random comes from ``seed``."""

    epochs: int = 10
    copies: int = 3
    """of each picture in an epoch, each changed in another way"""
    rehearsal: int = 600
    """pictures of the data set as they are, and as many that look as if the household's camera had taken them"""
    rate: float = 0.005
    smoothing: float = 0.1
    held_out: float = 0.2
    """share of the pictures of each emotion"""
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Adapted:
    """Figures before and after."""

    held_out: tuple[Summary, Summary]
    """on the held-out pictures of the household"""
    test: tuple[Summary, Summary]
    """on the test part of the data set"""
    temperature: float
    """that the logits were divided by"""


def adapt(
    source: Path,
    chips: Chips,
    dataset: Dataset,
    run: Path,
    settings: AdaptSettings | None = None,
    *,
    report: Callable[[str], None] = lambda _line: None,
) -> Adapted:
    """Fine-tune a network and write a complete run folder, if it became no worse.

    ``source``: a run folder, a ``.keras`` file, or a bundle with an int8 ``cnn``.
    ``dataset``: what the network was trained on; its training part is rehearsed, its test part measured.

    Raises `UsageError`: the run folder holds a run. `DataError`: there are too few pictures, the network cannot be
    loaded, it gets worse on the held-out pictures, or it loses more than a point on the test part; nothing is written.
    """
    settings = settings or AdaptSettings()
    if (run / "settings.json").exists():
        raise UsageError(f"{run} already holds a run: start another with --run NAME")
    rng = np.random.default_rng(settings.seed)
    held = hold_out(chips.labels, settings.held_out, rng)
    own, kept = chips.select(~held), chips.select(held)
    for part in ("train", "test"):
        if not len(dataset.select(part)):
            raise DataError(f"the {part} part of the data set is empty")
    bundled = (source / "manifest.json").is_file()
    model = load_bundle(source, dataset.images[dataset.select("train")[:512]]) if bundled else load_network(source)
    test = dataset.labels[dataset.select("test")]

    def measure() -> tuple[Summary, Summary]:
        return (
            summarise(softmax(logits(model, kept.images)), kept.labels),
            summarise(predict(model, dataset, "test"), test),
        )

    before = measure()
    for epoch, loss in enumerate(_tune(model, own, dataset, settings, rng), start=1):
        report(f"epoch {epoch} of {settings.epochs}: loss {loss:.3f}")
    temperature = _temperature(logits(model, kept.images), kept.labels)
    Calibration(temperature, (0.0,) * len(EMOTIONS)).apply(model.layers[-1])
    after = measure()
    mine, everybody = zip(before, after, strict=True)
    _require_no_loss(mine, everybody)
    described = describe(
        model, dataset, asdict(settings) | {"pictures": len(held)}, start=identify([source])
    )  # fmt: skip
    begin_run(run, described, result="model.keras")
    figures = {
        "held_out": {"before": mine[0].as_dict(), "after": mine[1].as_dict()},
        "test": {"before": everybody[0].as_dict(), "after": everybody[1].as_dict()},
        "temperature": round(temperature, 4),
    }
    validation = summarise(predict(model, dataset, "validation"), dataset.labels[dataset.select("validation")])
    write_json(run / "result.json", {"validation": validation.as_dict(), "adapted": figures, **described})
    for layer in model.layers:
        layer.trainable = True
    save(without_optimizer(model), run / "model.keras")
    return Adapted(mine, everybody, temperature)


def hold_out(labels: NDArray[np.int8], share: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Choose a share of the pictures of each emotion; True [n] for the held-out ones.

    Raises `DataError`: fewer than `LEAST_PICTURES`, or an emotion has only one picture.
    """
    if len(labels) < LEAST_PICTURES:
        raise DataError(f"adapting needs {LEAST_PICTURES} pictures with a face at least, found {len(labels)}")
    held = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        mine = rng.permutation(np.flatnonzero(labels == label))
        if len(mine) < 2:
            raise DataError(f"{EMOTIONS[label]} has one picture only; add one, or leave that folder out")
        held[mine[: max(1, round(share * len(mine)))]] = True
    return held


def _tune(
    model: keras.Model, own: Chips, dataset: Dataset, settings: AdaptSettings, rng: np.random.Generator
) -> Iterator[float]:
    """Train the last layers; yields the loss of each epoch."""
    with_kernels = [layer for layer in model.layers if hasattr(layer, "kernel")]
    for layer in model.layers:  # BatchNorm keeps its statistics, too
        layer.trainable = layer in with_kernels[-TUNED:]
    rehearsed = dataset.images[rng.choice(dataset.select("train"), settings.rehearsal)]
    remembered = softmax(logits(model, rehearsed))  # targets: what it says now, not the labels
    batch = 32
    steps = settings.epochs * -(-(settings.copies * len(own.labels) + 2 * len(rehearsed)) // batch)
    rate = keras.optimizers.schedules.CosineDecay(settings.rate, steps)
    optimizer = keras.optimizers.SGD(rate, momentum=0.9, nesterov=True)
    model.compile(optimizer, keras.losses.CategoricalCrossentropy(from_logits=True), jit_compile=False)
    targets = np.eye(len(EMOTIONS), dtype=np.float32) * (1 - settings.smoothing) + settings.smoothing / len(EMOTIONS)
    for _ in range(settings.epochs):
        chosen = np.tile(np.arange(len(own.labels)), settings.copies)
        seen = np.concatenate([own.images[chosen], rehearsed, restyle(rehearsed, own.images, rng)])
        truth = np.concatenate([targets[own.labels[chosen]], remembered, remembered])
        seen = Warp.draw(len(seen), rng, GENTLE).apply(seen)
        mirrored = rng.random(len(seen)) < 0.5
        seen[mirrored] = seen[mirrored, :, ::-1]
        order = rng.permutation(len(seen))
        pictures = disturb(seen, rng, GENTLE)[order, ..., None]
        history = model.fit(pictures, truth[order], batch_size=batch, epochs=1, shuffle=False, verbose=0)
        yield float(history.history["loss"][-1])


def restyle(images: NDArray[np.uint8], others: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Give pictures the sharpness, brightness and contrast of others, uint8 [n, 48, 48].

    Sharpness is the share of fine detail in the contrast, the same blur for all; brightness and contrast are those of
    one of the others each.
    """
    wanted, sigma = _detail(others), 0.0
    while sigma < MOST_BLUR and _detail(_blurred(images, sigma)) > wanted:
        sigma += 0.1
    soft = _blurred(images, sigma)
    style = others[rng.integers(len(others), size=len(images))].astype(np.float32)
    own_mean, own_spread = soft.mean(axis=(1, 2), keepdims=True), soft.std(axis=(1, 2), keepdims=True) + 1
    mean, spread = style.mean(axis=(1, 2), keepdims=True), style.std(axis=(1, 2), keepdims=True)
    return np.asarray(np.rint(np.clip((soft - own_mean) / own_spread * spread + mean, 0, 255)), np.uint8)


def _blurred(images: NDArray[np.uint8], sigma: float) -> NDArray[np.float32]:
    wide = images.astype(np.float32)
    return np.stack([cv2.GaussianBlur(image, (0, 0), sigma) for image in wide]) if sigma else wide


def _detail(images: NDArray[Any]) -> float:
    """Return the median share of a picture's contrast that lies in its finest detail."""
    fine = [cv2.Laplacian(image.astype(np.float32), cv2.CV_32F).std() / (image.std() + 1) for image in images]
    return float(np.median(fine))


def _temperature(found: NDArray[np.float32], labels: NDArray[np.int8]) -> float:
    """Return the temperature that suits the held-out pictures, as far as there are many of them."""
    temperature = calibrate(found, labels, 0.0, biased=False).temperature
    return float(np.exp(np.log(temperature) * len(labels) / (len(labels) + TRUST)))


def _require_no_loss(held_out: Any, test: Any) -> None:
    shares = [summary.balanced_accuracy for summary in (*held_out, *test)]
    if shares[1] < shares[0]:
        raise DataError(
            f"not adapted: it falls from {shares[0]:.1%} to {shares[1]:.1%} on the {held_out[0].n} held-out pictures; "
            "look whether all are in the right folders, or add more"
        )
    if shares[3] < shares[2] - MAX_LOSS:
        raise DataError(
            f"not adapted: it falls from {shares[2]:.1%} to {shares[3]:.1%} on the test part, and may lose a point; "
            "give it fewer --epochs or more pictures"
        )
