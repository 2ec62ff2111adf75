"""Signs that a camera has failed without an error: no frames, a frozen picture, a black picture."""

import numpy as np
from numpy.typing import NDArray

from edge.settings import CameraWatchSettings

FIRST_FRAME_S = 5.0
"""Seconds a camera may take from opening to its first frame."""
BLACK_LUMA = 24
"""A picture without a brighter pixel is black. Limited-range video has its black at 16; in a dark but working room the
camera amplifies the sensor's noise far above this."""
_STEP = 8  # every eighth row and column is enough to detect black


class Signs:
    """Watches the frames of one opened camera, without knowing threads or devices.

    ``settings``: how long each sign must last.
    ``now_s``: monotonic time at which the camera was opened; every method takes the present one.
    """

    def __init__(self, settings: CameraWatchSettings, now_s: float) -> None:
        self._settings = settings
        self._heard_s = now_s
        self._heard = False
        self._last: NDArray[np.uint8] | None = None
        self._changed_s = now_s
        self._bright_s = now_s
        self._is_dark = False

    def saw(self, luma: NDArray[np.uint8], now_s: float) -> None:
        """Note a frame, uint8 [height, width]."""
        self._is_dark = is_black(luma)
        if not self._heard or not self._is_dark:
            self._bright_s = now_s
        # Sensor noise makes any two frames of a working camera differ.
        if self._last is None or _differ(self._last, luma):
            self._last, self._changed_s = luma, now_s
        self._heard, self._heard_s = True, now_s

    def fault(self, now_s: float) -> str | None:
        """Return what is wrong in a few words, None if nothing is."""
        silent_s = now_s - self._heard_s
        if silent_s >= (self._settings.silent_s if self._heard else FIRST_FRAME_S):
            return f"no frame for {silent_s:.1f} s"
        frozen_s = self._heard_s - self._changed_s
        # A picture clipped at black has no noise, so it is not called frozen.
        if self._settings.frozen_s and frozen_s >= self._settings.frozen_s and not self._is_dark:
            return f"the same picture for {frozen_s:.1f} s"
        return None

    def is_seeing(self) -> bool:
        """Return True if the newest frame is not black."""
        return self._heard and not self._is_dark

    def is_black(self) -> bool:
        """Return True if the picture has been black for `black_s`."""
        black_s = self._heard_s - self._bright_s
        return bool(self._settings.black_s) and black_s >= self._settings.black_s


def is_black(luma: NDArray[np.uint8]) -> bool:
    """Return whether a picture, uint8 [height, width], shows nothing but black."""
    return int(luma[::_STEP, ::_STEP].max()) <= BLACK_LUMA


def _differ(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> bool:
    # Frames that differ nearly always differ in this small sample, which is cheap to compare.
    return not (np.array_equal(a[::_STEP, ::_STEP], b[::_STEP, ::_STEP]) and np.array_equal(a, b))
