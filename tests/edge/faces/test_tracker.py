"""Following faces: a fake detector and predictor see what a drawn scene holds; chips and changes are the real ones."""

import math
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edge.faces.landmarks import MEAN_SHAPE, box_from_landmarks
from edge.faces.tracker import FaceTracker, Track
from edge.faces.types import Box, Detection, Region, Treatment
from edge.frames import Frame
from edge.settings import FaceSettings
from edge.stages import Stages

SETTINGS = FaceSettings(confirm_frames=3, forget_after_s=2.0)
PATTERN = np.random.default_rng(7).integers(0, 256, (12, 12)).astype(np.uint8)


def landmarks_in(box: Box) -> NDArray[np.float32]:
    """Landmarks of a mean face in a box; those that do not tell its place lie in its middle."""
    points = np.zeros((68, 2))
    points[17:48] = MEAN_SHAPE
    points[48:68] = (0, 0.3)
    return (points * box.width + box.centre).astype(np.float32)


def drawn(boxes: list[Box]) -> NDArray[np.uint8]:
    luma: NDArray[np.uint8] = np.zeros((480, 640), np.uint8)
    for x, y, width, height in boxes:
        face = cv2.resize(PATTERN, (width, height), interpolation=cv2.INTER_LINEAR)
        part = luma[max(0, y) : y + height, max(0, x) : x + width]
        part[:] = face[: part.shape[0], : part.shape[1]]
    return luma


class FakeDetector:
    """Sees the boxes that a test says are there; counts what it was asked."""

    def __init__(self) -> None:
        self.there: list[Box] = []
        self.score = self.further_score = 1.0
        self.searched: list[Region] = []
        self.checks = 0

    def find_in(self, luma: NDArray[Any], region: Region) -> list[Detection]:
        self.searched.append(region)
        least = 75 / region.scale / 2**region.upsample
        return [Detection(b, self.score) for b in self.there if b.width >= least and _share_inside(b, region.box) > 0.9]

    def score_of(self, patch: NDArray[Any], box: Box) -> float:
        return self.further_score

    def covered_score(self, luma: NDArray[Any], landmarks: NDArray[np.float32]) -> float:
        return self.further_score

    def find_near(self, luma: NDArray[Any], box: Box, *, turned_deg: float = 0.0, **how: Any) -> Detection | None:
        self.checks += 1
        near = max(self.there, key=box.iou, default=None)
        return Detection(near, self.score, turned_deg) if near is not None and near.iou(box) > 0.1 else None


class FakePredictor:
    """Finds the face that a box lies on, and elsewhere what a real one makes of a wall: a face in that box."""

    def __init__(self, detector: FakeDetector) -> None:
        self._detector = detector
        self.steady = True

    def are_steady(self, luma: NDArray[Any], box: Box, *, within: float = 0.06) -> bool:
        return self.steady

    def points(self, luma: NDArray[Any], box: Box) -> NDArray[np.float32]:
        return np.zeros((68, 2), np.float32)

    def points_of(self, luma: NDArray[Any], detection: Detection) -> NDArray[np.float32]:
        box = detection.box
        near = max(self._detector.there, key=box.iou, default=box)
        return landmarks_in(near if near.iou(box) > 0.4 else box)


def _share_inside(box: Box, other: Box) -> float:
    across = min(box.x + box.width, other.x + other.width) - max(box.x, other.x)
    down = min(box.y + box.height, other.y + other.height) - max(box.y, other.y)
    return max(0, across) * max(0, down) / (box.width * box.height)


class Scene:
    def __init__(self, settings: FaceSettings = SETTINGS) -> None:
        self.detector = FakeDetector()
        self.predictor = FakePredictor(self.detector)
        self.tracker = FaceTracker(settings, self.detector, self.predictor, Stages())  # type: ignore[arg-type]  # fakes
        self.index = 0
        self.time_s = 0.0

    def show(self, *boxes: Box, fps: float = 10.0, luma: NDArray[np.uint8] | None = None) -> list[Track]:
        """The faces seen in one frame that shows these boxes."""
        self.detector.there = list(boxes)
        seen = self.tracker.update(Frame(drawn(list(boxes)) if luma is None else luma, self.time_s, self.index))
        self.index += 1
        self.time_s = round(self.time_s + 1 / fps, 6)
        return seen

    def play(
        self, frames: int, *boxes: Box, fps: float = 10.0, luma: NDArray[np.uint8] | None = None
    ) -> list[list[int]]:
        """Track numbers in each of some frames that show these boxes."""
        return [[face.number for face in self.show(*boxes, fps=fps, luma=luma)] for _ in range(frames)]


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


def test_second_face_has_its_own_number_and_the_largest_is_first() -> None:
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


def test_a_still_scene_is_hardly_searched() -> None:
    scene = Scene(FaceSettings(verify_every_s=0.4, small_faces_every_s=0))
    scene.play(30, FACE, fps=30)
    scene.detector.searched.clear()
    scene.detector.checks = 0
    scene.play(300, FACE, fps=30)
    assert len(scene.detector.searched) == 1  # every ten seconds
    assert scene.detector.checks in (7, 8, 9)  # every 1.2 s of ten: it has looked the same for long


def test_face_whose_looks_change_is_checked_as_often_as_ever() -> None:
    scene = Scene(FaceSettings(verify_every_s=0.4, small_faces_every_s=0))
    scene.play(90, FACE, fps=30)
    scene.detector.checks = 0
    grimace = PATTERN.copy()
    for frame in range(300):
        if frame % 12 == 0:
            rows = slice(frame // 12 % 4 * 3, frame // 12 % 4 * 3 + 3)
            grimace[rows] = np.random.default_rng(frame).integers(0, 256, (3, 12))
        luma = drawn([FACE])
        luma[100:200, 100:200] = cv2.resize(grimace, (100, 100), interpolation=cv2.INTER_LINEAR)
        scene.show(FACE, fps=30, luma=luma)
    assert scene.detector.checks >= 16


def test_new_face_is_not_trusted_at_first() -> None:
    scene = Scene(FaceSettings(verify_every_s=0.4, small_faces_every_s=0))
    scene.play(3, FACE, fps=10)
    scene.detector.checks = 0
    scene.play(13, FACE, fps=10)
    assert scene.detector.checks == 2  # after 0.4 s, and 0.8 s after that


def test_an_empty_room_is_hardly_searched() -> None:
    scene = Scene(FaceSettings(small_faces_every_s=10))
    scene.play(1800, fps=30)
    whole = [region for region in scene.detector.searched if not region.upsample]
    small = [region for region in scene.detector.searched if region.upsample]
    assert len(whole) in (5, 6, 7)
    assert len(small) in (1, 2)


@pytest.mark.parametrize("fps", [5.0, 15.0, 30.0])
@pytest.mark.parametrize("somebody", [False, True])
def test_a_new_face_is_seen_within_half_a_second(fps: float, somebody: bool) -> None:
    scene = Scene()
    before = [FACE] if somebody else []
    for wait in range(20, 20 + round(fps), max(1, round(fps / 7))):  # at any moment of the schedule
        scene.play(wait, *before, fps=fps)
        came_s = scene.time_s
        new = Box(400, 150, 130, 130)
        while new.centre not in [face.box.centre for face in scene.show(*before, new, fps=fps)]:
            assert scene.time_s - came_s < 2
        confirming_s = 0 if fps > 5 else 0.4  # three frames are three frames
        assert scene.time_s - 1 / fps - came_s <= 0.5 + confirming_s
        scene.play(round(3 * fps), *before, fps=fps)


def test_a_search_looks_where_something_has_changed() -> None:
    scene = Scene()
    scene.play(10, FACE)
    scene.detector.searched.clear()
    scene.play(5, FACE, Box(420, 200, 120, 120))
    box = scene.detector.searched[0].box
    assert box.x > 250
    assert box.x + box.width > 540
    assert box.y < 200


def test_small_faces_are_found_by_a_rarer_search() -> None:
    scene = Scene(FaceSettings(small_faces_every_s=2.0))
    small = Box(420, 200, 45, 45)
    assert scene.play(15, small)[-1] == []
    assert scene.play(15, small)[-1] == [1]
    never = Scene(FaceSettings(small_faces_every_s=0))
    assert never.play(200, small)[-1] == []


def test_a_large_frame_is_searched_at_the_size_of_a_small_one() -> None:
    scene = Scene()
    luma = np.zeros((1080, 1920), np.uint8)
    scene.show(luma=luma)
    region = scene.detector.searched[0]
    assert region.box == Box(0, 0, 1920, 1080)
    assert region.scale == pytest.approx((640 * 480 / (1920 * 1080)) ** 0.5)


def test_what_was_carried_onto_a_wall_is_noticed_at_once() -> None:
    scene = Scene(FaceSettings(verify_every_s=60))
    scene.play(10, FACE)
    assert scene.play(3) == [[], [], []]
    assert scene.play(10, FACE)[-1] == [1]


def test_track_of_no_face_is_not_carried_for_long() -> None:
    scene = Scene(FaceSettings(verify_every_s=0.4))
    scene.play(10, FACE)
    still_drawn = drawn([FACE])  # the picture stays, the detector sees nobody any more
    seen = [bool(scene.show(luma=still_drawn)) for _ in range(10)]
    assert seen[5:] == [False] * 5


def test_box_follows_the_face_between_two_detections() -> None:
    scene = Scene(FaceSettings(verify_every_s=5))
    scene.play(5, FACE)
    for step in range(1, 20):
        moved = FACE._replace(x=100 + 10 * step, y=100 + 2 * step)
        (seen,) = scene.show(moved)
        assert seen.box.iou(moved) > 0.95
        assert seen.landmarks == pytest.approx(landmarks_in(moved))
    assert scene.detector.checks < 8


@pytest.mark.parametrize("angle_deg", [0, 20, -35])
def test_a_box_from_landmarks_is_the_box_that_they_lie_in(angle_deg: int) -> None:
    box = Box(200, 120, 150, 150)
    turn = np.deg2rad(angle_deg)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    points = ((landmarks_in(box) - box.centre) @ rotation.T + box.centre).astype(np.float32)
    assert box_from_landmarks(points).iou(box) > 0.97


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
    small = Frame(drawn([])[:60, :80], 0.5, 5)
    scene.detector.there = []
    assert scene.tracker.update(small) == []


def test_face_is_found_anew_after_the_camera_was_away() -> None:
    scene = Scene()
    scene.play(10, FACE)
    scene.tracker.lose_sight()
    assert scene.play(4, FACE)[-1] == [2]


@pytest.mark.parametrize(
    ("steady", "further_score", "expected"), [(True, 0.1, [1]), (False, 0.1, []), (True, -0.6, [])]
)
def test_weak_detection_needs_steady_landmarks_and_further_looks(
    steady: bool, further_score: float, expected: list[int]
) -> None:
    scene = Scene()
    scene.detector.score, scene.detector.further_score = -0.1, further_score
    scene.predictor.steady = steady
    assert scene.play(10, FACE)[-1] == expected


def test_candidate_that_was_none_does_not_end_the_further_searches() -> None:
    scene = Scene()
    scene.play(12)
    scene.detector.score = scene.detector.further_score = -0.1
    scene.play(1, FACE)  # as dlib sees a face that lies upside down: once
    scene.detector.searched.clear()
    scene.play(60, luma=drawn([FACE]))
    assert {region.turned_deg for region in scene.detector.searched} == {0.0, 90.0, -90.0, 180.0, 45.0, -45.0}
    assert [region.covered for region in scene.detector.searched].count(True) == 1


def test_face_that_is_known_for_sure_spares_the_turned_searches() -> None:
    scene = Scene()
    scene.play(12)
    scene.play(60, FACE)
    further = [region for region in scene.detector.searched if region.covered or region.sharpened or region.turned_deg]
    assert [(region.covered, region.sharpened) for region in further] == [(False, True), (True, False)]


@pytest.mark.parametrize(("score", "steady", "spared"), [(0.5, True, True), (0.5, False, False), (0.9, False, True)])
def test_turned_searches_go_on_until_a_face_is_known_to_lie_upright(score: float, steady: bool, spared: bool) -> None:
    scene = Scene()
    scene.play(12)
    scene.detector.score, scene.predictor.steady = score, steady
    assert scene.play(60, FACE)[-1] == [1]
    turned = {region.turned_deg for region in scene.detector.searched}
    assert turned == ({0.0} if spared else {0.0, 90.0, -90.0, 180.0, 45.0, -45.0})


@pytest.mark.parametrize(("treatment", "score", "spared"), [
    (Treatment.SHARPENED, 0.5, True), (Treatment.COVERED, 0.5, False), (Treatment.COVERED, 0.9, False)
])  # fmt: skip
def test_covered_face_does_not_spare_the_turned_searches(treatment: Treatment, score: float, spared: bool) -> None:
    scene = Scene()
    scene.play(12)
    detector: Any = scene.detector
    search, near = detector.find_in, detector.find_near
    covered: list[bool] = []

    def find_near(luma: NDArray[Any], box: Box, **how: Any) -> Detection | None:
        covered.append(how["covered"])
        seen = near(luma, box, **how)
        return replace(seen, score=score, treatment=treatment) if seen else None

    detector.find_near = find_near
    detector.find_in = lambda luma, region: [
        replace(seen, score=score, treatment=treatment) for seen in search(luma, region)
    ]
    assert scene.play(60, FACE)[-1] == [1]
    turned = {region.turned_deg for region in scene.detector.searched}
    assert turned == ({0.0} if spared else {0.0, 90.0, -90.0, 180.0, 45.0, -45.0})
    assert all(covered)  # its lower half may be: dlib's detector has not seen it as it is


@pytest.mark.parametrize("tilt_deg", [40, -50, 70])
def test_tilted_face_has_the_picture_searched_as_it_lies(tilt_deg: int) -> None:
    scene = Scene()
    scene.play(12)
    turn = np.deg2rad(tilt_deg)
    rotation = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    predictor: Any = scene.predictor
    predictor.points_of = lambda _luma, seen: (
        (landmarks_in(seen.box) - seen.box.centre) @ rotation + seen.box.centre
    ).astype(np.float32)
    assert scene.play(60, FACE)[-1] == [1]
    turned = [region.turned_deg for region in scene.detector.searched if region.turned_deg]
    assert turned == [pytest.approx(tilt_deg, abs=2)]


def posters(count: int) -> list[NDArray[np.uint8]]:
    """Patterns that fill a frame: no light makes one of the other."""
    small = np.random.default_rng(9).integers(0, 256, (count, 12, 16)).astype(np.uint8)
    return [np.asarray(cv2.resize(one, (640, 480), interpolation=cv2.INTER_NEAREST), np.uint8) for one in small]


@pytest.mark.parametrize("fps", [2.0, 5.0, 10.0, 30.0])
@pytest.mark.parametrize("width", [45, 120])
@pytest.mark.parametrize("comes_s", [0.5, 1.0, 1.5, 2.0])
def test_further_searches_delay_a_new_face_by_one_at_most(fps: float, width: int, comes_s: float) -> None:
    scene = Scene(FaceSettings(small_faces_every_s=0.4))
    scene.play(round(12 * fps), fps=fps)
    see, usual = scene.detector.find_in, [0.0, False, False]
    detector: Any = scene.detector  # blurred, covered and turned faces are others
    detector.find_in = lambda luma, region: [
        seen for seen in see(luma, region) if [region.turned_deg, region.sharpened, region.covered] == usual
    ]
    poster = posters(1)[0]
    scene.play(round(comes_s * fps), luma=poster, fps=fps)
    new = Box(400, 150, width, width)
    poster[150 : 150 + width, 400 : 400 + width] = drawn([new])[150 : 150 + width, 400 : 400 + width]
    confirming = 2
    assert [1] in scene.play(math.ceil(0.4 * fps) + 1 + confirming, new, luma=poster, fps=fps)
    assert scene.play(round(4 * fps), new, luma=poster, fps=fps)[-1] == [1]
    assert {region.covered for region in scene.detector.searched} == {True, False}  # they are made up for


def test_further_searches_go_between_the_others_in_a_busy_scene() -> None:
    scene = Scene(FaceSettings(small_faces_every_s=0))
    for poster in posters(200):
        scene.show(luma=poster)
    kinds = [(r.turned_deg, r.sharpened, r.covered) for r in scene.detector.searched]
    assert sum(kind == (0.0, False, False) for kind in kinds) >= 50  # one in 0.4 s, as without them
    assert kinds.count((0.0, False, True)) == kinds.count((0.0, True, False)) == 2  # once in 10 s
    assert sorted(kind[0] for kind in kinds if kind[0]) == [-90.0, -45.0, 45.0, 90.0, 180.0]  # once in 30 s


def test_further_searches_follow_somebody_who_walks_in() -> None:
    scene = Scene(FaceSettings(small_faces_every_s=0))
    scene.play(12)
    walker = posters(1)[0][:160, :100]
    for step in range(40):
        luma = np.zeros((480, 640), np.uint8)
        left = min(40 * step, 400)
        luma[150:310, left : left + 100] = walker
        scene.show(luma=luma)
    last = {(r.turned_deg, r.sharpened, r.covered): r.box for r in scene.detector.searched}
    assert len(last) == 8
    assert last[(-45.0, False, False)].x + last[(-45.0, False, False)].width >= 500


def test_face_taken_for_upright_is_followed_as_it_lies() -> None:
    scene = Scene()
    scene.play(12)
    scene.detector.score, weak = -0.1, Detection(FACE, -0.1)
    clear = Detection(FACE, 1.5, turned_deg=180.0)
    detector: Any = scene.detector
    detector.find_in = lambda _luma, region: [clear if region.turned_deg == 180 else weak]
    predictor: Any = scene.predictor
    upright = scene.predictor.points_of
    upside_down = 2 * np.array(FACE.centre, np.float32) - landmarks_in(FACE)
    predictor.points_of = lambda luma, seen: upside_down if seen.turned_deg else upright(luma, seen)
    seen = [scene.show(FACE) for _ in range(60)]
    assert {track.number for tracks in seen for track in tracks} == {1}
    assert abs(seen[-1][0].turned_deg()) == pytest.approx(180)


@pytest.mark.parametrize("hidden", [5, 6])
@pytest.mark.parametrize("elder_in_front", [True, False])
def test_two_people_who_cross_keep_their_numbers(elder_in_front: bool, hidden: int) -> None:
    scene = Scene()
    left, right = Box(60, 200, 100, 100), Box(460, 204, 96, 96)
    other = np.random.default_rng(8).integers(0, 256, (12, 12)).astype(np.uint8)

    def show(places: dict[int, Box]) -> list[Track]:
        luma = drawn([places[1]] if 1 in places else [])
        if 2 in places:
            x, y, width, height = places[2]
            luma[y : y + height, x : x + width] = cv2.resize(other, (width, height), interpolation=cv2.INTER_LINEAR)
        return scene.show(*places.values(), luma=luma)

    for _ in range(6):
        show({1: left})
    for _ in range(6):
        show({1: left, 2: right})
    for step in range(1, 41):
        places = {1: left._replace(x=60 + 10 * step), 2: right._replace(x=460 - 10 * step)}
        ends = {number: box.x for number, box in places.items()}
        if abs(places[1].x - places[2].x) < 10 * hidden:  # the one behind is not seen
            del places[2 if elder_in_front else 1]
        seen = show(places)
    assert {track.number: round(track.box.x, -1) for track in seen} == ends


def test_a_turn_to_the_side_for_two_seconds_keeps_the_number() -> None:
    scene = Scene(FaceSettings())
    scene.play(10, FACE)
    scene.play(21)
    assert scene.play(5, FACE._replace(x=120))[-1] == [1]
