"""Train on more than one device or machine, with TensorFlow's strategies.

A step's batch is split evenly, gradients are averaged, and BatchNorm uses the statistics of the whole batch: apart from
the dropout masks each step equals that of one device, so the loss follows the same curve. Importing this module loads
nothing heavy.
"""

import contextlib
import json
import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from edge.errors import EmotionEdgeError, UsageError
from train.networks.backend import first_line

if TYPE_CHECKING:
    from train.fit.batches import Batches

Kind = Literal["none", "mirrored", "multiworker"]
EXAMPLE = '{"cluster": {"worker": ["10.0.0.1:5555", "10.0.0.2:5555"]}, "task": {"type": "worker", "index": 0}}'


class Distribution:
    """Train in one process on one device; subclasses override what differs."""

    chief: bool = True
    """True in the one process that writes the run folder"""
    workers: int = 1
    """processes"""
    share: int | None = None
    """number of this process among several, from 0: its share of each batch"""
    parts: int = 1
    """number of even parts of a step's batch"""

    def scope(self) -> contextlib.AbstractContextManager[Any]:
        """Return the context in which networks and optimizers are built."""
        return contextlib.nullcontext()

    def fit(
        self, model: Any, batches: "Batches", callbacks: list[Any], *, done: int, epochs: int, verbose: int
    ) -> None:
        """Train a compiled model from the epoch after ``done`` to ``epochs``."""
        # shuffle=True would shuffle the order of the batches, from Python's global generator
        model.fit(batches, initial_epoch=done, epochs=epochs, shuffle=False, verbose=verbose, callbacks=callbacks)

    def from_chief(self, arrays: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        """Return the chief's arrays in every process; each process passes arrays of the same shapes."""
        return list(arrays)

    def local(self, model: Any) -> Any:
        """Return a copy of a model, with its present weights, that this process can use alone."""
        return model


def open_distribution(kind: Kind) -> Distribution:
    """Return the distribution of this kind. Call it before anything else uses TensorFlow.

    ``kind``: ``none``; ``mirrored``: all GPUs of this machine; ``multiworker``: one process on each machine, each
    started with the same command and its own ``TF_CONFIG``.
    Raises `UsageError`: the Keras backend is not TensorFlow, or ``TF_CONFIG`` is missing or invalid.
    """
    if kind not in get_args(Kind):
        raise UsageError(f"--distribute takes {', '.join(get_args(Kind))}, found {kind!r}")
    if kind == "none":
        return Distribution()
    import keras

    backend = keras.backend.backend()
    if backend != "tensorflow":
        raise UsageError(f"--distribute {kind} needs the TensorFlow backend, KERAS_BACKEND is {backend}")
    if kind == "mirrored":
        return _Mirrored()
    addresses, index = _read_tf_config(os.environ.get("TF_CONFIG"))
    return _MultiWorker(len(addresses), index)


class _Mirrored(Distribution):
    """A copy of the network on each GPU of this machine, or on each logical CPU if there is none."""

    def __init__(self) -> None:
        import tensorflow as tf

        devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
        self._strategy = tf.distribute.MirroredStrategy([device.name for device in devices])
        self.parts = int(self._strategy.num_replicas_in_sync)
        self._local: Any = None

    def scope(self) -> contextlib.AbstractContextManager[Any]:
        scope: contextlib.AbstractContextManager[Any] = self._strategy.scope()
        return scope

    def fit(
        self, model: Any, batches: "Batches", callbacks: list[Any], *, done: int, epochs: int, verbose: int
    ) -> None:
        _synchronise_batch_norm(model)
        super().fit(model, batches, callbacks, done=done, epochs=epochs, verbose=verbose)

    def local(self, model: Any) -> Any:
        if self._local is None:
            self._local = type(model).from_config(_plain_config(model))
        self._local.set_weights(model.get_weights())
        return self._local


class _MultiWorker(_Mirrored):
    """A copy of the network in each process of a cluster; collectives over gRPC, or NCCL between GPUs."""

    def __init__(self, workers: int, index: int) -> None:
        import tensorflow as tf

        try:
            self._strategy = tf.distribute.MultiWorkerMirroredStrategy()
        except (tf.errors.OpError, ValueError, RuntimeError) as error:
            raise UsageError(f"worker {index} cannot join the cluster of TF_CONFIG: {first_line(error)}") from error
        self._local = None
        self.workers = workers
        self.chief = index == 0
        self.parts = int(self._strategy.num_replicas_in_sync)
        self.share = index

    @contextlib.contextmanager
    def scope(self) -> Iterator[None]:
        with _all_there(), self._strategy.scope():
            yield

    def fit(
        self, model: Any, batches: "Batches", callbacks: list[Any], *, done: int, epochs: int, verbose: int
    ) -> None:
        """Train with a loop of our own. Raises `EmotionEdgeError`: another worker is gone.

        Keras 3's ``fit`` takes the mean of its first batch and of each figure in ways that this strategy refuses
        (github.com/keras-team/keras/issues/20585).
        """
        import keras
        import tensorflow as tf

        _synchronise_batch_norm(model)
        strategy = self._strategy
        with strategy.scope():
            _build_metrics(model, batches[0])
        model.stop_training = False
        running = keras.callbacks.CallbackList(
            callbacks, add_progbar=verbose != 0, model=model, verbose=verbose, epochs=epochs, steps=len(batches)
        )

        @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator]
        def step(batch: Any) -> Any:
            figures = strategy.run(model.train_step, args=(batch,))
            return {name: strategy.reduce("MEAN", value, axis=None) for name, value in figures.items()}

        data = self._share(batches)
        running.on_train_begin()
        logs: dict[str, float] = {}
        with _all_there():
            for epoch in range(done, epochs):
                model.reset_metrics()
                running.on_epoch_begin(epoch)
                for index, batch in enumerate(data):
                    running.on_train_batch_begin(index)
                    logs = {name: float(value) for name, value in step(batch).items()}
                    running.on_train_batch_end(index, logs)
                running.on_epoch_end(epoch, logs)
            model.optimizer.finalize_variable_values(model.trainable_variables)
        running.on_train_end(logs)

    def _share(self, batches: "Batches") -> Any:
        import tensorflow as tf

        signature = tuple(tf.TensorSpec((None, *array.shape[1:]), array.dtype) for array in batches[0])

        def drawn_here() -> Iterator[tuple[NDArray[Any], ...]]:
            for index in range(len(batches)):
                yield batches[index]

        def here(_context: Any) -> Any:
            drawn = tf.data.Dataset.from_generator(drawn_here, output_signature=signature)
            if self.parts > self.workers:  # several GPUs in each process
                drawn = drawn.unbatch().batch(batches.size // self.parts, drop_remainder=True)
            return drawn.prefetch(tf.data.AUTOTUNE)

        return self._strategy.distribute_datasets_from_function(here)

    def from_chief(self, arrays: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        import tensorflow as tf

        # float64 holds step counters exactly, and collectives take it.
        mine = [np.asarray(a, np.float64) if self.chief else np.zeros(np.shape(a)) for a in arrays]

        @tf.function  # type: ignore[untyped-decorator]
        def summed() -> Any:
            def of_replica() -> Any:
                context = tf.distribute.get_replica_context()
                first = tf.cast(context.replica_id_in_sync_group == 0, tf.float64)
                return [context.all_reduce("SUM", first * value) for value in mine]

            return self._strategy.run(of_replica)

        with _all_there():
            results = [self._strategy.experimental_local_results(value)[0] for value in summed()]
        return [np.asarray(value).astype(np.asarray(a).dtype) for value, a in zip(results, arrays, strict=True)]


@contextlib.contextmanager
def _all_there() -> Iterator[None]:
    """Turn what a collective raises when another worker is gone into one line."""
    import tensorflow as tf

    gone = tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError, tf.errors.DeadlineExceededError
    try:
        yield
    except gone as error:
        what = type(error).__name__.removesuffix("Error").lower()
        raise EmotionEdgeError(
            f"another worker is gone ({what}); whole epochs are kept: start all workers again with --resume"
        ) from error


def _synchronise_batch_norm(model: Any) -> None:
    import keras

    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.synchronized = True


def _build_metrics(model: Any, batch: tuple[NDArray[Any], ...]) -> None:
    """Create the variables of loss and metrics, which cannot be created inside a distributed step."""
    pictures, targets, weights = batch
    logits = model(pictures, training=False)
    model.compute_loss(pictures, targets, logits, weights)
    model.compute_metrics(pictures, targets, logits, weights)
    model.reset_metrics()


def _plain_config(model: Any) -> Any:
    """Undo `_synchronise_batch_norm`: the file must load on every backend."""
    config = model.get_config()
    for layer in config.get("layers", []):
        if "synchronized" in layer.get("config", {}):
            layer["config"]["synchronized"] = False
    return config


def _read_tf_config(text: str | None) -> tuple[list[str], int]:
    """Addresses of the workers and the place of this one, from the text of ``TF_CONFIG``."""
    if not text:
        raise UsageError(f"--distribute multiworker reads the environment variable TF_CONFIG, for example {EXAMPLE}")
    try:
        value = json.loads(text)
        addresses, task = value["cluster"]["worker"], value["task"]
        kind, index = task["type"], int(task["index"])
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"TF_CONFIG is not what it must be ({first_line(error)}), for example {EXAMPLE}") from error
    if set(value["cluster"]) != {"worker"} or kind != "worker":
        raise UsageError("TF_CONFIG: only tasks of type worker are known here")
    if not isinstance(addresses, list) or not 0 <= index < len(addresses):
        raise UsageError(f"TF_CONFIG: index {index} is none of the {len(addresses)} workers")
    return addresses, index
