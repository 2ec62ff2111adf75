"""One seam over the TFLite runtimes: whichever is installed runs the model.

``ai_edge_litert`` is TFLite under its present name; ``tflite_runtime`` 2.14 serves 32-bit Pi OS; ``tensorflow`` is what
a workstation has. Use one of them a process: the C++ types of two collide, and the second one crashes.
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

from edge.errors import BundleError

RUNTIMES: Mapping[str, str] = {
    "ai_edge_litert": "ai_edge_litert.interpreter",
    "tflite_runtime": "tflite_runtime.interpreter",
    "tensorflow": "tensorflow.lite",
}
"""Name and the module with its ``Interpreter``, in the order in which they are tried."""


OPERATORS = frozenset({
    "ADD", "AVERAGE_POOL_2D", "CAST", "CONV_2D", "DEPTHWISE_CONV_2D", "DEQUANTIZE", "FULLY_CONNECTED", "MAX_POOL_2D",
    "MEAN", "MUL", "PAD", "QUANTIZE", "RELU", "RESHAPE", "SOFTMAX",
})  # fmt: skip
"""What a network of faces needs. Others, such as WHILE or a custom operator, could run for ever or run anything."""

NOTES = re.compile(
    rb"INFO: .*(TensorFlow Lite|TfLite|XNNPACK)"  # TFLite's own log
    rb"|WARNING: All log messages before absl::InitializeLog"
    rb"|[IW]\d{4} \d\d:\d\d:\d\d"  # TensorFlow's, by absl
    rb"|\d{4}-\d\d-\d\d [\d:.]+: [IW] (tensorflow|external)/"  # and by older versions
    rb"|To enable the following instructions:"
    rb"|fully_quantize: "
)
"""What a line begins with that a runtime or the converter writes, and nobody needs. Errors are in the exception."""
PIPE_BYTES = 1 << 20
FORWARD_LIMIT_S = 2.0
"""A program that was started meanwhile may hold the pipe open; its lines are forwarded, but not waited for."""

_redirecting = threading.RLock()


class Interpreter(Protocol):
    """What the project calls of a TFLite interpreter; all three runtimes have it.

    A tensor's details are a dictionary with ``index``, ``name``, ``shape``, ``dtype``, ``quantization`` (scale, zero).
    """

    def allocate_tensors(self) -> None:
        """Make room for all tensors; once, before anything else."""
        ...

    def get_input_details(self) -> list[dict[str, Any]]:
        """Describe the inputs."""
        ...

    def get_output_details(self) -> list[dict[str, Any]]:
        """Describe the outputs."""
        ...

    def get_tensor_details(self) -> list[dict[str, Any]]:
        """Describe every tensor of the graph."""
        ...

    def set_tensor(self, tensor_index: int, value: NDArray[Any]) -> None:
        """Copy a value into an input."""
        ...

    def invoke(self) -> None:
        """Run the graph."""
        ...

    def get_tensor(self, tensor_index: int) -> NDArray[Any]:
        """Copy a value out."""
        ...


def available_runtimes() -> tuple[str, ...]:
    """Names of the installed runtimes, best first. Looks for them without loading any."""
    return tuple(name for name in RUNTIMES if find_spec(name) is not None and _fits_numpy(name))


def open_interpreter(model: bytes, threads: int = 1, runtime: str | None = None) -> Interpreter:
    """Open a model, ready to run.

    Parameters
    ----------
    model
        A TFLite flatbuffer whose hash was verified: the runtimes trust its content.
    runtime
        One of ``RUNTIMES``; None takes the best that is installed.

    Raises
    ------
    BundleError
        No runtime is installed (or not that one), or it cannot run the model.
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
        return _allocate(module.Interpreter, model, threads, name)
    raise BundleError(f"no TFLite runtime{failure}; install one with: pip install ai-edge-litert")


def _allocate(kind: Any, model: bytes, threads: int, name: str) -> Interpreter:
    try:
        with quiet_stderr():
            interpreter: Interpreter = kind(model_content=model, num_threads=threads)
            _check_operators(interpreter)
            interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise BundleError(f"{name} cannot run this model: {' '.join(str(error).split())[:200]}") from None
    return interpreter


def _check_operators(interpreter: Any) -> None:
    # No public call lists operators; all three runtimes have had this one for years, and a test holds them to it.
    names = {str(operator["op_name"]) for operator in interpreter._get_ops_details()}  # noqa: SLF001
    if unknown := sorted(names - OPERATORS):
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
