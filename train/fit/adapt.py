"""Adapt a network to one household with a few dozen pictures: to its camera, to its people, and its calibration.

The camera: all layers learn from training pictures of the data set that get the look of the household's
(`train.data.look`), beside the same pictures as they are. Their targets are what the network says of the plain ones.
The household's labels are not needed for it. Then the weights go back towards those before (Wortsman et al. 2022,
arXiv:2109.01903), until at most half a point is lost on the validation part.

The people: the dense layer is fitted to the household's pictures and, so that it stays near what it was, to those
training pictures. How much the household counts is chosen by cross-validation, and so is whether any of this is kept.

Importing this module loads Keras.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from edge.emotions import EMOTIONS
from edge.errors import DataError, UsageError
from train.data.augment import Augmentation, Warp
from train.data.chips import Chips
from train.data.dataset import Dataset
from train.data.look import Look
from train.files import write_json
from train.fit.calibration import Calibration
from train.fit.result import describe, predict, save, without_optimizer
from train.fit.teacher import identify
from train.metrics import Summary, softmax, summarise
from train.networks.backend import load_network, logits
from train.networks.from_bundle import load_bundle
from train.run_folder import begin_run

LEAST_PICTURES = 10
LEAST_RECOGNISED = 0.3
"""Balanced accuracy, before and after, below which pictures must be in the wrong folders: guessing gives 0.2."""
FOLDS = 5
WAYS = (1.0, 0.7, 0.5, 0.35, 0.2)
"""Shares of the way from the weights before to those after, the furthest first."""
TRUST = 100
"""Pictures that count as much as the calibration that the network has."""
HELD = 500
"""Rehearsed pictures that hold the dense layer where it is, and as many with the household's look."""
TEMPERATURES = np.geomspace(0.25, 4, 81)
GENTLE = Augmentation(shift=0.03, rotation_deg=5, scale=0.05, aspect=0.02, shear=0.02)
BATCH = 64

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class AdaptSettings:
    """Settings of an adaptation. Everything random comes from ``seed``."""

    rehearsal: int = 4500
    """training pictures of the data set"""
    rate: float = 0.01
    shares: tuple[float, ...] = (0.1, 0.3)
    """of the household in the dense layer's loss, to choose from"""
    max_loss: float = 0.01
    """balanced accuracy that may be lost on the test part; half of it on the validation part, by which is chosen"""
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
    for part in ("train", "validation", "test"):
        if not len(dataset.select(part)):
            raise DataError(f"the {part} part of the data set is empty")
    bundled = (source / "manifest.json").is_file()
    model = load_bundle(source, dataset.images[dataset.select("train")[:512]]) if bundled else load_network(source)
    found = {"before": logits(model, chips.images)}
    test_before = _on(model, dataset, "test")
    rehearsed, remembered, way = _learn_camera(model, chips, dataset, settings, report)
    found["0"] = logits(model, chips.images)
    head = Head.of(model, rehearsed, remembered)
    seen = [head.features(images) for images in (chips.images, chips.images[:, :, ::-1])]
    for share in settings.shares:
        found[str(share)] = head.cross_fitted(seen, chips.labels, share, folds)
    chosen = choose(found, chips.labels, folds)
    share = float(chosen)
    if share:
        model.layers[-1].set_weights(head.fit(seen, chips.labels, share))
    temperature = _trusted_temperature(found[chosen], chips.labels)
    Calibration(temperature, (0.0,) * len(EMOTIONS)).apply(model.layers[-1])
    mine = (
        summarise(softmax(found["before"]), chips.labels),
        summarise(softmax(_tempered(found[chosen], chips.labels, folds, _trusted_temperature)), chips.labels),
    )
    everybody = (test_before, _on(model, dataset, "test"))
    if everybody[1].balanced_accuracy < everybody[0].balanced_accuracy - settings.max_loss:
        shares = " to ".join(f"{summary.balanced_accuracy:.1%}" for summary in everybody)
        raise DataError(
            f"not adapted: it falls from {shares} on the test part, and may lose {settings.max_loss:.1%} at most"
        )

    described = describe(model, dataset, asdict(settings) | {"pictures": len(folds)}, start=identify([source]))
    begin_run(run, described, result="model.keras")
    figures = {
        "held_out": {"before": mine[0].as_dict(), "after": mine[1].as_dict()},
        "test": {"before": everybody[0].as_dict(), "after": everybody[1].as_dict()},
        "temperature": round(temperature, 4),
        "way": way,
        "household_share": share,
    }
    validation = _on(model, dataset, "validation")
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
    is no gain.

    ``found``: logits by name; the first is the network as it was.
    Raises `DataError`: none recognises more than guessing would, or none is better than the first by more than a
    standard error.
    """
    recognised = max(summarise(softmax(given), labels).balanced_accuracy for given in found.values())
    if recognised < LEAST_RECOGNISED:
        raise DataError(
            f"not adapted: at most {recognised:.0%} of the pictures are recognised, little more than by guessing; look "
            "whether they are in the right folders"
        )
    weights = _weights(labels)
    loss = {
        name: weights * _loss(_tempered(given, labels, folds, _best_temperature), labels)
        for name, given in found.items()
    }
    first, *others = found
    best = min(others, key=lambda name: float(loss[name].mean()))
    gain = loss[first] - loss[best]
    error = gain.std() / np.sqrt(len(gain))
    if gain.mean() <= error:
        raise DataError(
            f"not adapted: adapting gains nothing on the held-out pictures (log-loss {loss[first].mean():.3f} before, "
            f"{loss[best].mean():.3f} after, standard error {error:.3f}); the network stays as it is"
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
                          options={"maxiter": 40}).x.reshape(self.now.shape).astype(np.float32)  # fmt: skip
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


def _learn_camera(
    model: keras.Model, chips: Chips, dataset: Dataset, settings: AdaptSettings, report: Callable[[str], None]
) -> tuple[NDArray[np.uint8], Floats, float]:
    """Let the network learn the look of the household's pictures, as far as the validation part allows.

    Returns training pictures [m, 48, 48], plain ones and as many with the look; what the network said of the plain ones
    before, [m, 5]; and the share of the way that it went.
    """
    rng = np.random.default_rng([settings.seed, 1])
    images = dataset.images[rng.choice(dataset.select("train"), settings.rehearsal)]
    look = Look.measure(chips.images, images)
    report(f"the camera: blur {look.blur_px:.1f} px, noise {look.noise:g}, contrast {look.spread.mean():.0f} of 255")
    remembered, before = softmax(logits(model, images)), model.get_weights()
    accuracy = _on(model, dataset, "validation").balanced_accuracy
    moved = Warp.draw(len(images), rng, GENTLE).apply(images)
    seen = np.concatenate([moved, look.put_on(moved, rng)])
    mirrored, order = rng.random(len(seen)) < 0.5, rng.permutation(len(seen))
    seen[mirrored] = seen[mirrored, :, ::-1]
    _fit(model, seen[order], np.tile(remembered, (2, 1))[order], settings.rate)
    after = model.get_weights()
    for way in WAYS:
        model.set_weights([old + way * (new - old) for old, new in zip(before, after, strict=True)])
        lost = accuracy - _on(model, dataset, "validation").balanced_accuracy
        if lost <= settings.max_loss / 2:
            break
    report(f"{way:.0%} of the way to what it learned: {-100 * lost:+.1f} points on the validation part")
    few = images[:HELD]
    return np.concatenate([few, look.put_on(few, rng)]), np.tile(remembered[:HELD], (2, 1)), way


def _fit(model: keras.Model, images: NDArray[np.uint8], targets: Floats, rate: float) -> None:
    """Train the convolutions and the dense layer on each picture once.

    BatchNorm stays: statistics of two kinds of pictures together would suit neither.
    """
    for layer in model.layers:
        layer.trainable = not isinstance(layer, keras.layers.BatchNormalization)
    schedule = keras.optimizers.schedules.CosineDecay(rate, -(-len(images) // BATCH))
    optimizer = keras.optimizers.SGD(schedule, momentum=0.9, nesterov=True)
    model.compile(optimizer, keras.losses.CategoricalCrossentropy(from_logits=True), jit_compile=False)
    model.fit(images[..., None], targets, batch_size=BATCH, shuffle=False, verbose=0)
    for layer in model.layers:
        layer.trainable = True


def _on(model: keras.Model, dataset: Dataset, part: str) -> Summary:
    return summarise(predict(model, dataset, part), dataset.labels[dataset.select(part)])


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
    """Return the temperature with the least log-loss, each emotion counting the same."""
    weights = _weights(labels)
    return float(min(TEMPERATURES, key=lambda t: float((weights * _loss(found / t, labels)).mean())))


def _trusted_temperature(found: Floats, labels: NDArray[np.int8]) -> float:
    """Return the temperature that suits the pictures, as far as there are many of them."""
    return float(_best_temperature(found, labels) ** (len(labels) / (len(labels) + TRUST)))


def _loss(found: Floats, labels: NDArray[np.int8]) -> Floats:
    return np.asarray(-np.log(np.maximum(softmax(found)[np.arange(len(labels)), labels], 1e-6)))


def _weights(labels: NDArray[np.int8]) -> NDArray[np.float64]:
    weights = 1 / np.maximum(np.bincount(labels, minlength=len(EMOTIONS)), 1)[labels]
    return np.asarray(weights / weights.mean())


def _with_one(features: Floats) -> Floats:
    return np.hstack([features, np.ones((len(features), 1), np.float32)])
