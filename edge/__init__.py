"""Emotions of the people in front of a camera: faces, emotions, MQTT events, on a Raspberry Pi.

What other programs may rely on is in ``__all__`` and described in ``docs/python.md``; everything else is private.
Importing this package is cheap: numpy, OpenCV and dlib are loaded when `EmotionAnalyzer` is first used.
"""

from typing import TYPE_CHECKING

from edge.emotions import EMOTIONS, UNCERTAIN
from edge.errors import BundleError, CameraError, ConfigError, EmotionEdgeError, ImageError, LandmarkModelError

if TYPE_CHECKING:
    from edge.analyzer import EmotionAnalyzer, Face
    from edge.faces.types import Box
    from edge.frames import Frame

__version__ = "0.2.0"
__all__ = [
    "EMOTIONS",
    "UNCERTAIN",
    "Box",
    "BundleError",
    "CameraError",
    "ConfigError",
    "EmotionAnalyzer",
    "EmotionEdgeError",
    "Face",
    "Frame",
    "ImageError",
    "LandmarkModelError",
]

_MODULE_OF = {
    "Box": "edge.faces.types",
    "EmotionAnalyzer": "edge.analyzer",
    "Face": "edge.analyzer",
    "Frame": "edge.frames",
}

if not TYPE_CHECKING:  # a type checker would take every attribute for one that exists

    def __getattr__(name: str) -> object:
        """Load what needs numpy and OpenCV when it is first used."""
        if name not in _MODULE_OF:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        return getattr(import_module(_MODULE_OF[name]), name)

    def __dir__() -> list[str]:
        return sorted([*globals(), *_MODULE_OF])
