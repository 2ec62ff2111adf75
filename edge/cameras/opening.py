"""From an address to a source: loads the one adapter that is asked for, and nothing else."""

from edge.cameras.address import parse_address
from edge.frames import FrameSource


def open_camera(uri: str) -> FrameSource:
    """Open what an address names; the caller closes it.

    Parameters
    ----------
    uri
        ``demo:``, ``photos:FOLDER``, ``file:CLIP``, ``v4l2:/dev/video0``, ``rtsp://…`` or ``picamera2:0``, with the
        options of docs/cameras.md.

    Raises
    ------
    ConfigError
        The address itself is wrong.
    CameraError
        What it names is not there, or gives no frames.
    """
    address = parse_address(uri)
    match address.scheme:
        case "file":
            from edge.cameras.file import open_file

            return open_file(address)
        case "demo":
            from edge.cameras.demo import open_demo

            return open_demo(address)
        case "photos":
            from edge.cameras.photos import PhotoFolder

            return PhotoFolder(address.target)
        case "picamera2":
            from edge.cameras.picamera2 import open_picamera2

            return open_picamera2(address)
        case "v4l2":
            from edge.cameras.opencv import open_v4l2

            return open_v4l2(address)
        case _:
            from edge.cameras.opencv import open_rtsp

            return open_rtsp(address)
