"""A frame as JPEG, in memory."""

import cv2
import numpy as np

from edge.frames import Frame

MOST_WIDTH = 960
"""Pixels; a wider frame is made smaller."""
QUALITY = 75


def jpeg(frame: Frame) -> bytes:
    """Return the frame, in colour where it has some, at most `MOST_WIDTH` wide."""
    picture = frame.luma if frame.bgr is None else frame.bgr
    if frame.width > MOST_WIDTH:
        size = (MOST_WIDTH, max(1, round(frame.height * MOST_WIDTH / frame.width)))
        picture = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
    _, data = cv2.imencode(".jpg", picture, (cv2.IMWRITE_JPEG_QUALITY, QUALITY))
    return data.tobytes()
