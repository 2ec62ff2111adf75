"""The article's multilayer perceptron, 1024-512-5, on landmark distances or on pixels: its recipe, and ours."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

from edge.emotions import EMOTIONS
from edge.errors import DataError
from edge.faces.distances import LANDMARK_FEATURES_VERSION
from train.classic.mlp_settings import MlpSettings
from train.data.dataset import Dataset
from train.data.features import Features
from train.fit.calibration import calibrate
from train.fit.result import describe_versions
from train.metrics import softmax, summarise
from train.run_folder import open_run, write_curve, write_json

HIDDEN = (1024, 512)


def train_mlp(
    dataset: Dataset,
    features: Features,
    run: Path,
    settings: MlpSettings,
    *,
    resume: bool = False,
    report: Callable[[str], None] = lambda _line: None,
) -> keras.Model:
    """Train, measure on the validation part, and leave ``model.keras`` and ``result.json`` in the run folder.

    The result is calibrated on the validation part (`train.fit.calibration`). The state is kept after each epoch
    (`keras.callbacks.BackupAndRestore`), so that an interruption loses at most one.

    Parameters
    ----------
    features
        Features of every training and validation picture of ``dataset``.

    Returns
    -------
    The network from features [n, k], as `Features.of` gives them, to logits [n, 5].

    Raises
    ------
    UsageError
        The folder holds a run and ``resume`` is off, or it was started with other settings or data.
    DataError
        A part is empty, or training diverged.
    """
    rows, held = dataset.select("train"), dataset.select("validation")
    if not len(rows) or not len(held):
        raise DataError("the train or the validation part of the data set is empty")
    keras.utils.set_random_seed(settings.seed)
    x, targets, weights = training_set(dataset, features, rows, settings)
    model = build_mlp(x, settings)
    described = _describe(model, dataset, features, settings)
    open_run(run, described, resume=resume)
    held_x, held_labels = features.of(held), dataset.labels[held]
    if not (run / "model.keras").is_file():
        compile_mlp(model, settings, steps=settings.epochs * max(1, -(-len(x) // settings.batch)))
        model.fit(
            x, targets, sample_weight=weights, batch_size=settings.batch, epochs=settings.epochs,
            verbose=1 if sys.stdout.isatty() else 2,
            callbacks=[_Watch(run, held_x, held_labels), keras.callbacks.BackupAndRestore(run / "backup")],
        )  # fmt: skip
        held_logits = np.asarray(model.predict(held_x, batch_size=512, verbose=0))
        calibrate(held_logits, held_labels, 1.0 if settings.balanced else 0.0).apply(model.layers[-1])
        partial = run / "partial.keras"
        _plain(model).save(partial)
        partial.replace(run / "model.keras")
    else:
        report(f"{run} is complete")
        model = keras.models.load_model(run / "model.keras", compile=False)
    result = summarise(_scores(model, held_x), held_labels)
    write_json(run / "result.json", {"validation": result.as_dict(), **described})
    return model


def build_mlp(x: NDArray[np.float32], settings: MlpSettings) -> keras.Model:
    """Build the network for features like ``x`` [n, k], by which its first layers standardise (and whiten) them."""
    mean, variance = x.mean(axis=0, dtype=np.float64), x.var(axis=0, dtype=np.float64)
    variance = np.maximum(variance, 1e-9)  # a feature that never changes says nothing, rather than too much
    inputs = keras.Input((x.shape[1],), name="features")
    y = layers.Normalization(mean=mean.astype(np.float32), variance=variance.astype(np.float32), name="standardise")(
        inputs
    )
    if settings.whitened:
        axes = _whitening((x - mean) / np.sqrt(variance), settings)
        whiten = layers.Dense(axes.shape[1], use_bias=False, trainable=False, name="whiten")
        y = whiten(y)
        whiten.set_weights([axes])
    if settings.dropout:
        y = layers.Dropout(settings.dropout / 4, name="dropout_in")(y)
    for number, units in enumerate(HIDDEN, start=1):
        y = layers.Dense(units, activation="relu", kernel_initializer="glorot_normal", name=f"dense{number}")(y)
        if settings.dropout:
            y = layers.Dropout(settings.dropout, name=f"dropout{number}")(y)
    logits = layers.Dense(len(EMOTIONS), kernel_initializer="glorot_normal", name="logits")(y)
    return keras.Model(inputs, logits, name=f"mlp_{settings.features}")


def training_set(
    dataset: Dataset, features: Features, rows: NDArray[np.intp], settings: MlpSettings
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """What the network is fitted to: float32 features [n, k], targets [n, 5] that sum to 1, weights [n].

    Of these rows of the data set; where the settings mirror, of their mirror images after them.
    """
    labels = dataset.labels[rows]
    targets = np.eye(len(EMOTIONS), dtype=np.float32)[labels]
    if dataset.votes is not None:
        votes = dataset.votes[rows]
        voted = votes.sum(axis=1, keepdims=True) > 0
        targets = np.where(voted, (1 - settings.vote_share) * targets + settings.vote_share * votes, targets)
    weights = np.ones(len(rows), dtype=np.float32)
    if settings.balanced:
        counts = np.maximum(np.bincount(labels, minlength=len(EMOTIONS)), 1)
        weights = (len(rows) / (len(EMOTIONS) * counts))[labels].astype(np.float32)
    x = features.of(rows)
    if settings.mirrored:
        x = np.concatenate([x, features.mirrored(rows)])
        targets, weights = np.concatenate([targets, targets]), np.concatenate([weights, weights])
    return x, targets.astype(np.float32), weights


def compile_mlp(model: keras.Model, settings: MlpSettings, *, steps: int) -> None:
    """Give the network the loss, the optimizer and the schedule of a training of so many steps."""
    loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=settings.label_smoothing)
    if settings.recipe == "article":
        optimizer = keras.optimizers.SGD(settings.learning_rate)
    else:
        schedule = keras.optimizers.schedules.CosineDecay(settings.learning_rate, steps)
        optimizer = keras.optimizers.AdamW(schedule, weight_decay=settings.weight_decay)
    model.compile(optimizer, loss, jit_compile=False, weighted_metrics=["accuracy"])


def _whitening(standardised: NDArray[np.float64], settings: MlpSettings) -> NDArray[np.float32]:
    """Principal axes [k, components], each divided by a power of its spread: many distances say nearly the same."""
    covariance = standardised.astype(np.float32).T @ standardised.astype(np.float32) / len(standardised)
    spread, axes = np.linalg.eigh(covariance.astype(np.float64))
    kept = min(settings.whitened, standardised.shape[1])
    axes, spread = axes[:, ::-1][:, :kept], np.maximum(spread[::-1][:kept], 1e-9)
    scaled = axes * spread ** (-settings.whitening_power / 2)
    size = np.sqrt((spread ** (1 - settings.whitening_power)).mean())
    return np.asarray(scaled / size, dtype=np.float32)


class _Watch(keras.callbacks.Callback):  # type: ignore[misc]  # keras is untyped
    """Score the validation part after each epoch, and write the curves."""

    def __init__(self, run: Path, x: NDArray[np.float32], labels: NDArray[np.int8]) -> None:
        super().__init__()
        self._run = run
        self._x = x
        self._labels = labels

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        scores = _scores(self.model, self._x)
        if not np.isfinite(scores).all():
            raise DataError(f"training diverged in epoch {epoch + 1}: the network's scores are not numbers any more")
        logs = logs if logs is not None else {}
        logs["val_balanced_accuracy"] = summarise(scores, self._labels).balanced_accuracy
        write_curve(self._run, epoch + 1, logs)


def _scores(model: keras.Model, x: NDArray[np.float32]) -> NDArray[np.float32]:
    return softmax(np.asarray(model.predict(x, batch_size=512, verbose=0)))


def _plain(model: keras.Model) -> keras.Model:
    """Return the network without its optimizer."""
    plain = type(model).from_config(model.get_config())
    plain.set_weights(model.get_weights())
    return plain


def _describe(model: keras.Model, dataset: Dataset, features: Features, settings: MlpSettings) -> dict[str, Any]:
    return {
        "network": {"name": model.name, "parameters": int(model.count_params())},
        "settings": settings.as_dict(),
        "features": features.described | {"version": LANDMARK_FEATURES_VERSION},
        "data_fingerprint": dataset.fingerprint(),
        "data": dataset.notes,
        "versions": describe_versions(),
    }
