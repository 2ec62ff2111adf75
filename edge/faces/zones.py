"""Zones: the parts of the picture in which faces count, polygons in shares of its width and height."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.faces.types import Box
from edge.settings import Zone

MARGIN_SHARE = 0.15
"""Also searched around the zones, as a share of the picture's longer side: a face in a zone may reach over its edge."""


class Zones:
    """Where faces count: inside a zone of kind ``include``, if there are any, and in none of kind ``exclude``."""

    def __init__(self, zones: Sequence[Zone] = ()) -> None:
        self._included = [_polygon(zone) for zone in zones if zone.kind == "include"]
        self._excluded = [_polygon(zone) for zone in zones if zone.kind == "exclude"]

    def hold(self, box: Box, shape: tuple[int, ...]) -> bool:
        """Return whether a face counts: the middle of its box decides. ``shape`` is the picture's: height, width."""
        x, y = box.centre
        return self._hold(x / shape[1], y / shape[0])

    def area(self, shape: tuple[int, ...]) -> Box:
        """Return the part of a picture [height, width] that has to be searched, with a margin."""
        height, width = shape[:2]
        if not self._included:
            return Box(0, 0, width, height)
        corners = np.concatenate(self._included).astype(float).round(6)
        margin = MARGIN_SHARE * max(width, height)
        left, top = np.floor(np.maximum(corners.min(axis=0) * (width, height) - margin, 0)).astype(int).tolist()
        right, bottom = (
            np.ceil(np.minimum(corners.max(axis=0) * (width, height) + margin, (width, height))).astype(int).tolist()
        )
        return Box(left, top, right - left, bottom - top)

    def outside(self, area: Box, side: int, shape: tuple[int, ...]) -> NDArray[np.bool_] | None:
        """Return which blocks of an area count nowhere, bool [rows, columns]; None if there are no zones.

        ``side`` is that of a block in pixels, ``shape`` the picture's.
        """
        if not self._included and not self._excluded:
            return None
        columns, rows = area.width // side, area.height // side
        x = (area.x + (np.arange(columns) + 0.5) * side) / shape[1]
        y = (area.y + (np.arange(rows) + 0.5) * side) / shape[0]
        return np.array([[not self._hold(across, down) for across in x] for down in y], dtype=np.bool_)

    def _hold(self, x: float, y: float) -> bool:
        included = not self._included or any(_is_in(zone, x, y) for zone in self._included)
        return included and not any(_is_in(zone, x, y) for zone in self._excluded)


def _polygon(zone: Zone) -> NDArray[np.float32]:
    return np.array(zone.points, np.float32)


def _is_in(polygon: NDArray[np.float32], x: float, y: float) -> bool:
    return cv2.pointPolygonTest(polygon, (float(x), float(y)), measureDist=False) >= 0
