"""Light that changes in an empty room starts few searches; somebody who comes in is searched for in any light."""

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edge.faces.light import what_moved
from edge.faces.search import SearchPlan
from edge.faces.types import Box, Region

Light = Callable[[float], NDArray[np.float64] | float]
"""Seconds to factors of brightness, of any shape that fits [480, 640]."""

DOWN, ACROSS = np.mgrid[0:480, 0:640]
FROM_THE_TELEVISION = np.exp(-np.hypot(ACROSS - 640, DOWN - 300) / 400)
NOISE = np.random.default_rng(3).normal(4, 2, (484, 644)).clip(0).astype(np.uint8)
FACE = Box(250, 180, 90, 110)


def room() -> NDArray[np.uint8]:
    """A wall with pictures, a dark cupboard and a bright window."""
    luma = np.full((480, 640), 110, np.uint8)
    rng = np.random.default_rng(5)
    for _ in range(60):
        x, y, side = (int(value) for value in rng.integers((0, 0, 8), (600, 440, 90)))
        cv2.rectangle(luma, (x, y), (x + side, y + side // 2), (int(rng.integers(40, 180)),), -1)
    cv2.rectangle(luma, (0, 200), (120, 480), (15,), -1)
    cv2.rectangle(luma, (480, 20), (600, 160), (220,), -1)
    return np.asarray(cv2.GaussianBlur(luma, (0, 0), 1.5), np.uint8)


def seen(luma: NDArray[np.uint8], factor: NDArray[np.float64] | float, step: int) -> NDArray[np.uint8]:
    """What a camera with some noise makes of a room in a light."""
    bright = np.clip(luma * np.asarray(factor, np.float32), 0, 250).astype(np.uint8)
    return np.asarray(cv2.add(bright, NOISE[step % 3 : 480 + step % 3, step % 5 : 640 + step % 5]))


def television(now_s: float) -> NDArray[np.float64]:
    brightness = np.random.default_rng(int(now_s / 0.3)).uniform(-0.4, 0.5)
    return np.asarray(1 + brightness * FROM_THE_TELEVISION)


LIGHTS: dict[str, Light] = {
    "clouds": lambda now_s: 1 + 0.35 * float(np.sin(now_s)),
    "television": television,
    "lamp that flickers in rows": lambda now_s: 1 + 0.12 * np.sin(2 * np.pi * (DOWN / 200 + 3.3 * now_s)),
    "lamp switched on and off": lambda now_s: 1.0 - 0.4 * (int(now_s) % 2),
}


def searches(light: Light, comes_s: float | None = None) -> list[tuple[float, Region]]:
    """Watch the room for 20 s; somebody stands there from ``comes_s`` on."""
    plan = SearchPlan(every_s=0.4, small_every_s=10.0, upsample=0)
    empty, with_face = room(), room()
    x, y, width, height = FACE
    face = np.random.default_rng(7).integers(30, 230, (12, 12)).astype(np.uint8)
    with_face[y : y + height, x : x + width] = cv2.resize(face, (width, height))
    planned = []
    for step in range(50):
        now_s = 0.4 * step
        luma = empty if comes_s is None or now_s < comes_s else with_face
        region = plan.next_region(seen(luma, light(now_s), step), now_s, every_s=0.4, known=[])
        if region is not None:
            planned.append((now_s, region))
    return planned


@pytest.mark.parametrize("name", LIGHTS)
def test_light_in_an_empty_room_starts_few_searches(name: str) -> None:
    pixels = sum(region.box.width * region.box.height * 4**region.upsample for _, region in searches(LIGHTS[name]))
    assert pixels < 22 * 640 * 480  # of 50; before, all were searched, and more than once


@pytest.mark.parametrize("name", LIGHTS)
def test_somebody_who_comes_in_is_searched_for_at_once_in_any_light(name: str) -> None:
    near = [now_s for now_s, region in searches(LIGHTS[name], comes_s=9.6) if covers(region.box, FACE)]
    assert any(9.5 < now_s < 10.1 for now_s in near)


def test_light_that_is_switched_on_is_followed_by_a_search_of_everything() -> None:
    planned = searches(lambda now_s: 0.2 if now_s < 7 else 1.0)
    assert any(7 <= now_s < 7.5 and region.box == Box(0, 0, 640, 480) for now_s, region in planned)


def test_faint_change_in_steady_light_counts() -> None:
    before = np.full((30, 40), 100, np.uint8)
    blocks = before.copy()
    blocks[10:25, 10:30] += 8
    changed, lit = what_moved(blocks, before, np.zeros((30, 40), np.bool_))
    assert changed[10:25, 10:30].all()
    assert changed.sum() == 15 * 20
    assert lit is None


def test_what_is_ignored_never_counts_in_changing_light() -> None:
    before = np.full((30, 40), 100, np.uint8)
    blocks = (before * 1.3).astype(np.uint8)
    blocks[10:16, 10:16] = 20
    ignored = np.zeros((30, 40), np.bool_)
    assert what_moved(blocks, before, ignored)[0].any()
    ignored[10:16, 10:16] = True
    assert not what_moved(blocks, before, ignored)[0].any()


def test_black_picture_that_turns_bright_and_back_does_not_overflow() -> None:
    black, white = np.zeros((30, 40), np.uint8), np.full((30, 40), 255, np.uint8)
    none = np.zeros((30, 40), np.bool_)
    for blocks, before in ((white, black), (black, white)):
        changed, lit = what_moved(blocks, before, none)
        assert not changed.any()
        assert lit is not None
        assert np.abs(lit.astype(int) - blocks).max() <= 1


def covers(region: Box, box: Box) -> bool:
    return (
        region.x <= box.x
        and region.y <= box.y
        and region.x + region.width >= box.x + box.width
        and region.y + region.height >= box.y + box.height
    )
