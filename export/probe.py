"""Runs a model under one TFLite runtime in a process of its own: two runtimes in one process crash.

``python -m export.probe MODEL CHIPS.npy OUT.npz QUANTIZATION RUNTIME``
"""

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.errors import EmotionEdgeError
from edge.inference import TfliteClassifier, open_interpreter
from edge.inference.manifest import Quantization


@dataclass(frozen=True, slots=True, eq=False)
class Probe:
    """What a model did under one runtime."""

    runtime: str
    scores: NDArray[np.float32]
    """[n, 5]"""
    latency_ms: float
    """median milliseconds a chip, one thread, on this machine"""
    float_tensors: int
    """tensors of the graph that hold floating-point numbers"""


def probe(model: bytes, quantization: Quantization, chips: NDArray[np.uint8], runtime: str) -> Probe:
    """Score chips, uint8 [n, 48, 48], with a model under a runtime.

    Raises
    ------
    EmotionEdgeError
        The runtime cannot run the model, or crashed; says which and why.
    """
    root = str(Path(__file__).resolve().parents[1])
    paths = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    with tempfile.TemporaryDirectory() as folder:
        source, given, out = (Path(folder) / name for name in ("model.tflite", "chips.npy", "out.npz"))
        source.write_bytes(model)
        np.save(given, chips)
        done = subprocess.run(
            [sys.executable, "-m", "export.probe", source, given, out, quantization, runtime],
            capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": paths},
        )  # fmt: skip
        if done.returncode:
            reason = done.stderr.strip().rpartition("\n")[2][:300] or f"ended with code {done.returncode}"
            raise EmotionEdgeError(f"{runtime} does not run this model: {reason}")
        with np.load(out, allow_pickle=False) as stored:
            return Probe(runtime, stored["scores"], float(stored["latency_ms"]), int(stored["float_tensors"]))


def _main(source: str, given: str, out: str, quantization: Quantization, runtime: str) -> None:
    model, chips = Path(source).read_bytes(), np.load(given, allow_pickle=False)
    classifier = TfliteClassifier(model, name="probe", quantization=quantization, runtime=runtime)
    scores = np.empty((len(chips), 5), dtype=np.float32)
    times_s = np.empty(len(chips))
    for index in range(len(chips)):
        started = time.perf_counter()
        scores[index] = classifier.scores(chips[index : index + 1])[0]
        times_s[index] = time.perf_counter() - started
    details = open_interpreter(model, runtime=runtime).get_tensor_details()
    floats = sum(np.issubdtype(tensor["dtype"], np.floating) for tensor in details)
    np.savez(out, scores=scores, latency_ms=np.median(times_s) * 1000, float_tensors=floats)


if __name__ == "__main__":
    _main(*sys.argv[1:])  # type: ignore[arg-type]
