"""OpenCV and FFmpeg without their own chatter: what went wrong is said once, in one line of ours."""

import importlib
import os


def quiet_opencv() -> None:
    """Silence what OpenCV and FFmpeg print to stderr, unless OPENCV_LOG_LEVEL or OPENCV_FFMPEG_LOGLEVEL asks for it.

    Process-wide, and to be called before the first clip is opened: FFmpeg's level is read once. Their messages
    hold RTSP passwords.
    """
    # -8 is FFmpeg's AV_LOG_QUIET.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    if "OPENCV_LOG_LEVEL" in os.environ:
        return
    import cv2

    # OpenCV 5 has moved the function.
    module = cv2 if hasattr(cv2, "setLogLevel") else importlib.import_module("cv2.utils.logging")
    module.setLogLevel(0)
