"""Which part of the frame is searched for new faces, and when: what has changed, often; all of it, now and then."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.faces.types import Box

SEARCH_PIXELS = 640 * 480
"""A larger frame is scaled down to this many pixels for a search: 80 px there are a person at the far end of a room."""
BLOCK_PX = 16
"""Side of the blocks whose mean brightness is watched, pixels of the scaled frame: a face covers 25 of them."""
CHANGED_LEVELS = 6
"""Difference of a block's mean, of 255, that counts as a change: noise of a dark camera stays below 2."""
MARGIN_PX = 64
"""Searched around a change, pixels of the scaled frame: a face that is partly behind the edge of what changed."""
WHOLE_SHARE = 0.7
"""Of the frame: where more than this has changed, all of it is searched."""
UNCHANGED_EVERY_S = 3.0
"""The whole frame is searched this often though nothing has changed, seconds."""
SMALL_UNCHANGED_FACTOR = 5
"""As often is the whole frame searched for small faces, in intervals of that search."""


_Blocks = tuple[int, int, int, int]
"""left, top, right, bottom"""


@dataclass(frozen=True, slots=True)
class Area:
    """A part of the frame to be searched."""

    box: Box
    """pixels of the frame"""
    scale: float
    """at most 1: the frame is scaled by this before it is searched"""
    upsample: int
    """doublings after that"""


class _Watch:
    """What the frame looked like when it was last searched."""

    def __init__(self, whole_every_s: float) -> None:
        self._whole_every_s = whole_every_s
        self._whole_s = 0.0
        self._blocks: NDArray[np.uint8] | None = None

    def area(self, blocks: NDArray[np.uint8], known: NDArray[np.bool_], now_s: float) -> _Blocks | None:
        """The blocks to search now, None where nothing has changed; they count as searched."""
        rows, columns = blocks.shape
        if self._blocks is None or now_s - self._whole_s >= self._whole_every_s:
            return self._searched_whole(blocks, now_s)
        changed = (cv2.absdiff(blocks, self._blocks) > CHANGED_LEVELS) & ~known
        if not changed.any():
            return None
        across, down = changed.any(axis=0).nonzero()[0], changed.any(axis=1).nonzero()[0]
        margin = MARGIN_PX // BLOCK_PX
        left, right = max(0, int(across[0]) - margin), min(columns, int(across[-1]) + 1 + margin)
        top, bottom = max(0, int(down[0]) - margin), min(rows, int(down[-1]) + 1 + margin)
        if (right - left) * (bottom - top) > WHOLE_SHARE * rows * columns:
            return self._searched_whole(blocks, now_s)
        self._blocks[top:bottom, left:right] = blocks[top:bottom, left:right]
        return left, top, right, bottom

    def _searched_whole(self, blocks: NDArray[np.uint8], now_s: float) -> _Blocks:
        self._blocks, self._whole_s = blocks, now_s
        return 0, 0, blocks.shape[1], blocks.shape[0]


class Searches:
    """Says for each frame which areas to search for faces that are not known yet; for one source.

    Parameters
    ----------
    every_s
        Seconds between two looks at what has changed.
    small_every_s
        The same for small faces, at four times the cost; 0 for never.
    upsample
        Doublings of the frame for every search.
    """

    def __init__(self, *, every_s: float, small_every_s: float, upsample: int) -> None:
        self._every_s, self._small_every_s, self._upsample = every_s, small_every_s, upsample
        self.forget()

    def forget(self) -> None:
        """Begin anew: what was seen so far is another scene."""
        self._common = _Watch(UNCHANGED_EVERY_S)
        self._small = _Watch(SMALL_UNCHANGED_FACTOR * self._small_every_s)
        self._common_s: float | None = None
        self._small_s = 0.0

    def due(self, luma: NDArray[np.uint8], now_s: float, *, every_s: float, seen: list[Box]) -> Area | None:
        """Return what to search in this frame, uint8 [height, width], or None.

        Parameters
        ----------
        every_s
            Seconds between searches at this moment, where that is less than usual.
        seen
            Faces that are in view and known: what changes there is they themselves.
        """
        if self._common_s is None:
            self._small_s = now_s  # the first frames of a run have enough to do
        elif now_s - self._common_s < min(every_s, self._every_s) - 1e-6:
            return None
        self._common_s = now_s
        height, width = luma.shape
        scale = min(1.0, (SEARCH_PIXELS / (width * height)) ** 0.5)
        # Whole pixels a block: OpenCV averages these four times faster than broken ones.
        side = min(max(1, round(BLOCK_PX / scale)), width, height)
        size = (width // side, height // side)
        watched = luma[: size[1] * side, : size[0] * side]
        blocks = np.asarray(cv2.resize(watched, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
        known = _covered(size, seen, side)
        small, area = False, None
        if self._small_every_s and now_s - self._small_s >= self._small_every_s:
            self._small_s = now_s
            area = self._small.area(blocks, known, now_s)
            small = area is not None
        area = area or self._common.area(blocks, known, now_s)
        if area is None:
            return None
        left, top = area[0] * side, area[1] * side
        right = width if area[2] == size[0] else area[2] * side
        bottom = height if area[3] == size[1] else area[3] * side
        return Area(Box(left, top, right - left, bottom - top), scale, self._upsample + small)


def _covered(size: tuple[int, int], boxes: list[Box], side: int) -> NDArray[np.bool_]:
    """The blocks on which known faces lie, with hair and neck."""
    covered = np.zeros((size[1], size[0]), dtype=np.bool_)
    for box in boxes:
        left, right = box.x - 0.5 * box.width, box.x + 1.5 * box.width
        top, bottom = box.y - 0.7 * box.height, box.y + 1.5 * box.height
        columns = slice(max(0, int(left / side)), max(0, int(right / side) + 1))
        rows = slice(max(0, int(top / side)), max(0, int(bottom / side) + 1))
        covered[rows, columns] = True
    return covered
