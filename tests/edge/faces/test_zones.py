"""Zones: where faces count, in searches, while they are followed, and in single pictures."""

from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from edge.analyzer import EmotionAnalyzer
from edge.cameras import open_camera
from edge.faces.drawing import draw_zones
from edge.faces.types import Box
from edge.faces.zones import Zones
from edge.frames import Frame
from edge.pipeline import Pipeline, load_pipeline
from edge.settings import FaceSettings, Settings, Zone
from tests.edge.faces.test_tracker import FACE, Scene

LEFT = Zone(points=((0, 0), (0.5, 0), (0.5, 1), (0, 1)))
RIGHT = Zone(points=((0.5, 0), (1, 0), (1, 1), (0.5, 1)))
NOT_RIGHT = msgspec.structs.replace(RIGHT, kind="exclude")
TRIANGLE = Zone(points=((0, 0), (1, 0), (0, 1)))
SHAPE = (480, 640)
ON_THE_RIGHT = FACE._replace(x=500)


def settings(*zones: Zone) -> FaceSettings:
    return FaceSettings(zones=zones, confirm_frames=3, small_faces_every_s=0)


@pytest.mark.parametrize(
    ("zones", "inside", "outside"),
    [
        ((), [(10, 10), (630, 470)], []),
        ((LEFT,), [(10, 10), (319, 479)], [(322, 10), (630, 470)]),
        ((NOT_RIGHT,), [(10, 10), (318, 479)], [(322, 10), (630, 470)]),
        ((LEFT, RIGHT), [(10, 10), (630, 470)], []),
        ((LEFT, msgspec.structs.replace(TRIANGLE, kind="exclude")), [(310, 470)], [(10, 10), (630, 470)]),
        ((TRIANGLE,), [(10, 10), (310, 230)], [(340, 260), (630, 470)]),
    ],
)
def test_zone_holds_a_face_by_the_middle_of_its_box(
    zones: tuple[Zone, ...], inside: list[tuple[int, int]], outside: list[tuple[int, int]]
) -> None:
    def hold(x: int, y: int) -> bool:
        return Zones(zones).hold(Box(x - 40, y - 40, 80, 80), SHAPE)

    assert all(hold(*middle) for middle in inside)
    assert not any(hold(*middle) for middle in outside)


def test_zones_bound_what_is_searched() -> None:
    assert Zones().area(SHAPE) == (0, 0, 640, 480)
    assert Zones((NOT_RIGHT,)).area(SHAPE) == (0, 0, 640, 480)
    assert Zones((LEFT,)).area(SHAPE) == (0, 0, 416, 480)
    corner = Zone(points=((0.9, 0.9), (1, 0.9), (1, 1)))
    assert Zones((corner,)).area(SHAPE) == (480, 336, 160, 144)


def test_zone_of_a_turned_picture_is_of_the_turned_one() -> None:
    assert Zones((LEFT,)).area((640, 480)) == (0, 0, 336, 640)


@pytest.mark.parametrize("zone", [LEFT, NOT_RIGHT])
def test_face_outside_the_zones_is_not_reported(zone: Zone) -> None:
    assert Scene(settings(zone)).play(8, ON_THE_RIGHT) == [[]] * 8
    assert Scene(settings(zone)).play(5, FACE, ON_THE_RIGHT)[-1] == [1]


def test_face_outside_the_zones_is_not_searched_for() -> None:
    scene = Scene(settings(LEFT))
    scene.play(8, ON_THE_RIGHT)
    assert scene.detector.checks == 0
    assert {region.box.x + region.box.width for region in scene.detector.searched} == {416}
    searched = len(scene.detector.searched)

    for step in range(10):  # movement outside starts no search
        scene.show(FACE._replace(x=520, y=20 * step))
    assert len(scene.detector.searched) == searched


def test_movement_in_an_excluded_zone_starts_no_search() -> None:
    scene = Scene(settings(NOT_RIGHT))
    scene.play(3)
    searched = len(scene.detector.searched)
    for step in range(10):
        scene.show(FACE._replace(x=520, y=20 * step))
    assert len(scene.detector.searched) == searched
    assert scene.play(8, FACE)[-1] == [1]


def test_face_that_leaves_the_zone_has_left() -> None:
    scene = Scene(settings(LEFT))
    seen = [face for step in range(30) for face in scene.show(FACE._replace(x=150 + 12 * step))]
    assert [face.number for face in seen] == [1] * len(seen)
    assert 7 < len(seen) < 12
    assert all(face.box.centre[0] <= 320 for face in seen)
    scene.play(25, ON_THE_RIGHT)  # longer than forget_after_s
    assert scene.play(5, FACE)[-1] == [2]


def test_face_that_comes_back_into_the_zone_keeps_its_visit() -> None:
    scene = Scene(settings(LEFT))
    place = FACE._replace(x=240)
    assert scene.play(5, place)[-1] == [1]
    assert scene.play(5, place._replace(x=290)) == [[]] * 5
    assert scene.play(5, place)[-1] == [1]


@pytest.fixture(scope="module")
def photo() -> NDArray[np.uint8]:
    """A photo of a woman whose face is in the upper left."""
    data = pytest.importorskip("skimage.data", reason="scikit-image is not installed: pip install '.[demo]'")
    luma: NDArray[np.uint8] = cv2.cvtColor(data.astronaut(), cv2.COLOR_RGB2GRAY)
    return luma


@pytest.fixture(scope="module")
def plain() -> Pipeline:
    return load_pipeline(Settings())


@pytest.mark.parametrize("quarters", [0, 3])
def test_zones_count_in_a_single_picture(plain: Pipeline, photo: NDArray[np.uint8], quarters: int) -> None:
    turned = np.ascontiguousarray(np.rot90(photo, quarters))
    degrees, [face] = plain.find_turned(turned)
    assert degrees == 90 * quarters  # np.rot90 turns the other way
    x, y = (place / 512 for place in face.box.centre)
    around = Zone(points=((x - 0.15, y - 0.15), (x + 0.15, y - 0.15), (x + 0.15, y + 0.15), (x - 0.15, y + 0.15)))
    elsewhere = Zone(points=((x + 0.1, 0), (1, 0), (1, 1), (x + 0.1, 1)))
    for zone, expected in ((around, 1), (msgspec.structs.replace(around, kind="exclude"), 0), (elsewhere, 0)):
        pipeline = plain.another(FaceSettings(zones=(zone,)))
        found = pipeline.find_still(turned)
        assert len(found) == expected
        for one in found:
            assert one.box.iou(face.box) > 0.7
            assert np.abs(one.landmarks - face.landmarks).max() < 0.2 * face.box.width


AROUND_HIM = Zone(points=((0.3, 0.2), (0.6, 0.2), (0.6, 0.9), (0.3, 0.9)))


def test_zones_count_in_a_clip_and_are_drawn(plain: Pipeline, media: Path) -> None:
    source = open_camera(f"file:{media}/neutral-to-smile.mp4")
    frames = [source.read(5) for _ in range(2)]
    source.close()
    for zones, expected in (((), 1), ((AROUND_HIM,), 1), ((msgspec.structs.replace(AROUND_HIM, kind="exclude"),), 0)):
        pipeline = plain.another(FaceSettings(zones=zones, confirm_frames=1))
        assert len([pipeline.follow(one) for one in frames if one][-1]) == expected
    analyzer = EmotionAnalyzer.from_settings(Settings(faces=FaceSettings(zones=(AROUND_HIM,))))
    assert isinstance(frames[0], Frame)
    drawn = analyzer.annotate(frames[0], [])
    assert drawn[round(0.2 * (frames[0].height - 1)), frames[0].width // 2].tolist() == pytest.approx(
        [90, 220, 90], abs=40
    )


def test_outlines_of_zones_are_drawn_in_the_colour_of_their_kind() -> None:
    picture: Any = np.zeros((101, 201, 3), np.uint8)
    draw_zones(picture, [LEFT, NOT_RIGHT])
    assert picture[50, 0].tolist() == pytest.approx([90, 220, 90], abs=40)
    assert picture[50, 200].tolist() == pytest.approx([80, 80, 240], abs=40)
    assert not picture[50, 50].any()
