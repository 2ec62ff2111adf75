"""A person keeps the number of the visit, in real clips: a hand before the face, a head turned away, two who cross."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edge.frames import Frame
from edge.pipeline import Pipeline, load_pipeline
from edge.settings import Settings
from tests.edge.test_pipeline import read

pytestmark = [pytest.mark.media, pytest.mark.slow("follows faces through composed clips")]
FPS = 12
Luma = NDArray[np.uint8]
FACE = (190, 70, 210, 250)
"""x, y, width, height of the man's head in neutral-to-smile.mp4"""


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return load_pipeline(Settings())


@pytest.fixture
def man(media: Path) -> list[Luma]:
    return read(media / "neutral-to-smile.mp4")


@pytest.fixture
def woman(media: Path) -> list[Luma]:
    return read(media / "sad-to-laughing.mp4")


def numbers(pipeline: Pipeline, frames: list[Luma]) -> list[dict[int, Any]]:
    """Number and box of each face, in each frame."""
    pipeline.forget()
    return [
        {face.track: face.box for face in pipeline.follow(Frame(luma, index / FPS, index))}
        for index, luma in enumerate(frames)
    ]


def test_hand_over_the_face_for_a_second_and_a_half(pipeline: Pipeline, man: list[Luma], woman: list[Luma]) -> None:
    hand = woman[60][240:, 290:490]
    seen = numbers(pipeline, man[:24] + [held_before(frame, hand) for frame in man[24:42]] + man[42:60])
    assert {number for faces in seen for number in faces} == {1}
    assert all(seen[-10:])


def test_head_turned_away_for_two_seconds(pipeline: Pipeline, man: list[Luma], woman: list[Luma]) -> None:
    hair = woman[20][120:340, 545:600]
    seen = numbers(pipeline, man[:24] + [held_before(frame, hair) for frame in man[24:48]] + man[48:66])
    assert {number for faces in seen for number in faces} == {1}
    assert seen[40] == {}
    assert all(seen[-10:])


@pytest.mark.parametrize("woman_in_front", [True, False])
def test_man_and_woman_who_cross(pipeline: Pipeline, man: list[Luma], woman: list[Luma], woman_in_front: bool) -> None:
    frames = []
    for step in range(72):
        canvas: Luma = np.full((360, 640), 120, np.uint8)
        share = min(max((step - 16) / 40, 0.0), 1.0)
        his = (man[step][60:320, 190:400], round(20 + 400 * share))
        hers = (cv2.resize(woman[300 + step][:, 250:610], (210, 210)), round(420 - 400 * share))
        for head, left in (his, hers) if woman_in_front else (hers, his):
            canvas[50 : 50 + head.shape[0], left : left + head.shape[1]] = head
        frames.append(canvas)
    seen = numbers(pipeline, frames)
    before, after = (
        {number: faces[number].x for faces in some for number in faces} for some in (seen[10:16], seen[60:])
    )
    assert len(before) == 2
    assert sorted(before, key=lambda number: before[number]) == sorted(after, key=lambda number: -after[number])


def held_before(frame: Luma, thing: Luma) -> Luma:
    x, y, width, height = FACE
    covered = frame.copy()
    covered[y : y + height, x : x + width] = cv2.resize(thing, (width, height))
    return covered
