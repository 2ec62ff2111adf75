"""Compare the cost of the `fer` package (OpenCV's Haar detector, Keras CNN) with ours, on the same frames in one run.

    python benchmarks/fer_package.py --clip ../shared/media/sad-to-laughing.mp4 [--venv DIR] [--frames N]

Creates a separate environment for `fer` in ``--venv`` with pip, once (2 GB, because of TensorFlow). Each of the two
runs in its own process; they take turns of one second of the clip. The cost is CPU time of the process, all threads,
from the decoded frame to its emotions. Memory is the peak resident set.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

PACKAGES = ("fer==22.5.1", "tensorflow-cpu", "moviepy<2", "opencv-python-headless<4.12", "setuptools<81")
TURN = 24


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clip", type=Path, required=True)
    parser.add_argument("--venv", type=Path, default=Path.home() / ".cache/emotion-edge-fer")
    parser.add_argument("--frames", type=int, default=100_000)
    parser.add_argument("--worker", choices=("fer", "ours"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        work(arguments.worker, arguments.clip)
        return
    interpreter = environment(arguments.venv)
    with worker(interpreter, "fer", arguments.clip) as fer, worker(sys.executable, "ours", arguments.clip) as ours:
        total = min(int(ask(fer, "frames")["frames"]), int(ask(ours, "frames")["frames"]), arguments.frames)
        for start in range(0, total, TURN):
            for one in (fer, ours):
                ask(one, f"{start} {min(start + TURN, total)}")
        report(arguments.clip.name, total, ask(fer, "end"), ask(ours, "end"))


def environment(folder: Path) -> str:
    """Create the environment if it does not exist; return its interpreter."""
    interpreter = folder / "bin/python"
    if not (folder / "ready").exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        subprocess.run([str(interpreter), "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
        subprocess.run([str(interpreter), "-c", "import fer"], check=True)
        (folder / "ready").touch()
    return str(interpreter)


def worker(interpreter: str, side: str, clip: Path) -> "subprocess.Popen[str]":
    """Start one of the two; it answers each line with a line of JSON."""
    command = [interpreter, __file__, "--worker", side, "--clip", str(clip.absolute())]
    quiet = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=quiet)


def ask(process: "subprocess.Popen[str]", question: str) -> dict[str, Any]:
    """Send a line and return the answer, skipping other output."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(question + "\n")
    process.stdin.flush()
    for line in process.stdout:
        if line.startswith("{"):
            return dict(json.loads(line))
    raise SystemExit("a worker has ended; its reason is above")


def work(side: str, clip: Path) -> None:
    """Answer on standard output until the line ``end``."""
    frames = decode(clip)
    look = fer_look() if side == "fer" else our_look()
    look(0, frames[0])
    spent_s, seen, found = 0.0, 0, 0
    for line in sys.stdin:
        if line[0].isdigit():
            start, stop = (int(word) for word in line.split())
            began_s = time.process_time()
            with contextlib.redirect_stdout(sys.stderr):
                found += sum(look(index, frames[index]) for index in range(start, stop))
            spent_s += time.process_time() - began_s
            seen += stop - start
        status = Path("/proc/self/status").read_text().partition("VmHWM:")[2]
        peak_mb = int(status.split()[0]) * 1024 / 1e6
        answer = {"frames": len(frames), "cpu_ms": 1000 * spent_s / max(1, seen), "found": found, "memory_mb": peak_mb}
        print(json.dumps(answer), flush=True)
        if line.startswith("end"):
            return


def decode(clip: Path) -> list[Any]:
    """All frames, BGR."""
    import cv2

    reader = cv2.VideoCapture(str(clip))
    frames: list[Any] = []
    while True:
        read, bgr = reader.read()
        if not read:
            return frames
        frames.append(bgr)


def fer_look() -> Any:
    """Return a function that says whether `fer` finds a face in a frame."""
    from fer import FER  # type: ignore[import-not-found]  # of the other environment

    detector = FER(mtcnn=False)
    return lambda _index, bgr: bool(detector.detect_emotions(bgr))


def our_look() -> Any:
    """Return a function that says whether our pipeline finds a face in a frame, at 24 frames a second."""
    import cv2

    from edge.frames import Frame
    from edge.pipeline import load_pipeline
    from edge.settings import Settings

    pipeline = load_pipeline(Settings())
    return lambda index, bgr: bool(pipeline.follow(Frame(cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY), index / 24, index)))


def report(clip: str, frames: int, fer: dict[str, Any], ours: dict[str, Any]) -> None:
    """Print the table; the decoded clip is part of both memory figures."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{clip}, {frames} frames, {time.strftime('%Y-%m-%d %H:%M')}, load {os.getloadavg()[0]:.1f}")
    for name in ("figure", "fer (Haar)", "ours", "ratio"):
        table.add_column(name, justify="left" if name == "figure" else "right")
    table.add_row("CPU a frame", f"{fer['cpu_ms']:.1f} ms", f"{ours['cpu_ms']:.2f} ms",
                  f"{fer['cpu_ms'] / ours['cpu_ms']:.1f}x")  # fmt: skip
    table.add_row("frames with a face", str(fer["found"]), str(ours["found"]), "")
    table.add_row("peak memory, decoded clip included", f"{fer['memory_mb']:.0f} MB", f"{ours['memory_mb']:.0f} MB", "")
    Console().print(table)


if __name__ == "__main__":
    main()
