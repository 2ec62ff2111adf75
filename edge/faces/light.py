"""Whether the light has changed or something has moved, from the mean brightness of blocks."""

import cv2
import numpy as np
from numpy.typing import NDArray

CHANGED_LEVELS = 6
"""A block has changed when its mean brightness, 0..255, differs by more: the noise of a dark camera stays below 2."""
NOISE_LEVELS, WIDE_SHARE = 2, 0.5
"""Light changes more than this share of all blocks by more than so many levels."""
LIGHT_SHARE = 0.8
"""Where light explains at least this share of the blocks that have changed, it was light."""
SMOOTH_BLOCKS = 9
"""Side of the square over which light is taken for smooth, in blocks: a face that a search finds covers 5."""
TOGETHER_BLOCKS = 4
"""Of a block and its eight neighbours so many must have moved in changed light: light on an edge seems to move one."""
BLACK = 4.0
"""Added to a brightness before its logarithm is taken: what a camera sees of black."""


def what_moved(
    blocks: NDArray[np.uint8], before: NDArray[np.uint8], ignored: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], NDArray[np.uint8] | None]:
    """Return which blocks have changed, bool [rows, columns], and what was before in the present light if it differs.

    Light multiplies brightness: by one factor where a lamp or a cloud does it, by one for each row where a lamp
    flickers faster than the frames come, and by one that varies smoothly where a television lights the room. If this
    explains most of what has changed, only the rest counts, and the second result is ``before`` in the present light.
    Otherwise it is None and all that has changed counts, so that a faint change in steady light does, too.

    ``blocks``, ``before``: mean brightness now and then, uint8 [rows, columns].
    ``ignored``: blocks that never count, bool [rows, columns].
    """
    difference = cv2.absdiff(blocks, before)
    changed = (difference > CHANGED_LEVELS) & ~ignored
    count = int(changed.sum())
    if not count or int((difference > NOISE_LEVELS).sum()) < WIDE_SHARE * difference.size:
        return changed, None
    now, then = blocks.astype(np.float32) + BLACK, before.astype(np.float32) + BLACK
    factor = np.log(now / then)
    by_row = np.median(factor, axis=1, keepdims=True)
    weight = np.where(ignored, 1e-6, 1.0).astype(np.float32)
    lit = np.minimum(then * np.exp(by_row + _around((factor - by_row) * weight) / _around(weight)), 255 + BLACK)
    moved = changed & (np.abs(now - lit) > CHANGED_LEVELS)
    if int(moved.sum()) > (1 - LIGHT_SHARE) * count:
        return changed, None
    together = cv2.boxFilter(moved.astype(np.uint8), -1, (3, 3), normalize=False, borderType=cv2.BORDER_CONSTANT)
    return moved & (together >= TOGETHER_BLOCKS), np.rint(lit - BLACK).clip(0).astype(np.uint8)


def _around(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the mean of the square around each block."""
    return np.asarray(cv2.blur(values, (SMOOTH_BLOCKS, SMOOTH_BLOCKS), borderType=cv2.BORDER_REFLECT), np.float32)
