"""Signs that a camera has failed though it does not say so: silence, one and the same picture, blackness."""

import numpy as np
from numpy.typing import NDArray

from edge.settings import CameraWatchSettings

FIRST_FRAME_S = 5.0
"""What a camera is allowed from its opening to its first picture, seconds."""
BLACK_LUMA = 24
"""A picture without a brighter pixel is black. Limited-range video has its black at 16; in a dark but working room the
camera amplifies the sensor's noise far above this."""
_STEP = 8  # every eighth row and column is enough to see blackness


class Signs:
    """Looks at each frame of one opened camera; knows nothing of threads or devices.

    Parameters
    ----------
    settings
        How long each sign must last.
    now_s
        Of the monotonic clock, as in every method: when the camera was opened.
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
        """Take in a frame, uint8 [height, width]."""
        self._is_dark = is_black(luma)
        if not self._heard or not self._is_dark:
            self._bright_s = now_s
        # A sensor's noise makes no two pictures alike, to the last bit of the last pixel.
        if self._last is None or _differ(self._last, luma):
            self._last, self._changed_s = luma, now_s
        self._heard, self._heard_s = True, now_s

    def fault(self, now_s: float) -> str | None:
        """Return what is wrong, a phrase, None while nothing is."""
        silent_s = now_s - self._heard_s
        if silent_s >= (self._settings.silent_s if self._heard else FIRST_FRAME_S):
            return f"no frame for {silent_s:.1f} s"
        frozen_s = self._heard_s - self._changed_s
        # No noise is left in what is cut off at black.
        if self._settings.frozen_s and frozen_s >= self._settings.frozen_s and not self._is_dark:
            return f"the same picture for {frozen_s:.1f} s"
        return None

    def is_seeing(self) -> bool:
        """Whether a picture has come and the newest one is not black."""
        return self._heard and not self._is_dark

    def is_black(self) -> bool:
        """Whether the picture has been black for long enough to say so."""
        black_s = self._heard_s - self._bright_s
        return bool(self._settings.black_s) and black_s >= self._settings.black_s


def is_black(luma: NDArray[np.uint8]) -> bool:
    """Return whether a picture, uint8 [height, width], shows nothing but black."""
    return int(luma[::_STEP, ::_STEP].max()) <= BLACK_LUMA


def _differ(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> bool:
    # Two pictures that differ nearly always do so in the few pixels that cost nothing to compare.
    return not (np.array_equal(a[::_STEP, ::_STEP], b[::_STEP, ::_STEP]) and np.array_equal(a, b))
