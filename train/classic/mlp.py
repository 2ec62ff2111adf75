"""The article's multilayer perceptron, 1024-512-5, on landmark distances or pixels, with its settings or ours."""

import sys
from collections.abc import Callable
from pathlib import Path

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
from train.files import write_json
from train.fit.calibration import calibrate
from train.fit.result import describe, save, without_optimizer
from train.fit.targets import class_weights, soft_targets
from train.metrics import softmax, summarise
from train.networks.backend import load_network, logits
from train.run_folder import open_run, write_curve

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
    """Train, measure on the validation part, and write ``model.keras`` and ``result.json`` into the run folder.

    The result is calibrated on the validation part (`train.fit.calibration`). The state is kept after each epoch
    (`keras.callbacks.BackupAndRestore`), so that an interruption loses at most one epoch.

    ``features``: features of every training and validation picture of ``dataset``.
    Returns the network from features [n, k], as `Features.of` gives them, to logits [n, 5].
    Raises `UsageError`: the folder holds a run and ``resume`` is off, or it was started with other settings or data.
    Raises `DataError`: a part is empty, or training diverged.
    """
    rows, held = dataset.select("train"), dataset.select("validation")
    if not len(rows) or not len(held):
        raise DataError("the train or the validation part of the data set is empty")
    keras.utils.set_random_seed(settings.seed)
    x, targets, weights = training_set(dataset, features, rows, settings)
    model = build_mlp(x, settings)
    described = describe(
        model, dataset, settings.as_dict(), features=features.described | {"version": LANDMARK_FEATURES_VERSION}
    )
    open_run(run, described, resume=resume)
    held_x, held_labels = features.of(held), dataset.labels[held]
    if not (run / "model.keras").is_file():
        compile_mlp(model, settings, steps=settings.epochs * max(1, -(-len(x) // settings.batch)))
        model.fit(
            x, targets, sample_weight=weights, batch_size=settings.batch, epochs=settings.epochs,
            verbose=1 if sys.stdout.isatty() else 2,
            callbacks=[_Watch(run, held_x, held_labels), keras.callbacks.BackupAndRestore(run / "backup")],
        )  # fmt: skip
        calibrate(logits(model, held_x), held_labels, 1.0 if settings.balanced else 0.0).apply(model.layers[-1])
        save(without_optimizer(model), run / "model.keras")
    else:
        report(f"{run} is complete")
        model = load_network(run)
    result = summarise(softmax(logits(model, held_x)), held_labels)
    write_json(run / "result.json", {"validation": result.as_dict(), **described})
    return model


def build_mlp(x: NDArray[np.float32], settings: MlpSettings) -> keras.Model:
    """Build the network. Its first layers standardise (and whiten) features by the statistics of ``x`` [n, k]."""
    mean, variance = x.mean(axis=0, dtype=np.float64), x.var(axis=0, dtype=np.float64)
    variance = np.maximum(variance, 1e-9)  # a feature that never changes must not be divided by 0
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
    y = layers.Dense(len(EMOTIONS), kernel_initializer="glorot_normal", name="logits")(y)
    return keras.Model(inputs, y, name=f"mlp_{settings.features}")


def training_set(
    dataset: Dataset, features: Features, rows: NDArray[np.intp], settings: MlpSettings
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Return features float32 [n, k], targets [n, 5] that sum to 1, and weights [n] of these rows of the data set.

    If the settings mirror, those of their mirror images follow.
    """
    targets = soft_targets(
        dataset,
        rows,
        vote_share=settings.vote_share,
        label_smoothing=settings.label_smoothing,
        match=False,
        classes=len(EMOTIONS),
    )
    weights = class_weights(dataset.labels[rows], 1.0 if settings.balanced else 0.0)
    x = features.of(rows)
    if settings.mirrored:
        x = np.concatenate([x, features.mirrored(rows)])
        targets, weights = np.concatenate([targets, targets]), np.concatenate([weights, weights])
    return x, targets, weights


def compile_mlp(model: keras.Model, settings: MlpSettings, *, steps: int) -> None:
    """Compile the network with its loss and optimizer, and a learning-rate schedule of ``steps`` steps."""
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    if settings.recipe == "article":
        optimizer = keras.optimizers.SGD(settings.learning_rate)
    else:
        schedule = keras.optimizers.schedules.CosineDecay(settings.learning_rate, steps)
        optimizer = keras.optimizers.AdamW(schedule, weight_decay=settings.weight_decay)
    model.compile(optimizer, loss, jit_compile=False, weighted_metrics=["accuracy"])


def _whitening(standardised: NDArray[np.float64], settings: MlpSettings) -> NDArray[np.float32]:
    """Principal axes [k, components], each divided by a power of its variance: many distances are nearly the same."""
    covariance = standardised.astype(np.float32).T @ standardised.astype(np.float32) / len(standardised)
    spread, axes = np.linalg.eigh(covariance.astype(np.float64))
    kept = min(settings.whitened, standardised.shape[1])
    axes, spread = axes[:, ::-1][:, :kept], np.maximum(spread[::-1][:kept], 1e-9)
    scaled = axes * spread ** (-settings.whitening_power / 2)
    size = np.sqrt((spread ** (1 - settings.whitening_power)).mean())
    return np.asarray(scaled / size, dtype=np.float32)


class _Watch(keras.callbacks.Callback):  # type: ignore[misc]  # keras is untyped
    """After each epoch, score the validation part and write the curves."""

    def __init__(self, run: Path, x: NDArray[np.float32], labels: NDArray[np.int8]) -> None:
        super().__init__()
        self._run = run
        self._x = x
        self._labels = labels

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        scores = softmax(logits(self.model, self._x))
        if not np.isfinite(scores).all():
            raise DataError(f"training diverged in epoch {epoch + 1}: scores are no longer finite numbers")
        logs = logs if logs is not None else {}
        logs["val_balanced_accuracy"] = summarise(scores, self._labels).balanced_accuracy
        write_curve(self._run, epoch + 1, logs)
