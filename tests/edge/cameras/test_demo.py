"""The built-in clip: nobody, one visit, nobody; the same on every machine."""

import sys
from itertools import pairwise

import dlib
import numpy as np
import pytest

from edge.cameras import open_camera
from edge.cameras.demo import FPS, FRAMES
from edge.errors import CameraError
from edge.frames import Frame


@pytest.fixture(scope="module")
def frames() -> list[Frame]:
    source = open_camera("demo:?pace=fast")
    assert not source.live
    frames = []
    while (frame := source.read(1.0)) is not None:
        frames.append(frame)
    source.close()
    return frames


def test_its_size_and_length(frames: list[Frame]) -> None:
    assert 12 <= FRAMES / FPS <= 15
    assert [frame.index for frame in frames] == list(range(FRAMES))
    assert frames[-1].time_s == pytest.approx((FRAMES - 1) / FPS)
    assert {(frame.width, frame.height) for frame in frames} == {(640, 480)}
    assert all(frame.bgr is not None for frame in frames)


@pytest.mark.slow("follows the whole built-in clip")
def test_the_detector_sees_one_visit(frames: list[Frame]) -> None:
    detector = dlib.get_frontal_face_detector()
    found = [list(detector(frame.luma, 0)) for frame in frames[::3]]
    seen = [index for index, boxes in enumerate(found) if boxes]
    assert all(len(boxes) <= 1 for boxes in found)
    assert seen[0] * 3 >= FPS - 1
    assert seen[-1] * 3 < FRAMES - 2 * FPS
    assert len(seen) >= 0.9 * (seen[-1] - seen[0] + 1), "it is in view without a break"
    boxes = [found[index][0] for index in seen]
    assert all(80 <= box.width() <= 220 for box in boxes)
    for before, after in pairwise(boxes):
        assert abs(after.center().x - before.center().x) < before.width()
    assert max(box.center().x for box in boxes) - min(box.center().x for box in boxes) > 100, "it walks"


def test_nobody_is_there_in_the_first_second_and_at_the_end(frames: list[Frame]) -> None:
    for frame in (*frames[: FPS - 1], *frames[-2 * FPS :]):
        assert np.array_equal(frame.luma, frames[0].luma)


def test_it_is_the_same_each_time(frames: list[Frame]) -> None:
    source = open_camera("demo:?pace=fast")
    for expected in frames[:60]:
        frame = source.read(1.0)
        assert frame is not None
        assert np.array_equal(frame.luma, expected.luma)
    source.close()
    assert source.read(1.0) is None


def test_it_plays_in_real_time_unless_told_otherwise() -> None:
    source = open_camera("demo:")

    assert source.live
    assert source.read(5.0) is not None
    source.close()


def test_it_loops() -> None:
    source = open_camera("demo:?pace=fast&loop=1")

    for index in range(FRAMES + 3):
        frame = source.read(1.0)
        assert frame is not None
        assert frame.index == index
        assert frame.time_s == pytest.approx(index / FPS)
    source.close()


def test_without_scikit_image_it_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "skimage"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "skimage", None)

    with pytest.raises(CameraError, match=r"pip install '\.\[demo\]'"):
        open_camera("demo:")
