"""A frame: what a camera gives and everything else looks at."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One picture in time. Raises ``ValueError`` where the luma plane is not uint8 [height, width]."""

    luma: NDArray[np.uint8]
    """[height, width], 0..255; a view, not to be written to"""
    time_s: float
    """seconds; of the monotonic clock for a live camera, from the start of the clip for a file"""
    index: int
    """0 for the first frame that the source gave"""
    bgr: NDArray[np.uint8] | None = None
    """[height, width, 3] where the source had colour at no cost, for pictures that a person looks at"""

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
    """Where frames come from. Opened by `edge.cameras.open_camera`, closed by whoever opened it."""

    live: bool
    """True: the world does not wait, so the newest frame wins and older ones are dropped. False: frames are pulled
    one by one and each is processed."""

    def read(self, timeout_s: float) -> Frame | None:
        """Return the next frame, or None where the source has come to its end.

        Raises
        ------
        CameraError
            No frame within ``timeout_s``, or the source broke.
        """
        ...

    def close(self) -> None:
        """Let go of the device; may be called twice, and from another thread."""
        ...
