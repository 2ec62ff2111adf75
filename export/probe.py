"""Run a model under one TFLite runtime in a separate process: two runtimes in one process crash.

``python -m export.probe MODEL CHIPS.npy OUT.npz QUANTIZATION RUNTIME THREADS,THREADS``
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.errors import EmotionEdgeError
from edge.inference import TfliteClassifier, open_interpreter
from edge.inference.manifest import Quantization

TIMED_CHIPS = 100
TIMED_S = 3.0
"""Seconds after which no further chip is timed, beyond the first ten: two threads that wait for each other on a busy
machine took 0.27 s a chip (tflite_runtime, 2026-11-27)."""


@dataclass(frozen=True, slots=True, eq=False)
class Probe:
    """Scores and latency of a model under one runtime."""

    runtime: str
    scores: NDArray[np.float32]
    """[n, 5]"""
    latency_ms: dict[int, float]
    """median milliseconds for one chip on this machine, by number of threads"""
    float_tensors: int
    """tensors of the graph that hold floating-point numbers"""


def probe(
    model: bytes, quantization: Quantization, chips: NDArray[np.uint8], runtime: str, threads: Sequence[int] = (1,)
) -> Probe:
    """Score chips, uint8 [n, 48, 48], with a model under a runtime; the first of ``threads`` gives the scores.

    Raises `EmotionEdgeError`: the runtime cannot run the model, or crashed; says which and why.
    """
    root = str(Path(__file__).resolve().parents[1])
    paths = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    with tempfile.TemporaryDirectory() as folder:
        source, given, out = (Path(folder) / name for name in ("model.tflite", "chips.npy", "out.npz"))
        source.write_bytes(model)
        np.save(given, chips)
        done = subprocess.run(
            [sys.executable, "-m", "export.probe", source, given, out, quantization, runtime,
             ",".join(map(str, threads))],
            capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": paths},
        )  # fmt: skip
        if done.returncode:
            reason = done.stderr.strip().rpartition("\n")[2][:300] or f"ended with code {done.returncode}"
            raise EmotionEdgeError(f"{runtime} does not run this model: {reason}")
        with np.load(out, allow_pickle=False) as stored:
            latency_ms = dict(zip(threads, map(float, stored["latency_ms"]), strict=True))
            return Probe(runtime, stored["scores"], latency_ms, int(stored["float_tensors"]))


def _main(source: str, given: str, out: str, quantization: Quantization, *more: str) -> None:
    runtime, threads = more
    model, chips = Path(source).read_bytes(), np.load(given, allow_pickle=False)
    counts = [int(count) for count in threads.split(",")]

    def opened(count: int) -> TfliteClassifier:
        return TfliteClassifier(model, name="probe", quantization=quantization, threads=count, runtime=runtime)

    latency_ms = [_latency_ms(opened(count), chips[:TIMED_CHIPS]) for count in counts]
    scores = opened(counts[0]).scores(chips)
    details = open_interpreter(model, runtime=runtime).get_tensor_details()
    floats = sum(np.issubdtype(tensor["dtype"], np.floating) for tensor in details)
    np.savez(out, scores=scores, latency_ms=latency_ms, float_tensors=floats)


def _latency_ms(classifier: TfliteClassifier, chips: NDArray[np.uint8]) -> float:
    times_s: list[float] = []
    for index in range(len(chips)):
        if index >= 10 and sum(times_s) > TIMED_S:
            break
        started = time.perf_counter()
        classifier.scores(chips[index : index + 1])
        times_s.append(time.perf_counter() - started)
    return float(np.median(times_s)) * 1000


if __name__ == "__main__":
    _main(*sys.argv[1:])  # type: ignore[arg-type]
