"""Run the device set once and print what it does as JSON: `scripts/test-arm64` compares two machines by it.

python scripts/_probe.py PICTURE… >HERE.json
python scripts/_probe.py compare HERE.json THERE.json
"""

import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

PROGRAM = [sys.executable, "-m", "edge"]
START = """
import resource, time
from edge.pipeline import load_pipeline
from edge.settings import Settings
load_pipeline(Settings())
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3, time.process_time())
"""


def main() -> None:
    """Print versions, scores on pictures by each classifier, the doctor's answer, a daemon's events, and memory."""
    if sys.argv[1] == "compare":
        here, there = (json.loads(Path(path).read_text()) for path in sys.argv[2:4])
        sys.exit(compare(here, there))
    pictures = sys.argv[1:]
    answer: dict[str, Any] = {"versions": versions(), "pictures": {}, "chips": chips()}
    for classifier in ("cnn", "knn"):
        answer["pictures"][classifier] = classify(pictures, classifier)
    with tempfile.TemporaryDirectory() as folder:
        answer |= daemon(Path(folder), pictures[0])
    done = subprocess.run([sys.executable, "-c", START], capture_output=True, text=True, check=True)
    answer["start_mb"], answer["start_cpu_s"] = map(float, done.stdout.split())
    print(json.dumps(answer))


def versions() -> dict[str, str]:
    """Import everything compiled; an illegal instruction ends the process here."""
    import platform

    import ai_edge_litert.interpreter  # noqa: F401
    import cv2
    import dlib
    import msgspec
    import sklearn
    from cryptography.hazmat.bindings import _rust  # noqa: F401

    found = {"machine": platform.machine(), "python": platform.python_version(), "cv2": cv2.__version__}
    return found | {
        "numpy": np.__version__,
        "dlib": dlib.__version__,
        "sklearn": sklearn.__version__,
        "msgspec": msgspec.__version__,
    }


def chips() -> str:
    """Return the pixels of 40 chips of a drawn picture, as hexadecimal digits."""
    from edge.faces.chip import TARGET, face_chip

    picture = (np.add.outer(np.arange(700) ** 2 // 7, np.arange(900) * 13) % 251).astype(np.uint8)
    draw = np.random.default_rng(0)
    cut = []
    for _ in range(40):
        turn, scale = draw.uniform(-1, 1), np.exp(draw.uniform(-1, 2))
        rotation = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        points = np.zeros((68, 2), np.float32)
        moved = np.rint(TARGET @ rotation.T * 8 + draw.uniform(-400, 6400, 2)) / 8
        points[36:42], points[42:48], points[48:60] = moved
        cut.append(face_chip(picture, points))
    return np.stack(cut).tobytes().hex()


def classify(pictures: list[str], classifier: str) -> dict[str, Any]:
    """Return the faces of each picture."""
    command = [*PROGRAM, "classify", *pictures, "--classifier", classifier]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    return {Path(line["source"]).name: line["faces"] for line in map(json.loads, done.stdout.splitlines())}


def daemon(folder: Path, picture: str) -> dict[str, Any]:
    """Let the daemon send a visit to a broker, and the doctor look at the same settings."""
    import paho.mqtt.client as paho
    from paho.mqtt.enums import CallbackAPIVersion

    (folder / "camera").mkdir()
    for number in range(6):
        shutil.copy(picture, folder / f"camera/{number}{Path(picture).suffix}")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = folder / "config.toml"
    config.write_text(
        f'device = "probe"\ncamera = "photos:{folder}/camera"\nstate_dir = "{folder}/state"\n'
        f'[mqtt]\nurl = "mqtt://127.0.0.1:{port}"\n'
    )
    # `user root`: an unpacked system has no other, and where root starts it no other can be chosen.
    (folder / "broker.conf").write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\nuser root\n")
    program = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
    broker = subprocess.Popen([program, "-c", str(folder / "broker.conf")], stderr=subprocess.DEVNULL)
    events: list[Any] = []
    client = paho.Client(CallbackAPIVersion.VERSION2)
    client.on_message = lambda _client, _data, message: events.append(json.loads(message.payload))
    client.on_connect = lambda connected, *_: connected.subscribe("emotion/1/probe/event", qos=1)
    try:
        wait_until(lambda: answers(port), "mosquitto listens")
        client.connect("127.0.0.1", port)
        client.loop_start()
        wait_until(client.is_connected, "mosquitto answers")
        doctor = subprocess.run(
            [*PROGRAM, "doctor", "--json", "--config", str(config)], capture_output=True, text=True, check=False
        )
        done = subprocess.run([*PROGRAM, "run", "--config", str(config)], capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(done.stderr)
        wait_until(lambda: len(events) >= 2, "two events have come")
    finally:
        client.loop_stop()
        broker.terminate()
        broker.wait()
    findings = {one["check"]: (one["status"], one["found"]) for one in json.loads(doctor.stdout)["findings"]}
    return {"doctor": findings, "events": events}


def answers(port: int) -> bool:
    """True once something listens on a port of this machine."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_until(happened: Callable[[], bool], what: str, timeout_s: float = 120.0) -> None:
    """Wait for what other processes do."""
    deadline_s = time.monotonic() + timeout_s
    while not happened():
        if time.monotonic() > deadline_s:
            sys.exit(f"after {timeout_s:g} s it is still not so that {what}")
        time.sleep(0.1)


def compare(here: dict[str, Any], there: dict[str, Any]) -> int:
    """Print what differs; return 1 if boxes, emotions or the doctor do, a score by over 0.01, or a chip by over 1."""
    print(*(f"{name} {version}" for name, version in there["versions"].items()), sep=", ")
    pairs = [(one, two) for one, two in zip(here["events"], there["events"], strict=True)]
    for classifier, pictures in here["pictures"].items():
        for name, faces in pictures.items():
            pairs += zip(faces, there["pictures"][classifier][name], strict=True)
    apart = max(abs(one["scores"][key] - two["scores"][key]) for one, two in pairs for key in one["scores"])
    differing = sum(one[key] != two[key] for one, two in pairs for key in ("box", "emotion"))
    problems = [f"{check}: {found}" for check, (status, found) in there["doctor"].items() if status == "problem"]
    ours, theirs = (np.frombuffer(bytes.fromhex(one["chips"]), np.uint8).astype(int) for one in (here, there))
    levels = np.abs(ours - theirs)
    print(
        f"{len(pairs)} faces and events: {differing} boxes or emotions differ, scores by at most {apart:.4f}; "
        f"{np.mean(levels > 0):.3%} of the chips' pixels differ, by at most {levels.max()}; "
        f"doctor: {', '.join(problems) or 'no problem'}; "
        f"start: {there['start_mb']:.0f} MB with the emulator's own, {there['start_cpu_s']:.1f} s of CPU emulated"
    )
    return int(bool(differing or problems) or apart > 0.01 or levels.max() > 1)


if __name__ == "__main__":
    main()
