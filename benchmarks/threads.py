"""Find out which calls release the GIL, so that other Python threads run meanwhile.

    python benchmarks/threads.py [--seconds 2]

One thread makes the call repeatedly, another one counts in plain Python. The table shows the share of calls during
which the count grew. It is 0 % if the call holds the GIL throughout. Short calls may end before the other thread wakes
up, and other work on the machine lowers the share too, so only 0 % is meaningful.
"""

import argparse
import threading
import time
from collections.abc import Callable

import cv2
import numpy as np
from rich.console import Console
from rich.table import Table

from edge.faces.detector import FaceDetector
from edge.faces.landmarks import LandmarkPredictor
from edge.faces.types import Box
from edge.inference.bundle import open_bundle, shipped_bundle
from edge.inference.networks import open_interpreter


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=2.0, help="how long each call is repeated, wall clock")
    arguments = parser.parse_args()
    luma = np.random.default_rng(0).integers(0, 256, (480, 640)).astype(np.uint8)
    large = np.tile(luma, (2, 3))
    detector, predictor = FaceDetector(), LandmarkPredictor()
    bundle = open_bundle(shipped_bundle())
    interpreter = open_interpreter(bundle.read(bundle.manifest.models["cnn"].file))
    calls: dict[str, Callable[[], object]] = {
        "dlib detector, 640x480": lambda: detector.find(luma),
        "dlib landmarks": lambda: predictor.points(luma, Box(200, 150, 160, 160)),
        "LiteRT invoke": interpreter.invoke,
        "OpenCV resize of 1920x960": lambda: cv2.resize(large, (640, 320), interpolation=cv2.INTER_AREA),
        "plain Python": lambda: sum(range(20_000)),
    }
    table = Table(title="calls that release the GIL")
    table.add_column("call")
    table.add_column("share during which another thread ran", justify="right")
    for name, call in calls.items():
        table.add_row(name, f"{freedom(call, arguments.seconds):.0%}")
    Console().print(table)


def freedom(call: Callable[[], object], seconds: float) -> float:
    """Share of the calls during which a counting thread advanced."""
    ended = threading.Event()
    count = [0]

    def counting() -> None:
        while not ended.is_set():
            count[0] += 1

    counter = threading.Thread(target=counting)
    call()
    counter.start()
    worked = []
    began_s = time.perf_counter()
    while time.perf_counter() - began_s < seconds:
        before = count[0]
        call()
        worked.append(count[0] > before)
    ended.set()
    counter.join()
    return sum(worked) / len(worked)


if __name__ == "__main__":
    main()
