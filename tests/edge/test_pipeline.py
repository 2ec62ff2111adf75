"""The pipeline with the shipped models on real clips: who is in view, from frame to frame."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edge.cameras import open_camera
from edge.frames import Frame
from edge.pipeline import Pipeline, load_pipeline
from edge.settings import FaceSettings, Settings


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return load_pipeline(Settings(faces=FaceSettings(small_faces_every_s=1.0)))


@pytest.fixture
def smiling(media: Path) -> list[NDArray[Any]]:
    """72 frames of one man."""
    return read(media / "neutral-to-smile.mp4")


def read(clip: Path) -> list[NDArray[Any]]:
    source = open_camera(f"file:{clip}")
    frames = []
    while (frame := source.read(5)) is not None:
        frames.append(frame.luma)
    source.close()
    return frames


def visits(pipeline: Pipeline, frames: list[NDArray[Any]], fps: float = 30.0) -> list[list[int]]:
    pipeline.forget()
    return [
        [face.track for face in pipeline.follow(Frame(luma, index / fps, index))] for index, luma in enumerate(frames)
    ]


def test_one_person_is_one_visit_in_nearly_every_frame(pipeline: Pipeline, media: Path) -> None:
    seen = visits(pipeline, read(media / "sad-to-laughing.mp4"), fps=24)
    assert {tuple(frame) for frame in seen} == {(), (1,)}
    assert sum(map(bool, seen)) >= 0.98 * len(seen)


def test_face_hidden_by_something_held_before_it_changes_nothing(
    pipeline: Pipeline, smiling: list[NDArray[Any]]
) -> None:
    covered = [frame.copy() for frame in (smiling[30:] + smiling[:13])]
    for frame in covered:
        cv2.rectangle(frame, (170, 40), (470, 340), 128, -1)
    seen = visits(pipeline, smiling[:30] + covered + smiling[30:])
    assert len(covered) == 55  # 1.8 s
    assert seen[30 : 30 + 55] == [[]] * 55
    assert seen[-30:] == [[1]] * 30


def test_face_that_jumps_elsewhere_is_not_carried_along_the_wall(
    pipeline: Pipeline, smiling: list[NDArray[Any]]
) -> None:
    flipped = [np.ascontiguousarray(np.roll(frame, 320, axis=1)) for frame in smiling[20:50]]
    seen = visits(pipeline, smiling[:20] + flipped)
    assert seen[20] == []
    assert len(seen[-1]) == 1


def test_a_small_face_is_found(pipeline: Pipeline, smiling: list[NDArray[Any]]) -> None:
    wide = []
    for frame in smiling:
        canvas: NDArray[np.uint8] = np.full((480, 640), 150, np.uint8)
        canvas[200:306, 300:488] = cv2.resize(frame, (188, 106), interpolation=cv2.INTER_AREA)
        wide.append(canvas)
    seen = visits(pipeline, wide)
    assert seen[-1] == [1]
