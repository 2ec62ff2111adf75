from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.faces.detector import Detection
from edge.faces.tracker import FaceTracker
from edge.faces.types import Box
from edge.frames import Frame
from edge.settings import FaceSettings

LUMA = np.zeros((480, 640), np.uint8)
SETTINGS = FaceSettings(confirm_frames=3, forget_after_s=2.0, whole_frame_every=10)


class FakeDetector:
    """Sees the boxes that a test says are there; counts how often the whole frame was searched."""

    def __init__(self) -> None:
        self.there: list[Box] = []
        self.whole_searches = 0

    def whole(self, luma: NDArray[Any], *, upsample: int = 0) -> list[Detection]:
        self.whole_searches += 1
        return [Detection(box, 1.0) for box in self.there]

    def region(self, luma: NDArray[Any], around: Box) -> Detection | None:
        near = max(self.there, key=around.iou, default=None)
        return Detection(near, 1.0) if near is not None and near.iou(around) > 0.1 else None


class Scene:
    def __init__(self, settings: FaceSettings = SETTINGS) -> None:
        self.detector = FakeDetector()
        self.tracker = FaceTracker(settings, self.detector)  # type: ignore[arg-type]  # the part of it that is used
        self.index = 0

    def play(self, frames: int, *boxes: Box, fps: float = 10.0) -> list[list[int]]:
        """Visits in each of some frames that show these boxes."""
        self.detector.there = list(boxes)
        seen = []
        for _ in range(frames):
            found = self.tracker.update(Frame(LUMA, self.index / fps, self.index))
            seen.append([sighting.visit for sighting in found])
            self.index += 1
        return seen


FACE = Box(100, 100, 100, 100)


def test_a_visit_begins_once_a_face_was_found_often_enough() -> None:
    assert Scene().play(5, FACE) == [[], [], [1], [1], [1]]


def test_a_flash_is_no_visit() -> None:
    scene = Scene()
    assert scene.play(2, FACE) + scene.play(20) + scene.play(2, FACE) == [[]] * 24


def test_a_moving_face_keeps_its_visit() -> None:
    scene = Scene()
    seen = [scene.play(1, FACE._replace(x=100 + 12 * step))[0] for step in range(30)]
    assert seen[2:] == [[1]] * 28


def test_a_hand_over_the_face_changes_nothing() -> None:
    scene = Scene()
    scene.play(5, FACE)
    assert scene.play(19) == [[]] * 19
    assert scene.play(5, FACE._replace(x=130))[-1] == [1]


def test_a_face_that_was_away_for_longer_is_a_new_visit() -> None:
    scene = Scene()
    scene.play(5, FACE)
    scene.play(25)
    assert scene.play(5, FACE)[-1] == [2]


def test_a_second_face_gets_its_own_number_and_the_largest_is_first() -> None:
    scene = Scene()
    scene.play(5, FACE)
    assert scene.play(25, FACE, Box(400, 100, 140, 140))[-1] == [2, 1]


def test_two_regions_that_close_in_on_one_face_become_one() -> None:
    scene = Scene()
    other = Box(230, 100, 100, 100)
    scene.play(6, FACE, other)
    for step in range(1, 14):
        scene.play(1, FACE, other._replace(x=230 - 10 * step))
    assert scene.play(30, FACE)[-1] == [1]


def test_the_whole_frame_is_searched_now_and_then_only() -> None:
    scene = Scene()
    scene.play(10, FACE)
    before = scene.detector.whole_searches
    scene.play(100, FACE)
    assert scene.detector.whole_searches - before == 10


def test_no_more_faces_than_asked_for() -> None:
    scene = Scene(FaceSettings(confirm_frames=1, max_faces=2))
    boxes = [Box(20 + 150 * i, 50, 80 + 10 * i, 80 + 10 * i) for i in range(4)]
    assert scene.play(3, *boxes)[-1] == [1, 2]


def test_a_face_is_confirmed_at_any_frame_rate() -> None:
    for fps in (0.2, 1.0, 60.0):
        assert Scene().play(6, FACE, fps=fps)[2:] == [[1]] * 4


def test_another_picture_size_is_another_scene() -> None:
    scene = Scene()
    scene.play(5, FACE)
    small = Frame(LUMA[:60, :80], 0.5, 5)
    scene.detector.there = []
    assert scene.tracker.update(small) == []
