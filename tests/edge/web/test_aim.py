"""The aim helper on made pictures and on the face of the demo clip."""

from collections.abc import Iterator

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edge.cameras.demo import DemoClip
from edge.faces.types import Box, TrackedFace
from edge.frames import Frame
from edge.settings import Settings
from edge.web.aim import Aim
from edge.web.view import Scene

pytest.importorskip("skimage", reason="the demo extra is not installed: pip install '.[demo]'")


@pytest.fixture(scope="module")
def picture() -> NDArray[np.uint8]:
    """A frame of the demo clip with its face in the middle."""
    clip = DemoClip()
    frames = [clip.read(1.0) for _ in range(90)]
    assert frames[-1] is not None
    return frames[-1].luma


@pytest.fixture(scope="module", autouse=True)
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the prepared detector for all tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STATE_DIRECTORY", str(tmp_path_factory.mktemp("state")))
        yield


def verdicts(luma: NDArray[np.uint8], faces: list[TrackedFace] | None = None, *, rotate: int = 0) -> dict[str, str]:
    """Return what is wrong, and the text."""
    settings = Settings(device="d", camera_rotate=rotate)  # type: ignore[arg-type]  # one of four
    scene = Scene(1, Frame(np.ascontiguousarray(luma), 0.0, 0), faces or [], [])
    return {point.check: point.text for point in Aim(settings).advise(scene).points if not point.is_fine}


def a_face(box: Box, *, tilt: float = 0.0, aside: float = 0.0) -> TrackedFace:
    """A face with eyes, nose and jaw; tilted by so many degrees, the nose moved by so much of its width."""
    points = np.zeros((68, 2), np.float32)
    points[36:42], points[42:48], points[30] = (-0.2, -0.1), (0.2, -0.1), (aside, 0.1)
    points[0], points[16] = (-0.5, 0.0), (0.5, 0.0)
    turn = np.deg2rad(tilt)
    points = points @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    centre = (box.x + box.width / 2, box.y + box.height / 2)
    landmarks = (points * box.width + centre).astype(np.float32)
    return TrackedFace(1, box, landmarks, np.zeros((48, 48), np.uint8), np.zeros(5, np.float32))


def test_aim_has_nothing_against_a_good_face(picture: NDArray[np.uint8]) -> None:
    assert verdicts(picture) == {}
    assert verdicts(picture, [a_face(Box(200, 150, 150, 150))]) == {}


@pytest.mark.parametrize(("quarters", "mounted", "rotate"), [(1, 0, 90), (2, 0, 180), (3, 0, 270), (1, 270, 0)])
def test_aim_says_how_a_turned_picture_must_be_turned(
    picture: NDArray[np.uint8], quarters: int, mounted: int, rotate: int
) -> None:
    """`np.rot90` turns counterclockwise, `camera_rotate` clockwise: the one undoes the other."""
    wrong = verdicts(np.rot90(picture, quarters), rotate=mounted)
    assert wrong == {"upright": f"The picture is turned. Set camera_rotate = {rotate} and restart."}


def test_aim_finds_a_face_that_is_too_far(picture: NDArray[np.uint8]) -> None:
    small = np.full_like(picture, 180)
    small[120:288, 200:424] = cv2.resize(picture, (224, 168), interpolation=cv2.INTER_AREA)
    assert verdicts(small)["distance"].startswith("Too far: the face is ")


def test_aim_says_what_is_too_near_tilted_aside_or_over_the_edge() -> None:
    luma = np.full((480, 640), 120, np.uint8)
    assert verdicts(luma, [a_face(Box(100, 20, 430, 430))])["distance"].startswith("Too near")
    assert "tilted clockwise by 30°" in verdicts(luma, [a_face(Box(200, 150, 150, 150), tilt=30)])["upright"]
    assert "tilted counterclockwise" in verdicts(luma, [a_face(Box(200, 150, 150, 150), tilt=-30)])["upright"]
    assert "turned aside" in verdicts(luma, [a_face(Box(200, 150, 150, 150), aside=0.3)])["upright"]
    over = verdicts(luma, [a_face(Box(-20, 400, 150, 150))])["place"]
    assert over == "The face leaves the picture at the left and bottom. Move the camera that way."


def test_aim_says_too_dark_and_too_bright() -> None:
    assert verdicts(np.full((480, 640), 20, np.uint8))["light"].startswith("Too dark")
    bright = np.full((480, 640), 120, np.uint8)
    bright[:, 300:] = 255
    assert verdicts(bright)["light"].startswith("Too bright: 53% of the picture")


def test_aim_judges_a_large_picture_in_its_own_pixels(picture: NDArray[np.uint8]) -> None:
    settings = Settings(device="d")
    large = np.asarray(cv2.resize(picture, (1920, 1440)), np.uint8)
    points = Aim(settings).advise(Scene(1, Frame(large, 0.0, 0), [], [])).points
    width = next(int(point.text.split()[3]) for point in points if point.check == "distance")
    assert 450 < width < 650


def test_aim_says_that_there_is_no_face() -> None:
    wrong = verdicts(np.full((480, 640), 120, np.uint8))
    assert list(wrong) == ["face"]
