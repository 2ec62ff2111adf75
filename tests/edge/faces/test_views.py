"""Turned and scaled views: what lies where in them, and back."""

import numpy as np
import pytest
from numpy.typing import NDArray

from edge.faces.types import Box
from edge.faces.views import View, face_view, turned_view


def dot(at: tuple[int, int], shape: tuple[int, int] = (300, 400)) -> NDArray[np.uint8]:
    """A bright spot of 9x9 pixels in the dark."""
    luma = np.zeros(shape, np.uint8)
    luma[at[1] - 4 : at[1] + 5, at[0] - 4 : at[0] + 5] = 255
    return luma


def spot(view: View) -> NDArray[np.float32]:
    """Where the spot lies in a view, as a point of the picture."""
    rows, columns = np.nonzero(view.luma > 140)
    return np.asarray(view.points_in_picture(np.array([[columns.mean(), rows.mean()]], np.float32))[0])


@pytest.mark.parametrize("degrees", [0, 30, 45, 90, 135, 180, 270, 315])
def test_turned_view_leads_back(degrees: int) -> None:
    view = turned_view(dot((60, 250)), degrees)
    assert spot(view) == pytest.approx((60, 250), abs=0.3)
    box = view.box_in_view(Box(40, 230, 41, 41))
    assert view.box_in_picture(box) == pytest.approx(Box(40, 230, 41, 41), abs=1)


@pytest.mark.parametrize(("degrees", "place"), [(90, (49, 60)), (180, (339, 49)), (270, (250, 339))])
def test_view_turns_clockwise(degrees: int, place: tuple[int, int]) -> None:
    rows, columns = np.nonzero(turned_view(dot((60, 250)), degrees).luma > 128)
    assert (columns.mean(), rows.mean()) == place


@pytest.mark.parametrize("degrees", [0, 45, 90, 200])
@pytest.mark.parametrize("width", [40, 90, 160, 250])
@pytest.mark.parametrize("at", [(200, 150), (30, 40), (385, 280)])
def test_face_view_shows_its_face_upright_and_leads_back(degrees: int, width: int, at: tuple[int, int]) -> None:
    box = Box(at[0] - width // 2, at[1] - width // 2, width, width)
    view = face_view(dot(at), box, turned_deg=degrees, margin=0.4, face_px=90)
    assert view.luma.shape == (162, 162)
    assert spot(view) == pytest.approx(at, abs=0.04 * width)
    assert view.box_in_view(box) == pytest.approx(Box(36, 36, 90, 90), abs=1.5)


def test_face_view_of_a_box_outside_the_picture_is_some_picture() -> None:
    for box in (Box(-500, -500, 80, 80), Box(900, 900, 80, 80), Box(0, 0, 1, 1)):
        assert face_view(dot((200, 150)), box, turned_deg=10, margin=0.4, face_px=90).luma.shape == (162, 162)
