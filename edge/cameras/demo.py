"""The built-in clip: a person walks into view, comes closer, and leaves.

The person is scikit-image's ``astronaut`` (Eileen Collins, NASA, public domain), cut out of her photo and moved
in front of a plain wall. The clip thus holds one face and one visit, and is the same on every machine.
"""

import threading
from importlib.resources import files
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.cameras.address import Address
from edge.cameras.pictures import read_picture
from edge.cameras.playback import play
from edge.errors import CameraError
from edge.frames import Frame, FrameSource

WIDTH, HEIGHT, FPS, SECONDS = 640, 480, 15, 14
FRAMES = FPS * SECONDS

_FACE = (179, 83, 88, 88)
"""Box in which dlib finds the face in the photo: x, y, width, height, pixels."""
_OUTLINE = (
    (25, 420), (30, 360), (45, 290), (70, 250), (112, 215), (113, 185), (130, 160), (160, 150), (185, 148), (183, 125),
    (160, 116), (154, 95), (155, 55), (175, 30), (205, 18), (245, 17), (285, 38), (300, 65), (301, 100), (285, 130),
    (266, 145), (262, 170), (290, 195), (304, 225), (302, 250), (335, 270), (350, 300), (362, 350), (362, 420),
)  # fmt: skip
"""Outline of head and suit in the photo, traced by hand; rows below 350 never come into the scene."""
_PATH = (
    # seconds, x and y of the centre of the face in the scene, size relative to the photo
    (1.0, -175.0, 215.0, 1.20),
    (3.0, 240.0, 210.0, 1.30),
    (6.0, 370.0, 235.0, 2.00),
    (9.0, 420.0, 205.0, 1.40),
    (11.5, 900.0, 215.0, 1.30),
)
_SEED = 7


def open_demo(address: Address) -> FrameSource:
    """Open ``demo:`` with its pace and loop.

    Raises `CameraError`: scikit-image, which contains the photo, is not installed.
    """
    return play(DemoClip, address)


class DemoClip:
    """14 s of 640x480 at 15 frames/s, drawn as they are read: one face from 1 s to 11.5 s, none before and after.

    Raises `CameraError` if scikit-image is not installed.
    """

    live = False

    def __init__(self) -> None:
        photo = _photo()
        outline = np.zeros(photo.shape[:2], np.uint8)
        cv2.fillPoly(outline, [np.array(_OUTLINE, np.int32)], (255,))
        self._person = photo
        self._alpha = np.asarray(cv2.GaussianBlur(outline, (0, 0), 2.5))
        self._wall = _wall()
        self._index = 0
        self._closed = threading.Event()

    def read(self, timeout_s: float) -> Frame | None:  # noqa: ARG002  # drawing takes milliseconds
        """Return the next frame with luma and colour, None after the last."""
        if self._index >= FRAMES or self._closed.is_set():
            return None
        bgr = self._draw(self._index / FPS)
        frame = Frame(np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY)), self._index / FPS, self._index, bgr)
        self._index += 1
        return frame

    def close(self) -> None:
        """End the clip: the next read returns None."""
        self._closed.set()

    def _draw(self, time_s: float) -> NDArray[np.uint8]:
        pose = _pose(time_s)
        if pose is None:
            return self._wall.copy()
        x, y, scale = pose
        middle_x, middle_y = _FACE[0] + _FACE[2] / 2, _FACE[1] + _FACE[3] / 2
        move = np.array([[scale, 0, x - scale * middle_x], [0, scale, y - scale * middle_y]])
        person = cv2.warpAffine(self._person, move, (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR)
        alpha = cv2.cvtColor(cv2.warpAffine(self._alpha, move, (WIDTH, HEIGHT)), cv2.COLOR_GRAY2BGR)
        return np.asarray(
            cv2.add(
                cv2.multiply(person, alpha, scale=1 / 255),
                cv2.multiply(self._wall, cv2.bitwise_not(alpha), scale=1 / 255),
            )
        )


def _pose(time_s: float) -> tuple[float, float, float] | None:
    for (from_s, *start), (to_s, *end) in pairwise(_PATH):
        if from_s <= time_s < to_s:
            share = (time_s - from_s) / (to_s - from_s)
            eased = share * share * (3 - 2 * share)
            x, y, scale = (a + (b - a) * eased for a, b in zip(start, end, strict=True))
            return x, y, scale
    return None


def _photo() -> NDArray[np.uint8]:
    try:
        # The file itself: skimage.data.astronaut() loads 30 MB of libraries for one picture.
        data = files("skimage.data").joinpath("astronaut.png").read_bytes()
    except (ImportError, OSError) as error:
        raise CameraError(
            "demo: the photo of the built-in clip comes with scikit-image: pip install '.[demo]'"
        ) from error
    return read_picture(data, name="scikit-image's astronaut.png").bgr


def _wall() -> NDArray[np.uint8]:
    """Draw a mottled gray wall, lit from above, like the one in the photo."""
    coarse = np.random.default_rng(_SEED).normal(0, 7, (9, 12)).astype(np.float32)
    mottle: Any = cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    light = np.linspace(12, -25, HEIGHT, dtype=np.float32)[:, np.newaxis] + mottle
    tint = np.array([182, 188, 196], np.float32)
    return np.asarray(np.clip(tint + light[:, :, np.newaxis], 0, 255).astype(np.uint8))
