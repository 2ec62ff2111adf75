"""What is loaded when: start-up time and memory are a Pi's."""

import subprocess
import sys

import pytest

HEAVY = (
    "ai_edge_litert",
    "amqtt",
    "cv2",
    "dlib",
    "numpy",
    "paho",
    "sklearn",
    "skimage",
    "tensorflow",
    "tflite_runtime",
)


def loaded_after(code: str) -> set[str]:
    """Top-level modules of a fresh interpreter after some code."""
    tell = "import sys; sys.stderr.write(' '.join({name.partition('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", f"{code}\n{tell}"], check=True, capture_output=True, text=True)
    return set(done.stderr.split())


@pytest.mark.parametrize(
    "code",
    [
        "import edge",
        "import edge.settings, edge.errors, edge.emotions",
        "from edge.cli import app; from edge.cli.support import run; run(app, ['--help'])",
        "from edge.cli import app; from edge.cli.support import run; run(app, ['bench', '--help'])",
    ],
)
def test_no_heavy_library_for_a_word_of_help(code: str) -> None:
    assert loaded_after(code) & set(HEAVY) == set()


def test_the_daemon_loads_what_its_settings_need_and_no_more() -> None:
    code = """
from edge.settings import Settings
import edge.daemon.service
from edge.pipeline import load_pipeline
import edge.web.examination
load_pipeline(Settings())
"""
    loaded = loaded_after(code)
    assert {"cv2", "dlib", "paho"} <= loaded
    unneeded = {"sklearn", "scipy", "tensorflow", "keras", "skimage", "amqtt", "matplotlib", "picamera2", "asyncio"}
    assert loaded & unneeded == set()
