"""Opens the source that an address names; only its own module is loaded."""

from typing import Literal, get_args

from edge.cameras.address import Address, parse_address
from edge.frames import FrameSource

Rotation = Literal[0, 90, 180, 270]
Flip = Literal["none", "horizontal", "vertical"]
ROTATIONS: tuple[int, ...] = get_args(Rotation)
FLIPS: tuple[str, ...] = get_args(Flip)


def open_camera(uri: str, *, rotate: Rotation = 0, flip: Flip = "none") -> FrameSource:
    """Open what an address names; the caller closes it.

    Raises `ConfigError`: the address itself is wrong.
    Raises `CameraError`: what it names is not there, or gives no frames.

    ``uri``: ``demo:``, ``photos:FOLDER``, ``file:CLIP``, ``v4l2:/dev/video0``, ``rtsp://…``, ``http://…`` or
    ``picamera2:0``, with the options of docs/cameras.md.
    ``rotate``: degrees by which the picture is turned clockwise: 0, 90, 180 or 270.
    ``flip``: how the turned picture is mirrored: ``none``, ``horizontal`` (left and right) or ``vertical``.
    """
    address = parse_address(uri)
    if address.scheme == "picamera2" and rotate in (0, 180):
        from edge.cameras.picamera2 import open_picamera2

        return open_picamera2(address, upside_down=rotate == 180, flip=flip)
    source = _open(address)
    if rotate == 0 and flip == "none":
        return source
    from edge.cameras.turn import Turned

    return Turned(source, rotate=rotate, flip=flip)


def _open(address: Address) -> FrameSource:  # noqa: PLR0911  # one for each kind of source
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
        case "http" | "https":
            from edge.cameras.mjpeg import open_mjpeg

            return open_mjpeg(address)
        case _:
            from edge.cameras.opencv import open_rtsp

            return open_rtsp(address)
