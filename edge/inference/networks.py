"""Networks in TFLite files, run by whichever TFLite runtime is installed.

``ai_edge_litert`` is TFLite under its present name; ``tflite_runtime`` 2.14 its former build; ``tensorflow`` is what a
workstation has. A process can use only one of them: the C++ types of two collide, and the second one crashes.
"""

import fcntl
import importlib
import os
import re
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edge.emotions import EMOTIONS
from edge.errors import BundleError
from edge.inference.manifest import LogScores, Quantization

RUNTIMES: Mapping[str, str] = {
    "ai_edge_litert": "ai_edge_litert.interpreter",
    "tflite_runtime": "tflite_runtime.interpreter",
    "tensorflow": "tensorflow.lite",
}
"""Name, and the module with its ``Interpreter``; in the order in which they are tried."""

SIDE_PX = 48
INPUT_SHAPE = (1, SIDE_PX, SIDE_PX, 1)
OUTPUT_SHAPE = (1, len(EMOTIONS))

OPERATORS = frozenset({
    "ADD", "AVERAGE_POOL_2D", "CAST", "CONV_2D", "DEPTHWISE_CONV_2D", "DEQUANTIZE", "FULLY_CONNECTED", "MAX_POOL_2D",
    "MEAN", "MUL", "PAD", "QUANTIZE", "RELU", "RESHAPE", "SOFTMAX",
})  # fmt: skip
"""The operators a network may use. Others, such as WHILE or a custom one, could run for ever or run anything."""

NOTES = re.compile(
    rb"INFO: .*(TensorFlow Lite|TfLite|XNNPACK)"  # TFLite's own log
    rb"|WARNING: All log messages before absl::InitializeLog"
    rb"|[IW]\d{4} \d\d:\d\d:\d\d"  # TensorFlow's, by absl
    rb"|\d{4}-\d\d-\d\d [\d:.]+: [IW] (tensorflow|external)/"  # and by older versions
    rb"|To enable the following instructions:"
    rb"|fully_quantize: "
)
"""Beginnings of the lines that are dropped: notes of a runtime or the converter, whose errors are exceptions."""
PIPE_BYTES = 1 << 20
FORWARD_LIMIT_S = 2.0
"""Seconds to wait for the last lines: a program that was started meanwhile may hold the pipe open for longer."""

_redirecting = threading.RLock()


class Interpreter(Protocol):
    """The part of a TFLite interpreter that is used here; all three runtimes have it.

    A tensor's details are a dictionary with ``index``, ``name``, ``shape``, ``dtype``, ``quantization`` (scale, zero).
    """

    def allocate_tensors(self) -> None:
        """Allocate memory for all tensors; to be called once, before anything else."""

    def get_input_details(self) -> list[dict[str, Any]]:
        """Describe the inputs."""

    def get_output_details(self) -> list[dict[str, Any]]:
        """Describe the outputs."""

    def get_tensor_details(self) -> list[dict[str, Any]]:
        """Describe every tensor of the graph."""

    def set_tensor(self, tensor_index: int, value: NDArray[Any]) -> None:
        """Copy a value into an input."""

    def invoke(self) -> None:
        """Run the graph."""

    def get_tensor(self, tensor_index: int) -> NDArray[Any]:
        """Copy a value out."""


class TfliteClassifier:
    """A network in a TFLite file, given one chip at a time; TFLite releases the GIL while it runs.

    Raises `BundleError`: no runtime can run the model, or its input or output does not fit the quantization.
    """

    population: LogScores | None = None

    def __init__(
        self, model: bytes, *, name: str, quantization: Quantization, threads: int = 1, runtime: str | None = None
    ) -> None:
        self.name = name
        self._interpreter = open_interpreter(model, threads, runtime)
        source = _only(self._interpreter.get_input_details(), "input")
        result = _only(self._interpreter.get_output_details(), "output")
        _require("input", source, INPUT_SHAPE, np.uint8)
        _require("output", result, OUTPUT_SHAPE, np.uint8 if quantization == "int8" else np.float32)
        self._input, self._output = int(source["index"]), int(result["index"])
        scale, zero = result["quantization"]
        if quantization == "int8" and not 0 < scale <= 1:
            raise BundleError(f"its output has the impossible scale {scale}")
        self._scale, self._zero = (float(scale), float(zero)) if quantization == "int8" else (1.0, 0.0)
        self.scores(np.full((1, SIDE_PX, SIDE_PX), 127, dtype=np.uint8))

    def scores(
        self,
        chips: NDArray[np.uint8],
        points: NDArray[np.float32] | None = None,  # noqa: ARG002  # of the interface; a network needs the chips alone
    ) -> NDArray[np.float32]:
        """Return float32 [n, 5], rows sum to 1, for face chips uint8 [n, 48, 48]; the landmarks are not used.

        Raises `ValueError`: the chips have another shape or dtype.
        Raises `BundleError`: the model's output is not a row of scores.
        """
        if chips.shape[1:] != (SIDE_PX, SIDE_PX) or chips.dtype != np.uint8:
            raise ValueError(f"chips must be uint8 [n, {SIDE_PX}, {SIDE_PX}], found {chips.dtype} {chips.shape}")
        chips = np.ascontiguousarray(chips)
        out = np.empty((len(chips), len(EMOTIONS)), dtype=np.float32)
        for index, chip in enumerate(chips):
            self._interpreter.set_tensor(self._input, chip.reshape(INPUT_SHAPE))
            self._interpreter.invoke()
            out[index] = self._interpreter.get_tensor(self._output)[0]
        out -= self._zero
        out *= self._scale
        total = out.sum(axis=1, keepdims=True)
        # A softmax rounded to 1/256 sums to within 5/512 of 1; far beyond that the output is something else.
        if not (np.isfinite(out).all() and (out >= 0).all() and (np.abs(total - 1) < 0.05).all()):
            raise BundleError("its output is no row of scores that sum to 1")
        out /= total
        return out


def _only(details: list[dict[str, Any]], what: str) -> dict[str, Any]:
    if len(details) != 1:
        raise BundleError(f"it has {len(details)} {what}s, expected 1")
    return details[0]


def _require(what: str, found: dict[str, Any], shape: tuple[int, ...], dtype: type[np.generic]) -> None:
    if tuple(found["shape"]) != shape or found["dtype"] != dtype:
        kind = np.dtype(found["dtype"]).name
        raise BundleError(
            f"its {what} is {kind} {[*map(int, found['shape'])]}, expected {np.dtype(dtype).name} {[*shape]}"
        )


def available_runtimes() -> tuple[str, ...]:
    """Return the names of the installed runtimes, best first, without loading any."""
    return tuple(name for name in RUNTIMES if find_spec(name) is not None and _fits_numpy(name))


def open_interpreter(
    model: bytes, threads: int = 1, runtime: str | None = None, operators: frozenset[str] = OPERATORS
) -> Interpreter:
    """Open a model, ready to run.

    Raises `BundleError`: no runtime is installed, or not this one, or it cannot run the model.

    ``model``: a TFLite flatbuffer. Its hash must have been verified, as the runtimes trust its content.
    ``runtime``: one of ``RUNTIMES``; None takes the best that is installed.
    ``operators``: all that the model may use.
    """
    names = available_runtimes() if runtime is None else (runtime,)
    failure = ""
    for name in names:
        if name not in RUNTIMES or not _fits_numpy(name):
            failure = f": {name} cannot be used here"
            continue
        try:
            with quiet_stderr():
                module = importlib.import_module(RUNTIMES[name].partition(".")[0])
                module = module.lite if name == "tensorflow" else importlib.import_module(RUNTIMES[name])
        except (ImportError, AttributeError) as error:
            failure = f": {name}: {error}"
            continue
        return _allocate(module.Interpreter, model, threads, name, operators)
    raise BundleError(f"no TFLite runtime{failure}; install one with: pip install ai-edge-litert")


def _allocate(kind: Any, model: bytes, threads: int, name: str, operators: frozenset[str]) -> Interpreter:
    try:
        with quiet_stderr():
            interpreter: Interpreter = kind(model_content=model, num_threads=threads)
            _check_operators(interpreter, operators)
            interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise BundleError(f"{name} cannot run this model: {' '.join(str(error).split())[:200]}") from None
    return interpreter


def _check_operators(interpreter: Any, operators: frozenset[str]) -> None:
    # No public method lists the operators; all three runtimes have had this one for years, and a test checks it.
    names = {str(operator["op_name"]) for operator in interpreter._get_ops_details()}  # noqa: SLF001
    if unknown := sorted(names - operators):
        raise BundleError(f"it holds the operator {unknown[0]}, which no network here needs")


def _fits_numpy(name: str) -> bool:
    # tflite_runtime 2.14 is compiled for numpy 1; under numpy 2 its import prints a page and fails.
    return name != "tflite_runtime" or int(np.__version__.partition(".")[0]) < 2


@contextmanager
def quiet_stderr() -> Iterator[None]:
    """Keep the runtimes' notes ("INFO: Created … delegate") and warnings of deprecation off standard error.

    Their C++ parts write to descriptor 2, past ``sys.stderr``, and have no setting against it. Meanwhile that
    descriptor leads to a thread that drops their notes and passes on every other line at once: other threads write
    there too. One caller at a time; another one waits.
    """
    with _redirecting, warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.filterwarnings("ignore", r"\s*Warning: tf\.lite\.Interpreter is deprecated", UserWarning)
        try:
            stderr = os.dup(2)
        except OSError:  # it is closed: nothing to keep quiet
            yield
            return
        read_end, write_end = os.pipe2(os.O_CLOEXEC)
        # A writer that holds the GIL must not wait for the thread that empties the pipe.
        fcntl.fcntl(write_end, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        os.set_blocking(write_end, False)
        os.dup2(write_end, 2)
        os.close(write_end)
        forwarder = threading.Thread(target=_forward, args=(read_end, stderr), name="stderr", daemon=True)
        forwarder.start()
        try:
            yield
        finally:
            os.dup2(stderr, 2)
            forwarder.join(FORWARD_LIMIT_S)


def _forward(read_end: int, stderr: int) -> None:
    """Copy what is no note of a runtime, line by line, until nobody can write to the pipe any more."""
    with open(read_end, "rb") as lines, open(stderr, "wb", buffering=0) as out:  # descriptors
        for line in lines:
            if not NOTES.match(line):
                with suppress(OSError):
                    out.write(line)
