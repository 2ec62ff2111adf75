"""Train any of the networks: run folder, progress, a checkpoint each epoch, resume."""

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from edge.emotions import EMOTIONS
from edge.errors import DataError, UsageError
from train.data.dataset import CLASSES, Dataset
from train.fit.batches import Batches, trained_rows
from train.fit.distribute import Distribution
from train.fit.result import complete, describe, predict, save
from train.fit.settings import FitSettings
from train.fit.teacher import Teachers, identify
from train.fit.tensorboard import log_epoch
from train.metrics import summarise
from train.networks.backend import first_line, load_network
from train.networks.from_bundle import copy_bundle
from train.networks.transfer import BODY_FACES, copy_head, copy_weights
from train.run_folder import open_run, write_curve


def fit(
    build: Callable[[int], keras.Model],
    dataset: Dataset,
    run: Path,
    settings: FitSettings,
    *,
    teachers: Sequence[Path] = (),
    landmarks: Path | None = None,
    start: Callable[[keras.Model], None] | Path | None = None,
    resume: bool = False,
    report: Callable[[str], None] = lambda _line: None,
    distribution: Distribution | None = None,
) -> keras.Model:
    """Train a network and write ``model.keras`` and ``result.json`` into the run folder.

    The network learns seven classes; the result has the five emotions, averaged weights, and is calibrated on the
    validation part (`train.fit.calibration`).

    A checkpoint is written after each epoch, so that an interruption loses at most one epoch. A resumed run ends with
    the same weights as one that was never interrupted; a complete run is left as it is.

    ``build``: builds the network with this many outputs; first called after the random generators were seeded.
    ``teachers``: models whose scores are ``settings.teacher_share`` of the targets.
    ``landmarks``: file that keeps the pictures' landmarks (`train.data.landmarks`); they are found for
    ``settings.degrade_share``.
    ``start``: a model whose weights the network starts from, layer by layer; see `train.networks.transfer` and
    `train.networks.from_bundle`. Or a function that sets its weights.
    ``resume``: resume from the checkpoint, if there is one.
    ``report``: called with lines of progress: where the run resumes, and the time left.
    ``distribution``: devices or machines that share the work; only the chief among them touches the run folder.
    Raises `UsageError`: the run folder holds a run and ``resume`` is off, it was started with other settings or data,
    or a batch cannot be split evenly.
    Raises `DataError`: a part that is needed is empty, the checkpoint is damaged, or training diverged.
    """
    shared = distribution or Distribution()
    _require_possible(dataset, settings, shared, teachers)
    keras.utils.set_random_seed(settings.seed)
    with shared.scope():
        model = build(CLASSES)
    if isinstance(start, Path):
        _copy_start(start, model, dataset)
    elif start is not None:
        start(model)
    begun = identify([start]) if isinstance(start, Path) else {}
    described = describe(model, dataset, asdict(settings), teachers=identify(teachers), start=begun)
    interrupted = open_run(run, described, resume=resume) if shared.chief else False
    if shared.chief and (run / "model.keras").is_file():
        report(f"{run} is complete")
        return load_network(run)
    images = dataset.images[trained_rows(dataset)]
    points = None
    if settings.degrade_share:
        from train.data.features import watched_landmarks  # loads dlib

        points = watched_landmarks(images, cache=landmarks).in_pictures()
    asked = Teachers(teachers, images, run / "teacher-scores", report=report) if teachers else None
    batches = Batches(dataset, settings, asked, points, shares=shared.workers, share=shared.share)
    with shared.scope():
        compile_network(model, settings, steps=settings.epochs * len(batches))
    done = _restore(model, run / "checkpoint.keras" if interrupted else None, len(batches), shared)
    if done:
        report(f"{done} of {settings.epochs} epochs are done, going on from there")
    each = _EachEpoch(dataset, run, batches, settings, report=report, shared=shared)
    if done < settings.epochs:
        batches.start_epoch(done)  # Keras reads the first batch before the epoch begins
        shared.fit(model, batches, [each], done=done, epochs=settings.epochs, verbose=_verbosity(shared))
    # Keras does this at the end of `fit`, which a run that was complete before this call has not reached.
    model.optimizer.finalize_variable_values(model.trainable_variables)
    plain = build(len(EMOTIONS))
    trained = shared.local(model)
    for mine, its in zip(plain.layers[:-1], trained.layers[:-1], strict=True):
        mine.set_weights(its.get_weights())
    copy_head(trained.layers[-1].get_weights(), plain, "the trained network")
    if not shared.chief:
        return plain
    complete(run, plain, dataset, settings.balance, described)
    return plain


def compile_network(model: keras.Model, settings: FitSettings, *, steps: int) -> None:
    """Compile a network with its loss and optimizer, and a learning-rate schedule of ``steps`` steps."""
    warmup = round(steps * settings.warmup_share)
    schedule = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=settings.peak_learning_rate / 25,
        warmup_target=settings.peak_learning_rate, warmup_steps=warmup, decay_steps=max(1, steps - warmup),
    )  # fmt: skip
    average = max(0.0, min(settings.average_momentum, 1 - 10 / steps))  # of few steps only the last tenth counts
    optimizer = keras.optimizers.SGD(
        schedule, momentum=0.9, nesterov=True, weight_decay=settings.weight_decay,
        use_ema=True, ema_momentum=average,
    )  # fmt: skip
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    optimizer.build(model.trainable_variables)
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    compiled = keras.backend.backend() == "jax"  # eager otherwise
    model.compile(optimizer, loss, jit_compile=compiled, weighted_metrics=["accuracy"])


def _require_possible(dataset: Dataset, settings: FitSettings, shared: Distribution, teachers: Sequence[Path]) -> None:
    for part in ("train", "validation"):
        if not len(dataset.select(part)):
            raise DataError(f"the {part} part of the data set is empty")
    if settings.batch % shared.parts:
        raise UsageError(f"a batch of {settings.batch} cannot be split evenly between {shared.parts} devices")
    if teachers and shared.workers > 1:
        raise UsageError("several workers cannot learn from teachers; one machine can, on all its GPUs")


class _EachEpoch(keras.callbacks.Callback):  # type: ignore[misc]  # keras is untyped
    """Before each epoch, seed it; after it, score the validation part and write the curves and the checkpoint."""

    def __init__(
        self,
        dataset: Dataset,
        run: Path,
        batches: Batches,
        settings: FitSettings,
        *,
        report: Callable[[str], None],
        shared: Distribution,
    ) -> None:
        super().__init__()
        self._batches = batches
        self._settings = settings
        self._dataset = dataset
        self._run = run
        self._report = report
        self._shared = shared
        self._started_s = self._steps_started_s = 0.0

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002
        """Seed pictures and dropout by (seed, epoch) alone: a checkpoint lacks the state of dropout's generators."""
        self._started_s = time.monotonic()  # first, so that the time left includes the teachers' scoring
        self._batches.start_epoch(epoch)
        states = [v for v in self.model.non_trainable_variables if v.name == "seed_generator_state"]
        for index, state in enumerate(states):
            drawn = np.random.SeedSequence([self._settings.seed, epoch, index]).generate_state(2)
            state.assign((drawn >> 2).astype(str(state.dtype)))  # some backends hold it as int32, and count up

    def on_train_batch_begin(self, batch: int, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002
        if batch == 0:
            self._steps_started_s = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        trained_s = time.monotonic() - self._steps_started_s
        labels = self._dataset.labels[self._dataset.select("validation")]
        scores = predict(self._shared.local(self.model), self._dataset, "validation")
        if not np.isfinite(scores).all():
            raise DataError(f"training diverged in epoch {epoch + 1}: scores are no longer finite numbers")
        logs = logs if logs is not None else {}
        logs["val_balanced_accuracy"] = summarise(scores, labels).balanced_accuracy
        rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        if not self._shared.chief:
            return
        figures = logs | {"learning_rate": rate, "images_per_s": len(self._batches) * self._batches.size / trained_s}
        write_curve(self._run, epoch + 1, figures)  # before the checkpoint, so that the curves have no gap
        log_epoch(self._run, epoch + 1, figures)
        save(self.model, self._run / "checkpoint.keras")
        left = self._settings.epochs - epoch - 1
        if left:
            minutes = left * (time.monotonic() - self._started_s) / 60
            self._report(f"epoch {epoch + 1} of {self._settings.epochs} is saved, about {minutes:.0f} min left")


def _copy_start(start: Path, model: keras.Model, dataset: Dataset) -> None:
    if (start / "manifest.json").is_file():
        faces = dataset.images[dataset.select("train")[:BODY_FACES]]
        copy_bundle(start, model, faces)
    else:
        copy_weights(start, model)


def _restore(model: keras.Model, checkpoint: Path | None, steps: int, shared: Distribution) -> int:
    """Copy the weights and the optimizer's state of the chief's checkpoint to every worker; return the finished epochs.

    The stored optimizer cannot be used itself: Keras does not save which weights are excluded from decay.
    """
    variables = [*model.weights, *model.optimizer.variables]
    done, values = 0, [keras.ops.convert_to_numpy(variable) for variable in variables]
    if checkpoint and shared.chief:
        done, values = _read(checkpoint, steps)
    *values, count = shared.from_chief([*values, np.array(done)])
    if count:
        with shared.scope():
            for variable, value in zip(variables, values, strict=True):
                variable.assign(value)
    return int(count)


def _read(checkpoint: Path, steps: int) -> tuple[int, list[NDArray[np.generic]]]:
    """Return the finished epochs of a checkpoint and its values.

    It is loaded outside any distribution: there, each variable would be shared with workers that do not load it.
    """
    try:
        stored = keras.models.load_model(checkpoint)
        variables = [*stored.weights, *stored.optimizer.variables]
        values = [np.asarray(keras.ops.convert_to_numpy(variable)) for variable in variables]
        taken = int(keras.ops.convert_to_numpy(stored.optimizer.iterations))
    except Exception as error:  # Keras, h5py and zipfile raise many types for a damaged file
        raise DataError(f"{checkpoint}: damaged ({first_line(error)}); start another run with --run NAME") from error
    if taken % steps:
        raise DataError(f"{checkpoint}: stopped after {taken} steps, within an epoch of {steps}: not of this run")
    return taken // steps, values


def _verbosity(shared: Distribution) -> int:
    if not shared.chief:
        return 0
    return 1 if sys.stdout.isatty() else 2
