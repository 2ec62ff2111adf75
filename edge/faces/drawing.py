"""Draws faces on a picture: box, the 68 landmarks by region, the five scores as bars."""

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.emotions import COLOURS_BGR, EMOTIONS
from edge.faces.types import Box
from edge.settings import Zone

REGIONS: dict[str, tuple[slice, tuple[int, int, int], bool]] = {
    "jaw": (slice(0, 17), (200, 200, 200), False),
    "left brow": (slice(17, 22), (80, 170, 255), False),
    "right brow": (slice(22, 27), (80, 170, 255), False),
    "nose bridge": (slice(27, 31), (120, 230, 120), False),
    "nostrils": (slice(31, 36), (120, 230, 120), False),
    "left eye": (slice(36, 42), (255, 220, 90), True),
    "right eye": (slice(42, 48), (255, 220, 90), True),
    "outer lip": (slice(48, 60), (110, 110, 255), True),
    "inner lip": (slice(60, 68), (160, 120, 255), True),
}
"""Landmarks of each region, its colour (blue, green, red), and whether its outline is closed."""

ZONE_COLOURS = {"include": (90, 220, 90), "exclude": (80, 80, 240)}
"""Outlines of zones by their kind: blue, green, red."""

_FONT = cv2.FONT_HERSHEY_SIMPLEX


def draw_landmarks(picture: NDArray[np.uint8], landmarks: NDArray[np.float32]) -> None:
    """Draw 68 points [68, 2] into uint8 [height, width, 3] (blue, green, red), each region in its colour."""
    span = float(np.ptp(landmarks[:, 0]))
    radius = max(1, round(span / 90))
    for points, colour, closed in REGIONS.values():
        chosen = np.rint(landmarks[points]).astype(np.int32)
        cv2.polylines(picture, [chosen.reshape(-1, 1, 2)], closed, colour, 1, cv2.LINE_AA)
        for x, y in chosen.tolist():
            cv2.circle(picture, (x, y), radius, colour, -1, cv2.LINE_AA)


def draw_zones(picture: NDArray[np.uint8], zones: Sequence[Zone]) -> None:
    """Draw the outlines of zones into uint8 [height, width, 3]: green where faces count, red where none does."""
    height, width = picture.shape[:2]
    thick = max(1, round(max(height, width) / 320))
    for zone in zones:
        corners = np.rint(np.array(zone.points) * (width - 1, height - 1)).astype(np.int32)
        cv2.polylines(picture, [corners.reshape(-1, 1, 2)], True, ZONE_COLOURS[zone.kind], thick, cv2.LINE_AA)


def draw_face(
    picture: NDArray[np.uint8],
    box: Box,
    *,
    emotion: str,
    confidence: float,
    scores: Mapping[str, float],
    landmarks: NDArray[np.float32] | None = None,
) -> None:
    """Draw one face into uint8 [height, width, 3]: landmarks and box, the emotion above, the scores beside it."""
    colour = COLOURS_BGR[emotion]
    thick = max(1, round(box.width / 80))
    if landmarks is not None:
        draw_landmarks(picture, landmarks)
    cv2.rectangle(picture, (box.x, box.y), (box.x + box.width, box.y + box.height), colour, thick, cv2.LINE_AA)
    _label(picture, f"{emotion} {confidence:.0%}", box, colour)
    _bars(picture, box, scores)


def _label(picture: NDArray[np.uint8], text: str, box: Box, colour: tuple[int, int, int]) -> None:
    size = float(np.clip(box.width / 220, 0.4, 1.2))
    (width, height), base = cv2.getTextSize(text, _FONT, size, 1)
    bottom = box.y if box.y > height + base + 4 else box.y + box.height + height + base + 4
    left = int(np.clip(box.x, 0, max(0, picture.shape[1] - width - 6)))
    cv2.rectangle(picture, (left, bottom - height - base - 4), (left + width + 6, bottom), colour, -1)
    cv2.putText(picture, text, (left + 3, bottom - base - 1), _FONT, size, (20, 20, 20), 1, cv2.LINE_AA)


def _bars(picture: NDArray[np.uint8], box: Box, scores: Mapping[str, float]) -> None:
    height = max(9, min(22, round(box.height / 9)))
    width = max(round(height * 6.5), round(box.width * 0.55))
    left = box.x + box.width + 6
    if left + width > picture.shape[1]:
        left = max(0, box.x - width - 6)
    for row, emotion in enumerate(EMOTIONS):
        top = box.y + row * (height + 2)
        if top + height > picture.shape[0]:
            return
        share = scores.get(emotion, 0.0)
        patch = picture[top : top + height, left : left + width]
        patch[:] = (patch * 0.35).astype(np.uint8)
        cv2.rectangle(picture, (left, top), (left + round(width * share), top + height - 1), COLOURS_BGR[emotion], -1)
        cv2.putText(
            picture, f"{emotion} {share:.2f}", (left + 3, top + height - max(2, height // 4)), _FONT,
            height / 36, (255, 255, 255), 1, cv2.LINE_AA,
        )  # fmt: skip
