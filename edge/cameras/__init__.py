"""Sources of frames: cameras, clips and folders of pictures, each opened by its address.

`open_camera` opens an address such as ``v4l2:/dev/video0`` as an `edge.frames.FrameSource`. `Capture` reads a source
and keeps only the newest frame of a live one. `read_picture` decodes a single picture. Importing this package loads
neither OpenCV nor scikit-image nor picamera2.
"""

from typing import TYPE_CHECKING, Any

from edge.cameras.address import is_camera
from edge.cameras.capture import Capture, NoFrameYetError
from edge.cameras.opening import open_camera

if TYPE_CHECKING:
    from edge.cameras.pictures import Picture, read_picture

__all__ = ["Capture", "NoFrameYetError", "Picture", "is_camera", "open_camera", "read_picture"]


def __getattr__(name: str) -> Any:
    if name in ("Picture", "read_picture"):
        from edge.cameras import pictures

        return getattr(pictures, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
