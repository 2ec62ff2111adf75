"""When to search for new faces, and where: often in what has changed, now and then in the whole frame."""

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.background import Worker
from edge.faces.light import what_moved
from edge.faces.types import Box, Detection, Region
from edge.faces.views import angle_deg
from edge.faces.zones import Zones

SEARCH_PIXELS = 640 * 480
"""A larger frame is scaled down to this many pixels for a search: 80 px in it are a face at the far end of a room."""
BLOCK_PX = 16
"""Side of the blocks whose mean brightness is compared, pixels of the scaled frame: a face covers 25 blocks."""
MARGIN_PX = 64
"""Also searched around what has changed, pixels of the scaled frame: a face may reach over its edge."""
WHOLE_SHARE = 0.7
"""Share of the frame: where a search would cover more than this, it covers all."""
UNCHANGED_EVERY_S = 10.0
"""Seconds after which the whole frame is searched though nothing has changed."""
AFTER_LIGHT_SHARE = 0.4
"""The whole frame is searched after this part of that time where the light has changed: it may show who was there."""
SMALL_UNCHANGED_FACTOR = 5
"""The whole frame is searched for small faces once in this many intervals of that search."""
FURTHER_EVERY_S, RARELY_EVERY_S = 10.0, 30.0
"""Where the picture has changed, it is also searched for blurred and covered faces, between the next searches, but at
most once in the first number of seconds; in the second one while a face is known for sure. Without one it is searched
for turned faces, too, as rarely."""
TILTED_DEG = 25.0
"""Where a face is known to lie turned by more, the picture is searched turned by that, and else not."""
TURNS_DEG = (90.0, -90.0, 180.0, 45.0, -45.0)
"""How faces may lie turned clockwise in such a search, one after the other."""
SEARCH_LIMIT_S = 5.0
"""A background search that takes longer is waited for, so that the loop's watchdog notices one that hangs."""

_Blocks = tuple[int, int, int, int]
"""left, top, right, bottom"""


class SearchPlan:
    """Decides for each frame of one source which region to search for new faces, if any.

    ``every_s``: seconds between two searches of what has changed.
    ``small_every_s``: the same for small faces, at four times the cost; 0 for never.
    ``upsample``: how often the frame is doubled for every search.
    ``zones``: where faces count: nothing else is searched, but for a margin, and changes elsewhere start no search.
    """

    def __init__(self, *, every_s: float, small_every_s: float, upsample: int, zones: Zones | None = None) -> None:
        self._every_s, self._small_every_s, self._upsample = every_s, small_every_s, upsample
        self._zones = zones or Zones()
        self.forget()

    def forget(self) -> None:
        """Start again with another scene."""
        self._usual = _Changes(UNCHANGED_EVERY_S)
        self._small = _Changes(SMALL_UNCHANGED_FACTOR * self._small_every_s)
        self._planned_s: float | None = None
        self._searched_s = 0.0
        self._small_planned_s = 0.0
        self._outside: NDArray[np.bool_] | None = None
        self._further: list[Region] = []
        self._further_planned_s, self._turned_planned_s = -FURTHER_EVERY_S, -RARELY_EVERY_S
        self._further_is_next = False
        self._turned_deg = 0.0

    def next_region(
        self,
        luma: NDArray[np.uint8],
        now_s: float,
        *,
        every_s: float,
        known: list[Box],
        lying_deg: Sequence[float] = (),
        unsettled: bool = False,
    ) -> Region | None:
        """Return what to search in this frame, uint8 [height, width]; None where no search is due.

        ``every_s``: seconds between two searches at this moment, if that is less than usual.
        ``known``: faces seen in this frame already: changes there are their own movements.
        ``lying_deg``: by how much the faces lie turned clockwise of which the detector was sure: then the others here
        lie as these do.
        ``unsettled``: what was seen may be a face, or not: what has changed is searched further after that.
        """
        every_s = min(every_s, self._every_s)
        is_due = self._planned_s is None or now_s - self._planned_s >= every_s - 1e-6
        if lying_deg:
            self._turn_as(max(lying_deg, key=abs))
        # Half an interval after a search, or instead of every second one where the frames are no closer.
        may_go_further = bool(self._further) and not unsettled and now_s - self._searched_s >= every_s / 2 - 1e-6
        region = None
        if is_due and not (may_go_further and self._further_is_next):
            region = self._changed_region(luma, now_s, known, RARELY_EVERY_S if lying_deg else FURTHER_EVERY_S)
            self._further_is_next = region is not None
        if region is None and may_go_further:
            region, self._further_is_next = self._further.pop(0), False
            self._turned_deg = region.turned_deg or self._turned_deg
        if region is not None:
            self._searched_s = now_s
        return region

    def _turn_as(self, lying_deg: float) -> None:
        """Search turned by no other angle than that of a face that is known to lie so, and so only once."""
        turned = [region for region in self._further if region.turned_deg]
        self._further = [region for region in self._further if not region.turned_deg]
        if turned and abs(lying_deg) >= TILTED_DEG and angle_deg(lying_deg, self._turned_deg) >= TILTED_DEG:
            self._further.insert(0, replace(turned[0], turned_deg=lying_deg))

    def _changed_region(
        self, luma: NDArray[np.uint8], now_s: float, known: list[Box], further_every_s: float
    ) -> Region | None:
        """Return what has changed since it was searched last, or the whole frame where that is due."""
        area = self._zones.area(luma.shape)
        _, _, width, height = area
        scale = min(1.0, (SEARCH_PIXELS / luma.size) ** 0.5)
        # A whole number of pixels a block: OpenCV averages these four times faster than fractions.
        side = min(max(1, round(BLOCK_PX / scale)), width, height)
        if self._planned_s is None:
            self._small_planned_s = now_s  # the first frames of a run have enough to do
            self._outside = self._zones.outside(area, side, luma.shape)
        self._planned_s = now_s
        size = (width // side, height // side)
        watched = luma[area.y : area.y + size[1] * side, area.x : area.x + size[0] * side]
        blocks = np.asarray(cv2.resize(watched, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
        ignored = _covered(size, [box._replace(x=box.x - area.x, y=box.y - area.y) for box in known], side)
        if self._outside is not None:
            ignored |= self._outside
        found, small = self._due(blocks, ignored, now_s)
        if found is None:
            return None
        left, top = found[0] * side, found[1] * side
        right = width if found[2] == size[0] else found[2] * side
        bottom = height if found[3] == size[1] else found[3] * side
        region = Region(Box(area.x + left, area.y + top, right - left, bottom - top), scale, self._upsample + small)
        changes = self._small if small else self._usual
        if changes.found:
            self._plan_further(region, now_s, further_every_s)
        return region

    def _plan_further(self, region: Region, now_s: float, every_s: float) -> None:
        """Search what has changed in further ways, where these are due, and with it what waits for that already."""
        self._further = [
            replace(one, box=_around(one.box, region.box), upsample=max(one.upsample, region.upsample))
            for one in self._further
        ]
        if now_s - self._further_planned_s >= every_s:
            self._further_planned_s = now_s
            self._further += [replace(region, sharpened=True), replace(region, covered=True)]
        if now_s - self._turned_planned_s >= RARELY_EVERY_S:
            self._turned_planned_s, self._turned_deg = now_s, 0.0
            self._further += [replace(region, turned_deg=degrees) for degrees in TURNS_DEG]

    def _due(self, blocks: NDArray[np.uint8], ignored: NDArray[np.bool_], now_s: float) -> tuple[_Blocks | None, bool]:
        """Return the blocks to search now, and whether for small faces; that covers larger ones, too."""
        if self._small_every_s and now_s - self._small_planned_s >= self._small_every_s:
            found = self._small.to_search(blocks, ignored, now_s)
            if found:
                self._small_planned_s = now_s
                self._usual.searched(found, blocks, now_s)
                return found, True
        return self._usual.to_search(blocks, ignored, now_s), False


class Search(Protocol):
    """What searches regions: dlib's detector, or BlazeFace before it."""

    def find_in(self, luma: NDArray[np.uint8], region: Region) -> list[Detection]:
        """Find candidates for faces in a region of a luma plane, uint8 [height, width]; the largest first."""
        ...


class BackgroundSearch:
    """Searches beside the frames, in a thread of its own: the detector releases the GIL, and another core has time."""

    def __init__(self, search: Search) -> None:
        self._search = search
        self._worker = Worker("search")
        self._pending: Future[list[Detection]] | None = None
        self._started_s = 0.0

    def start(self, luma: NDArray[np.uint8], region: Region, now_s: float) -> None:
        """Search a region of a luma plane, uint8 [height, width], of which a copy is taken."""
        copy = luma.copy()
        self._started_s = now_s
        self._pending = self._worker.submit(lambda: self._search.find_in(copy, region))

    def is_running(self, now_s: float) -> bool:
        """Return whether a search goes on, unless it has taken `SEARCH_LIMIT_S` already."""
        return self._pending is not None and not self._pending.done() and now_s - self._started_s < SEARCH_LIMIT_S

    def take(self) -> list[Detection]:
        """Return what the last search found, once, and wait for it where it has not ended."""
        pending, self._pending = self._pending, None
        return pending.result() if pending else []

    def drop(self) -> None:
        """Ignore what the search under way will find: it belongs to another scene."""
        self._pending = None

    def close(self) -> None:
        """End the thread once its present search is done."""
        self._worker.leave()


class _Changes:
    """Finds what has changed since it was last searched."""

    def __init__(self, whole_every_s: float) -> None:
        self._whole_every_s = whole_every_s
        self._whole_s = 0.0
        self._light_s = -whole_every_s
        self._blocks: NDArray[np.uint8] | None = None
        self.found = False
        """whether something had changed, so that the last search was due not because of the time alone"""

    def to_search(self, blocks: NDArray[np.uint8], ignored: NDArray[np.bool_], now_s: float) -> _Blocks | None:
        """Return the blocks to search now, which count as searched from here on; None where nothing has changed."""
        rows, columns = blocks.shape
        if self._blocks is None:
            return self._searched_whole(blocks, now_s)
        changed, lit = what_moved(blocks, self._blocks, ignored)
        self.found = bool(changed.any())
        light_is_due = lit is not None and now_s - self._light_s >= AFTER_LIGHT_SHARE * self._whole_every_s
        if light_is_due:
            self._light_s = now_s
        if light_is_due or now_s - self._whole_s >= self._whole_every_s:
            return self._searched_whole(blocks, now_s)
        if not self.found:
            return None
        if lit is not None:
            self._blocks = lit
        across, down = changed.any(axis=0).nonzero()[0], changed.any(axis=1).nonzero()[0]
        margin = MARGIN_PX // BLOCK_PX
        left, right = max(0, int(across[0]) - margin), min(columns, int(across[-1]) + 1 + margin)
        top, bottom = max(0, int(down[0]) - margin), min(rows, int(down[-1]) + 1 + margin)
        if (right - left) * (bottom - top) > WHOLE_SHARE * rows * columns:
            return self._searched_whole(blocks, now_s)
        self.searched((left, top, right, bottom), blocks, now_s)
        return left, top, right, bottom

    def searched(self, region: _Blocks, blocks: NDArray[np.uint8], now_s: float) -> None:
        """Count these blocks as searched."""
        left, top, right, bottom = region
        if self._blocks is None or (right - left, bottom - top) == blocks.shape[::-1]:
            self._blocks, self._whole_s = blocks.copy(), now_s
        else:
            self._blocks[top:bottom, left:right] = blocks[top:bottom, left:right]

    def _searched_whole(self, blocks: NDArray[np.uint8], now_s: float) -> _Blocks:
        self._blocks, self._whole_s = blocks.copy(), now_s
        return 0, 0, blocks.shape[1], blocks.shape[0]


def _around(one: Box, other: Box) -> Box:
    """Return the box around two boxes."""
    left, top = min(one.x, other.x), min(one.y, other.y)
    right, bottom = max(one.x + one.width, other.x + other.width), max(one.y + one.height, other.y + other.height)
    return Box(left, top, right - left, bottom - top)


def _covered(size: tuple[int, int], boxes: list[Box], side: int) -> NDArray[np.bool_]:
    """Mark the blocks that known faces cover, with hair and neck."""
    covered = np.zeros((size[1], size[0]), dtype=np.bool_)
    for box in boxes:
        left, right = box.x - 0.5 * box.width, box.x + 1.5 * box.width
        top, bottom = box.y - 0.7 * box.height, box.y + 1.5 * box.height
        columns = slice(max(0, int(left / side)), max(0, int(right / side) + 1))
        rows = slice(max(0, int(top / side)), max(0, int(bottom / side) + 1))
        covered[rows, columns] = True
    return covered
