"""Helps to aim the camera: light, and whether the face is large enough, upright, and looks this way."""

import asyncio
from pathlib import Path

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.faces.detector import NEW_FACE_SCORE, FaceDetector
from edge.faces.landmarks import tilt_deg
from edge.faces.types import Box
from edge.settings import Settings
from edge.web.view import Scene

DARK_LUMA, BRIGHT_LUMA = 45, 250
"""Median of a picture that is too dark, 0..255; a pixel from this on is clipped."""
MOST_CLIPPED = 0.3
"""Share of clipped pixels above which the picture is too bright."""
SMALLEST_FACE_PX = 75
"""Width from which dlib finds a face without doubling the picture."""
WIDEST_FACE = 0.6
"""Share of the picture's width."""
TILTED_DEGREES = 20.0
TURNED_ASIDE = 0.4
"""The nose's distance to the near side of the jaw, as a share of that to the far side."""
TURNED_FACE_SCORE = 0.8
"""Least score of a face in a picture that is turned, see `edge.pipeline.TURNED_FACE_SCORE`."""
SEARCHED_WIDTH = 640
"""A wider picture is made smaller before it is searched, in pixels."""
_SEARCHES = ((0, 0), (0, 1), (2, 1), (1, 1), (3, 1), (0, 2))
"""Quarter turns and doublings of each search, the cheapest and likeliest first."""
_NOSE, _JAW = 30, (0, 16)


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """The result of one check."""

    check: str
    is_fine: bool
    text: str


class Advice(msgspec.Struct, frozen=True, kw_only=True):
    """What was found, the most important first."""

    points: list[Point]


class Aim:
    """Judges scenes; searches harder than the loop, in a thread of its own."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._detector: FaceDetector | None = None

    async def judge(self, scene: Scene) -> Advice:
        """Return advice on the scene; one at a time."""
        return await asyncio.to_thread(self.advise, scene)

    def advise(self, scene: Scene) -> Advice:
        """Return advice on the scene; blocks for up to a second or two."""
        luma = scene.frame.luma
        return Advice(points=[_light(luma), *self._faces(scene, luma)])

    def _faces(self, scene: Scene, luma: NDArray[np.uint8]) -> list[Point]:
        if scene.faces:
            face = scene.faces[0]
            return [self._size(face.box, luma.shape[1]), _place(face.box, luma.shape), _pose(face.landmarks)]
        if self._detector is None:
            folder = self._settings.state_dir
            self._detector = FaceDetector(Path(folder) if folder else None)
        shrink = min(1.0, SEARCHED_WIDTH / luma.shape[1])
        size = (max(1, round(luma.shape[1] * shrink)), max(1, round(luma.shape[0] * shrink)))
        small = np.asarray(cv2.resize(luma, size, interpolation=cv2.INTER_AREA), np.uint8) if shrink < 1 else luma
        for quarters, doublings in _SEARCHES:
            picture = np.ascontiguousarray(np.rot90(small, quarters))
            found = self._detector.find(
                picture, upsample=doublings, least_score=TURNED_FACE_SCORE if quarters else NEW_FACE_SCORE
            )
            if found and quarters:
                rotate = (self._settings.camera_rotate + 360 - 90 * quarters) % 360
                return [_bad("upright", f"The picture is turned. Set camera_rotate = {rotate} and restart.")]
            if found:
                box = Box(*(round(value / shrink) for value in found[0].box))
                return [self._size(box, luma.shape[1]), _place(box, luma.shape)]
        text = "No face is found, not even a small or a turned one. Stand in front of the camera and look at it."
        return [_bad("face", text)]

    def _size(self, box: Box, width: int) -> Point:
        least = SMALLEST_FACE_PX / 2**self._settings.faces.upsample
        if box.width < least:
            text = f"Too far: the face is {box.width} pixels wide, {least:.0f} are needed. Come closer, or zoom in."
            return _bad("distance", text)
        if box.width > WIDEST_FACE * width:
            return _bad("distance", f"Too near: the face is {box.width} of {width} pixels wide.")
        return _good("distance", f"The face is {box.width} pixels wide; {least:.0f} are needed.")


def _light(luma: NDArray[np.uint8]) -> Point:
    sample = luma[::4, ::4]
    median, clipped = float(np.median(sample)), float(np.mean(sample >= BRIGHT_LUMA))
    if median < DARK_LUMA:
        return _bad(
            "light", f"Too dark: half of the picture is below {median:.0f} of 255. Add light in front of faces."
        )
    if clipped > MOST_CLIPPED:
        return _bad(
            "light", f"Too bright: {clipped:.0%} of the picture is white. Turn the camera away from the window."
        )
    return _good("light", f"Enough light: half of the picture is above {median:.0f} of 255.")


def _place(box: Box, shape: tuple[int, ...]) -> Point:
    height, width = shape
    edges = {
        "left": box.x < 0,
        "right": box.x + box.width > width,
        "top": box.y < 0,
        "bottom": box.y + box.height > height,
    }
    over = [name for name, is_over in edges.items() if is_over]
    if over:
        return _bad("place", f"The face leaves the picture at the {' and '.join(over)}. Move the camera that way.")
    return _good("place", "The whole face is in the picture.")


def _pose(landmarks: NDArray[np.float32]) -> Point:
    degrees = tilt_deg(landmarks)
    if abs(degrees) > TILTED_DEGREES:
        side = "clockwise" if degrees > 0 else "counterclockwise"
        return _bad("upright", f"The face is tilted {side} by {abs(degrees):.0f}°. Is the camera level?")
    nose = landmarks[_NOSE]
    near, far = sorted(float(np.linalg.norm(nose - landmarks[end])) for end in _JAW)
    if near < TURNED_ASIDE * far:
        return _bad("upright", "The face is turned aside. Place the camera where people look.")
    return _good("upright", f"The face is upright ({degrees:+.0f}°) and looks this way.")


def _good(check: str, text: str) -> Point:
    return Point(check=check, is_fine=True, text=text)


def _bad(check: str, text: str) -> Point:
    return Point(check=check, is_fine=False, text=text)
