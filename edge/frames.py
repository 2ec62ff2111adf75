"""A frame, and the interface of everything that gives frames."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One picture at one time. Raises ``ValueError`` if the luma plane is not uint8 [height, width]."""

    luma: NDArray[np.uint8]
    """[height, width], 0..255; a view that must not be written to"""
    time_s: float
    """seconds: by the monotonic clock for a live camera, since the start of the clip for a file"""
    index: int
    """0 for the first frame of the source"""
    bgr: NDArray[np.uint8] | None = None
    """[height, width, 3], for pictures shown to people; None if the source has no colour, or only by a conversion"""

    def __post_init__(self) -> None:
        if self.luma.ndim != 2 or self.luma.dtype != np.uint8 or 0 in self.luma.shape:
            raise ValueError(f"luma must be uint8 [height, width], found {self.luma.dtype} {self.luma.shape}")

    @property
    def height(self) -> int:
        """Rows, in pixels."""
        return int(self.luma.shape[0])

    @property
    def width(self) -> int:
        """Columns, in pixels."""
        return int(self.luma.shape[1])


class FrameSource(Protocol):
    """A source of frames, opened by `edge.cameras.open_camera` and closed by its user."""

    live: bool
    """True: the newest frame wins and older ones are dropped. False: frames are pulled one by one, and each is
    processed."""

    def read(self, timeout_s: float) -> Frame | None:
        """Return the next frame, None at the end of the source.

        Raises `CameraError`: no frame within ``timeout_s``, or the source broke.
        """

    def close(self) -> None:
        """Close the device; may be called twice, and from another thread."""
