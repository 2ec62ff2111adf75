"""Pictures turned by quarter turns and mirrored: ``camera_rotate`` and ``camera_flip``, and the rotation of a clip."""

from dataclasses import replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.cameras.opening import Flip
from edge.frames import Frame, FrameSource

_ROTATIONS = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}
_FLIPS = {"horizontal": 1, "vertical": 0}


def rotated(image: NDArray[np.uint8], degrees: int) -> NDArray[np.uint8]:
    """Turn a picture [height, width, …] clockwise by 90, 180 or 270 degrees; any other angle leaves it as it is."""
    code = _ROTATIONS.get(degrees)
    return image if code is None else np.asarray(cv2.rotate(image, code), np.uint8)


class Turned:
    """A source whose frames are turned clockwise, then mirrored.

    ``rotate``: 0, 90, 180 or 270 degrees.
    ``flip``: ``horizontal`` exchanges left and right, ``vertical`` top and bottom.
    """

    def __init__(self, source: FrameSource, *, rotate: int, flip: Flip) -> None:
        self.live = source.live
        self._source: Any = source
        self._rotate = rotate
        self._flip = _FLIPS.get(flip)

    @property
    def left_behind(self) -> bool:
        """A call of the source hangs although it was closed."""
        return bool(getattr(self._source, "left_behind", False))

    def read(self, timeout_s: float) -> Frame | None:
        """Return the next frame, turned. Raises what the source raises."""
        frame: Frame | None = self._source.read(timeout_s)
        if frame is None:
            return None
        return replace(frame, luma=self._turn(frame.luma), bgr=None if frame.bgr is None else self._turn(frame.bgr))

    def close(self) -> None:
        """Close the source."""
        self._source.close()

    def _turn(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        image = rotated(image, self._rotate)
        return image if self._flip is None else np.asarray(cv2.flip(image, self._flip), np.uint8)
