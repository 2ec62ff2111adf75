"""Measure what network shapes cost as int8 on LiteRT, one thread: untrained, converted as `export` does it.

    python benchmarks/networks.py [--rounds 200] [--json FILE]
    python benchmarks/networks.py models/default/cnn.tflite old/cnn.tflite     # these files instead, and their ratio

The shapes take turns of one picture, so that other work on the machine affects all equally; the figure is the median
of the thread's CPU time. Multiply-adds of plain and depthwise convolutions are counted separately: a depthwise one
moves about as many bytes as it multiplies, on Arm too, so each of its multiply-adds costs several times more.
"""

import argparse
import json
import os
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from edge.inference.networks import Interpreter, available_runtimes, open_interpreter
from export.quantize.convert import convert
from train.networks.plain import plain_cnn
from train.networks.residual import ResidualShape, residual_cnn


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path, help="TFLite networks to measure in place of the shapes")
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--json", type=Path, help="write the figures here too")
    arguments = parser.parse_args()
    if arguments.files:
        compare(arguments.files, arguments.rounds)
        return
    keras.utils.set_random_seed(0)
    chips = np.random.default_rng(0).integers(0, 256, (16, 48, 48)).astype(np.uint8)
    rows: list[dict[str, Any]] = []
    runs: list[Callable[[], None]] = []
    for name, build in SHAPES.items():
        network = build()
        model = convert(network, "int8", chips)
        interpreter = open_interpreter(model)
        slot = interpreter.get_input_details()[0]["index"]

        plain, depthwise = count(network)
        rows.append({"name": name, "plain_macs": plain, "depthwise_macs": depthwise, "bytes": len(model),
                     "parameters": network.count_params()})  # fmt: skip
        runs.append(partial(run, interpreter, slot, chips[:1, :, :, np.newaxis]))
    for row, times in zip(rows, in_turns(runs, arguments.rounds), strict=True):
        row["cpu_ms"] = float(np.median(times))
        row["least_ms"] = float(np.min(times))
    figures = {"date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC", "load": os.getloadavg()[0],
               "runtime": available_runtimes()[0], "shapes": rows}  # fmt: skip
    report(figures)
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")


def compare(files: list[Path], rounds: int) -> None:
    """Measure TFLite files in turns, 20 pictures each; print each one's time, and its ratio to the last one's."""
    chips = np.random.default_rng(0).integers(0, 256, (20, 1, 48, 48, 1)).astype(np.uint8)

    def block(interpreter: Interpreter, slot: int) -> None:
        for chip in chips:
            run(interpreter, slot, chip)

    opened = [open_interpreter(file.read_bytes()) for file in files]
    blocks = [partial(block, one, one.get_input_details()[0]["index"]) for one in opened]
    spent = np.array(in_turns(blocks, rounds)) / len(chips)
    print(f"{available_runtimes()[0]}, 1 thread, {rounds} blocks each, load {os.getloadavg()[0]:.1f}")
    for file, times in zip(files, spent, strict=True):
        low, middle, high = np.percentile(times / spent[-1], (25, 50, 75))
        print(f"{file}: median {np.median(times):.3f} ms of CPU, least {times.min():.3f}; "
              f"ratio to {files[-1]}: {middle:.2f} ({low:.2f}-{high:.2f} in half of the blocks)")  # fmt: skip


def in_turns(runs: Sequence[Callable[[], None]], rounds: int) -> list[list[float]]:
    """Call each in turn, and return the milliseconds of this thread's CPU time that each call took."""
    spent: list[list[float]] = [[] for _ in runs]
    for index in range(-2, rounds):  # the first two warm up
        for one, times in zip(runs, spent, strict=True):
            began_s = time.thread_time()
            one()
            if index >= 0:
                times.append(1000 * (time.thread_time() - began_s))
    return spent


def run(interpreter: Interpreter, slot: int, chip: NDArray[np.uint8]) -> None:
    """Run a network on one chip."""
    interpreter.set_tensor(slot, chip)
    interpreter.invoke()


def separable(channels: tuple[int, ...], *, expand: int = 1) -> keras.Model:
    """A MobileNet (Howard et al. 2017, arXiv:1704.04861): depthwise 3x3 convolutions, each followed by a 1x1 one."""
    inputs = keras.Input((48, 48, 1))
    x = layers.Rescaling(1 / 127.5, offset=-1.0)(inputs)
    x = layers.ReLU()(_batch_norm(layers.Conv2D(channels[0], 5, strides=2, padding="same", use_bias=False)(x)))
    for index, width in enumerate(channels[1:]):
        strides = 2 if index in (1, 3) else 1
        if expand > 1:
            x = layers.ReLU()(_batch_norm(layers.Conv2D(x.shape[-1] * expand, 1, use_bias=False)(x)))
        x = layers.DepthwiseConv2D(3, strides=strides, padding="same", use_bias=False)(x)
        x = layers.ReLU()(_batch_norm(x))
        x = layers.ReLU()(_batch_norm(layers.Conv2D(width, 1, use_bias=False)(x)))
    return keras.Model(inputs, layers.Dense(5)(layers.GlobalAveragePooling2D()(x)))


def _batch_norm(x: keras.KerasTensor) -> keras.KerasTensor:
    return layers.BatchNormalization()(x)


def residual(stem: int, stages: tuple[int, ...], blocks: tuple[int, ...]) -> Callable[[], keras.Model]:
    """Return a builder for a residual network, which shipped with version 0.1 at 32-64-96."""
    return lambda: residual_cnn(ResidualShape(stem=stem, stages=stages, blocks=blocks))


SHAPES: dict[str, Callable[[], keras.Model]] = {
    "plain 24-48-96-192 (ships)": plain_cnn,
    "plain 16-32-64-128": lambda: plain_cnn((16, 16, 32, 32, 64, 64, 128, 128)),
    "plain 64-128-256-512 (vgg)": lambda: plain_cnn((64, 64, 128, 128, 256, 256, 512, 512)),
    "residual 32-64-96 (0.1)": residual(32, (32, 64, 96), (1, 2, 2)),
    "residual 16-32-64": residual(16, (16, 32, 64), (1, 2, 2)),
    "residual 24-48-96": residual(24, (24, 48, 96), (1, 2, 2)),
    "residual 32-64-128": residual(32, (32, 64, 128), (1, 2, 2)),
    "residual 32-64-96, deeper": residual(32, (32, 64, 96), (2, 3, 3)),
    "residual 48-96-128": residual(48, (48, 96, 128), (1, 2, 2)),
    "depthwise 32-256": lambda: separable((32, 64, 128, 128, 256, 256)),
    "depthwise 64-512": lambda: separable((64, 128, 256, 256, 512, 512)),
    "depthwise, expanded 4 times": lambda: separable((24, 32, 48, 64, 96, 96), expand=4),
}


def count(network: keras.Model) -> tuple[int, int]:
    """Multiply-adds of plain and of depthwise layers for one picture."""
    plain = depthwise = 0
    for layer in network.layers:
        if isinstance(layer, layers.DepthwiseConv2D):
            depthwise += int(np.prod(layer.output.shape[1:3]) * np.prod(layer.kernel.shape))
        elif isinstance(layer, layers.Conv2D):
            plain += int(np.prod(layer.output.shape[1:3]) * np.prod(layer.kernel.shape))
        elif isinstance(layer, layers.Dense):
            plain += int(np.prod(layer.kernel.shape))
    return plain, depthwise


def report(figures: dict[str, Any]) -> None:
    """Print the table."""
    table = Table(title=f"int8 on {figures['runtime']}, 1 thread, {figures['date']}, load {figures['load']:.1f}")
    for name in ("shape", "plain M MAC", "depthwise M MAC", "kB", "CPU, median", "least", "M MAC a ms"):
        table.add_column(name, justify="left" if name == "shape" else "right")
    for row in figures["shapes"]:
        total = (row["plain_macs"] + row["depthwise_macs"]) / 1e6
        table.add_row(row["name"], f"{row['plain_macs'] / 1e6:.1f}", f"{row['depthwise_macs'] / 1e6:.1f}",
                      f"{row['bytes'] / 1000:.0f}", f"{row['cpu_ms']:.3f} ms", f"{row['least_ms']:.3f} ms",
                      f"{total / row['cpu_ms']:.0f}")  # fmt: skip
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
