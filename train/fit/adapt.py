"""Adapt a network to one household with a few dozen pictures: to its camera, to its people, and its calibration.

The camera: all layers learn from training pictures of the data set that get the look of the household's
(`train.data.look`), beside the same pictures as they are. Their targets are what the network says of the plain ones, so
that it learns the camera and forgets nothing. The household's labels are not needed for it.

The people: the dense layer is fitted to the household's pictures and, so that it stays near what it was, to those
training pictures. How much the household counts is chosen by cross-validation, and so is whether any of this is kept.

Importing this module loads Keras.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from edge.emotions import EMOTIONS
from edge.errors import DataError, UsageError
from train.data.augment import Augmentation, Warp, disturb
from train.data.chips import Chips
from train.data.dataset import Dataset
from train.data.look import Look
from train.files import write_json
from train.fit.calibration import Calibration, calibrate
from train.fit.result import describe, predict, save, without_optimizer
from train.fit.teacher import identify
from train.metrics import Summary, softmax, summarise
from train.networks.backend import load_network, logits
from train.networks.from_bundle import load_bundle
from train.run_folder import begin_run

LEAST_PICTURES = 10
LEAST_RECOGNISED = 0.3
"""Balanced accuracy, before, below which the pictures must be in the wrong folders: guessing gives 0.2."""
FOLDS = 5
MAX_LOSS = 0.01
"""Balanced accuracy that may be lost on the test part."""
TRUST = 50
"""Pictures that count as much as the calibration that the network has."""
GENTLE = Augmentation(shift=0.05, rotation_deg=8, scale=0.08, aspect=0.03, shear=0.04, brightness=0.06, contrast=0.15,
                      erase_probability=0.2, erase_px=(4, 12))  # fmt: skip

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class AdaptSettings:
    """Settings of an adaptation. Everything random comes from ``seed``."""

    epochs: int = 3
    rehearsal: int = 1500
    """training pictures of the data set"""
    rate: float = 0.02
    shares: tuple[float, ...] = (0.05, 0.1, 0.2, 0.4)
    """of the household in the dense layer's loss, to choose from"""
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Adapted:
    """Figures before and after."""

    held_out: tuple[Summary, Summary]
    """on the household's pictures, each fifth scored by a dense layer and a temperature that have not seen it"""
    test: tuple[Summary, Summary]
    """on the test part of the data set"""
    temperature: float
    """that the logits were divided by"""
    share: float
    """of the household in the dense layer's loss; 0: the dense layer was not fitted to it"""


def adapt(
    source: Path,
    chips: Chips,
    dataset: Dataset,
    run: Path,
    settings: AdaptSettings | None = None,
    *,
    report: Callable[[str], None] = lambda _line: None,
) -> Adapted:
    """Adapt a network and write a complete run folder, if the household's pictures are recognised better.

    ``source``: a run folder, a ``.keras`` file, or a bundle with an int8 ``cnn``.
    ``dataset``: what the network was trained on; its training part is rehearsed, its test part measured.

    Raises `UsageError`: the run folder holds a run. `DataError`: there are too few pictures, the network cannot be
    loaded or recognises next to none of them, nothing is gained, or more than a point is lost on the test part; nothing
    is written.
    """
    settings = settings or AdaptSettings()
    if (run / "settings.json").exists():
        raise UsageError(f"{run} already holds a run: start another with --run NAME")
    rng = np.random.default_rng(settings.seed)
    folds = split(chips.labels, rng)
    for part in ("train", "test"):
        if not len(dataset.select(part)):
            raise DataError(f"the {part} part of the data set is empty")
    bundled = (source / "manifest.json").is_file()
    model = load_bundle(source, dataset.images[dataset.select("train")[:512]]) if bundled else load_network(source)
    found = {"before": logits(model, chips.images)}
    recognised = summarise(softmax(found["before"]), chips.labels).balanced_accuracy
    if recognised < LEAST_RECOGNISED:
        raise DataError(
            f"not adapted: the network recognises {recognised:.0%} of the pictures, little more than by guessing; look "
            "whether they are in the right folders"
        )
    test = dataset.labels[dataset.select("test")]
    test_before = summarise(predict(model, dataset, "test"), test)

    rehearsed = dataset.images[rng.choice(dataset.select("train"), settings.rehearsal)]
    look = Look.measure(chips.images, rehearsed)
    report(f"the camera: blur {look.blur_px:.1f} px, noise {look.noise:g}, contrast {look.spread.mean():.0f} of 255")
    remembered = softmax(logits(model, rehearsed))  # targets: what it says now, not the labels
    for epoch, loss in enumerate(_learn_look(model, look, rehearsed, remembered, settings, rng), start=1):
        report(f"epoch {epoch} of {settings.epochs}: loss {loss:.3f}")
    found["the camera"] = logits(model, chips.images)
    head = Head.of(model, np.concatenate([rehearsed, look.put_on(rehearsed, rng)]), np.tile(remembered, (2, 1)))
    seen = [head.features(images) for images in (chips.images, chips.images[:, :, ::-1])]
    for share in settings.shares:
        found[f"{share:g} household"] = head.cross_fitted(seen, chips.labels, share, folds)
    chosen = choose(found, chips.labels, folds)
    share = float(chosen.split()[0]) if chosen.endswith("household") else 0.0
    if share:
        model.layers[-1].set_weights(head.fit(seen, chips.labels, share))
    temperature = _temperature(found[chosen], chips.labels)
    Calibration(temperature, (0.0,) * len(EMOTIONS)).apply(model.layers[-1])
    mine = (
        summarise(softmax(found["before"]), chips.labels),
        summarise(softmax(_tempered(found[chosen], chips.labels, folds, _temperature)), chips.labels),
    )
    everybody = (test_before, summarise(predict(model, dataset, "test"), test))
    if everybody[1].balanced_accuracy < everybody[0].balanced_accuracy - MAX_LOSS:
        shares = " to ".join(f"{summary.balanced_accuracy:.1%}" for summary in everybody)
        raise DataError(f"not adapted: it falls from {shares} on the test part, and may lose a point")

    described = describe(model, dataset, asdict(settings) | {"pictures": len(folds)}, start=identify([source]))
    begin_run(run, described, result="model.keras")
    figures = {
        "held_out": {"before": mine[0].as_dict(), "after": mine[1].as_dict()},
        "test": {"before": everybody[0].as_dict(), "after": everybody[1].as_dict()},
        "temperature": round(temperature, 4),
        "household_share": share,
    }
    validation = summarise(predict(model, dataset, "validation"), dataset.labels[dataset.select("validation")])
    write_json(run / "result.json", {"validation": validation.as_dict(), "adapted": figures, **described})
    save(without_optimizer(model), run / "model.keras")
    return Adapted(mine, everybody, temperature, share)


def split(labels: NDArray[np.int8], rng: np.random.Generator) -> NDArray[np.intp]:
    """Share the pictures of each emotion out among the folds; returns the fold [n] in which each is held out.

    Raises `DataError`: fewer than `LEAST_PICTURES`, or an emotion has only one picture.
    """
    if len(labels) < LEAST_PICTURES:
        raise DataError(f"adapting needs {LEAST_PICTURES} pictures with a face at least, found {len(labels)}")
    folds = np.zeros(len(labels), np.intp)
    for label in np.unique(labels):
        mine = rng.permutation(np.flatnonzero(labels == label))
        if len(mine) < 2:
            raise DataError(f"{EMOTIONS[label]} has one picture only; add one, or leave that folder out")
        folds[mine] = (np.arange(len(mine)) + rng.integers(FOLDS)) % FOLDS
    return folds


def choose(found: Mapping[str, Floats], labels: NDArray[np.int8], folds: NDArray[np.intp]) -> str:
    """Choose the candidate whose logits [n, 5] have the least loss: log-loss, each emotion counting the same.

    Each is compared under the temperature that suits it best, found on the other folds: that it is less sure of itself
    is no gain. ``found``: the first is the network as it was.
    Raises `DataError`: none is better than the first by more than a standard error.
    """
    weights = 1 / np.bincount(labels, minlength=len(EMOTIONS))[labels]
    weights = weights / weights.mean()
    loss = {}
    for name, given in found.items():
        scores = softmax(_tempered(given, labels, folds, _best_temperature))
        loss[name] = -weights * np.log(np.maximum(scores[np.arange(len(labels)), labels], 1e-6))
    first, *others = found
    best = min(others, key=lambda name: float(loss[name].mean()))
    gain = loss[first] - loss[best]
    if gain.mean() <= gain.std() / np.sqrt(len(gain)):
        raise DataError(
            "not adapted: adapting gains nothing on the held-out pictures "
            f"(log-loss {loss[first].mean():.3f} before, {loss[best].mean():.3f} after, ± "
            f"{gain.std() / np.sqrt(len(gain)):.3f}); the network stays as it is, or give it more pictures"
        )
    return best


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """The dense layer of a network, to be fitted to a household without leaving what it says of other pictures."""

    body: keras.Model
    now: Floats
    """[k + 1, 5] kernel, and the bias as its last row"""
    rehearsed: Floats
    """[m, k + 1] features of training pictures, and a 1"""
    targets: Floats
    """[m, 5] what it is to go on saying of them"""

    @classmethod
    def of(cls, model: keras.Model, images: NDArray[np.uint8], targets: Floats) -> "Head":
        """Return a network's; ``images`` [m, 48, 48] and ``targets`` [m, 5] hold it where it is."""
        body = keras.Model(model.inputs, model.layers[-1].input)
        return cls(body, np.vstack(model.layers[-1].get_weights()), _with_one(logits(body, images)), targets)

    def features(self, images: NDArray[np.uint8]) -> Floats:
        """Return the features [n, k + 1] of pictures [n, 48, 48]."""
        return _with_one(logits(self.body, images))

    def fit(self, seen: list[Floats], labels: NDArray[np.int8], share: float) -> list[Floats]:
        """Return kernel and bias with the least log-loss on the household, by ``share``, and on the rehearsed pictures.

        ``seen``: features of the same pictures, as they are and mirrored.
        """
        from scipy.optimize import minimize

        x = np.concatenate([self.rehearsed, *seen]).astype(np.float64)
        wanted = np.concatenate([self.targets, *[np.eye(len(EMOTIONS))[labels]] * len(seen)])
        mine = len(labels) * len(seen)
        weights = np.repeat([(1 - share) / len(self.targets), share / mine], [len(self.targets), mine])[:, None]

        def loss(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
            given = x @ flat.reshape(self.now.shape)
            given = given - given.max(axis=1, keepdims=True)
            likely = given - np.log(np.exp(given).sum(axis=1, keepdims=True))
            return float(-(weights * wanted * likely).sum()), (x.T @ (weights * (np.exp(likely) - wanted))).ravel()

        fitted = minimize(loss, self.now.ravel().astype(np.float64), jac=True, method="L-BFGS-B",
                          options={"maxiter": 60}).x.reshape(self.now.shape).astype(np.float32)  # fmt: skip
        return [fitted[:-1], fitted[-1]]

    def cross_fitted(
        self, seen: list[Floats], labels: NDArray[np.int8], share: float, folds: NDArray[np.intp]
    ) -> Floats:
        """Return the logits [n, 5] of each picture, by a dense layer that was fitted without its fold."""
        out = np.empty((len(labels), len(EMOTIONS)), np.float32)
        for fold in np.unique(folds):
            held = folds == fold
            out[held] = seen[0][held] @ np.vstack(self.fit([part[~held] for part in seen], labels[~held], share))
        return out


def _learn_look(
    model: keras.Model, look: Look, images: NDArray[np.uint8], targets: Floats, settings: AdaptSettings,
    rng: np.random.Generator,
) -> Iterator[float]:  # fmt: skip
    """Train all layers on pictures as they are and with the look, both with the same targets; yields epochs' losses."""
    batch = 64
    rate = keras.optimizers.schedules.CosineDecay(settings.rate, settings.epochs * -(-2 * len(images) // batch))
    optimizer = keras.optimizers.SGD(rate, momentum=0.9, nesterov=True)
    model.compile(optimizer, keras.losses.CategoricalCrossentropy(from_logits=True), jit_compile=False)
    truth = np.tile(targets, (2, 1))
    for _ in range(settings.epochs):
        moved = Warp.draw(len(images), rng, GENTLE).apply(images)
        seen = np.concatenate([moved, look.put_on(moved, rng)])
        mirrored = rng.random(len(seen)) < 0.5
        seen[mirrored] = seen[mirrored, :, ::-1]
        order = rng.permutation(len(seen))
        pictures = disturb(seen, rng, GENTLE)[order, ..., None]
        history = model.fit(pictures, truth[order], batch_size=batch, epochs=1, shuffle=False, verbose=0)
        yield float(history.history["loss"][-1])


def _tempered(
    found: Floats, labels: NDArray[np.int8], folds: NDArray[np.intp], temperature: Callable[[Floats, Any], float]
) -> Floats:
    """Divide the logits of each fold by a temperature that was found on the others."""
    out = np.empty_like(found)
    for fold in np.unique(folds):
        held = folds == fold
        out[held] = found[held] / temperature(found[~held], labels[~held])
    return out


def _best_temperature(found: Floats, labels: NDArray[np.int8]) -> float:
    return calibrate(found, labels, 1.0, biased=False).temperature


def _temperature(found: Floats, labels: NDArray[np.int8]) -> float:
    """Return the temperature that suits the pictures, as far as there are many of them."""
    temperature = calibrate(found, labels, 0.0, biased=False).temperature
    return float(np.exp(np.log(temperature) * len(labels) / (len(labels) + TRUST)))


def _with_one(features: Floats) -> Floats:
    return np.hstack([features, np.ones((len(features), 1), np.float32)])
