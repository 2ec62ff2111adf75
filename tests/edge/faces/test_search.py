"""Searches beside the frames: faces that are known are followed meanwhile, and what is found joins them afterwards."""

import threading
from typing import Any

import pytest
from numpy.typing import NDArray

from edge.faces.search import SEARCH_LIMIT_S, BackgroundSearch
from edge.faces.tracker import FaceTracker
from edge.faces.types import Box, Detection, Region
from edge.stages import Stages
from tests.edge.faces.test_tracker import FACE, SETTINGS, FakePredictor, Scene

OTHER = Box(400, 200, 120, 120)


class SlowDetector:
    """Sees what it is told, once it is let go."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.go.set()
        self.sees: list[Box] = []
        self.done = threading.Semaphore(0)
        self.started = threading.Semaphore(0)
        self.asked = 0

    def find_in(self, luma: NDArray[Any], region: Region) -> list[Detection]:
        self.asked += 1
        self.started.release()
        sees = [*self.sees]
        assert self.go.wait(20)
        self.done.release()
        return [Detection(box, 1.0) for box in sees]


class SlowScene(Scene):
    def __init__(self) -> None:
        super().__init__()
        self.slow = SlowDetector()
        predictor: Any = FakePredictor(self.detector)
        detector: Any = self.detector
        self.background = BackgroundSearch(self.slow)
        self.tracker = FaceTracker(SETTINGS, detector, predictor, Stages(), self.background)

    def found(self) -> None:
        """Wait until a search has come to its end; the frame after that sees what it found."""
        assert self.slow.done.acquire(timeout=20)
        self.settle()

    def settle(self) -> None:
        """Wait for the search that is under way, if any."""
        if self.background._pending is not None:
            self.background._pending.result(20)


@pytest.fixture
def scene() -> SlowScene:
    """One face that is known already."""
    scene = SlowScene()
    scene.slow.sees = [FACE]
    scene.show(FACE)
    scene.found()
    assert scene.play(4, FACE)[-1] == [1]
    return scene


def test_known_faces_are_followed_while_a_search_takes_its_time(scene: SlowScene) -> None:
    scene.settle()
    scene.slow.go.clear()
    scene.slow.sees = [FACE, OTHER]
    while scene.slow.started.acquire(blocking=False):
        pass
    seen = scene.play(10, FACE, OTHER)
    assert scene.slow.started.acquire(timeout=20)
    asked = scene.slow.asked
    assert seen == [[1]] * 10
    assert scene.play(5, FACE, OTHER) == [[1]] * 5
    assert scene.slow.asked == asked  # one at a time
    scene.slow.go.set()
    scene.found()
    assert scene.play(4, FACE, OTHER)[-1] == [2, 1]


def test_what_was_found_in_another_scene_is_nobodys(scene: SlowScene) -> None:
    scene.slow.go.clear()
    scene.slow.sees = [OTHER]
    scene.play(10, FACE, OTHER)
    scene.tracker.lose_sight()
    scene.slow.sees = []
    scene.slow.go.set()
    scene.found()
    assert [visits for visits in scene.play(8, OTHER) if visits] == []


def test_hanging_search_is_awaited_so_that_the_watchdog_sees_it(scene: SlowScene) -> None:
    scene.slow.go.clear()
    scene.slow.sees = [FACE, OTHER]
    scene.play(8, FACE, OTHER)
    scene.time_s += SEARCH_LIMIT_S
    waiting = threading.Thread(target=scene.show, args=(FACE, OTHER))
    waiting.start()
    waiting.join(0.2)
    assert waiting.is_alive()
    scene.slow.go.set()
    waiting.join(20)
    assert not waiting.is_alive()
