"""Silences what OpenCV and FFmpeg print themselves; errors are reported once, by this program."""

import importlib
import os


def quiet_opencv() -> None:
    """Silence what OpenCV and FFmpeg print to stderr, unless OPENCV_LOG_LEVEL or OPENCV_FFMPEG_LOGLEVEL asks for it.

    This is process-wide, and must happen before the first clip is opened, because FFmpeg's level is read once. Their
    messages contain RTSP passwords.
    """
    # -8 is FFmpeg's AV_LOG_QUIET.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    if "OPENCV_LOG_LEVEL" in os.environ:
        return
    import cv2

    # OpenCV 5 has moved the function.
    module = cv2 if hasattr(cv2, "setLogLevel") else importlib.import_module("cv2.utils.logging")
    module.setLogLevel(0)
