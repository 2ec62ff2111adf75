"""Photos as a camera makes them in daily life: what is found, and that nothing else is."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from benchmarks.degraded import CHANGES, Scene
from benchmarks.wild import at_camera, hit, near, ours_in, photos
from edge.cameras import open_camera
from edge.frames import Frame
from edge.pipeline import Pipeline, load_pipeline
from edge.settings import Settings

pytestmark = [pytest.mark.media, pytest.mark.slow("searches photos in many changed forms")]


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return load_pipeline(Settings())


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    """The six of dlib's example photos with 32 faces that are searched fastest."""
    media = Path(__file__).resolve().parents[4] / "shared/media"
    if not (media / "dlib-faces").is_dir():
        pytest.skip(f"no photos here: {media / 'dlib-faces'} is absent")
    return list(photos(media))[:6]


@pytest.mark.parametrize(
    ("change", "least"),
    [
        ("clean", 32),
        ("blurred by 3 %", 29),
        ("blurred by 6 %", 29),
        ("dark, with noise", 24),
        ("masked", 26),
        ("turned 45 degrees", 28),
        ("turned 90 degrees", 31),
        ("turned 180 degrees", 31),
        ("small, 32 px", 31),
    ],
)
def test_changed_photos_have_their_faces_and_no_others(
    pipeline: Pipeline, scenes: list[Scene], change: str, least: int
) -> None:
    found, false = 0, []
    for scene in map(CHANGES[change], scenes):
        faces = ours_in(scene.luma, pipeline)
        found += sum(bool(hit(box, faces)) for box in scene.boxes)
        false += [box for box, _ in faces if not near(scene, box)]
    assert found >= least, f"{found} of {sum(len(scene.boxes) for scene in scenes)}"
    assert not false


@pytest.mark.parametrize("number", [2, 3], ids=["brooches", "necklace"])
def test_jewellery_is_no_pair_of_eyes_before_a_camera(pipeline: Pipeline, scenes: list[Scene], number: int) -> None:
    scene = at_camera(CHANGES["blurred by 3 %"](scenes[number]))
    pipeline.forget()
    wall = np.full_like(scene.luma, 90)
    for index in range(10):
        pipeline.follow(Frame(wall, index / 5, index))
    false = []
    for index in range(10, 70):
        seen = pipeline.follow(Frame(scene.luma, index / 5, index))
        false += [face.box for face in seen if not near(scene, face.box)]
    assert not false


def test_dogs_are_no_faces(pipeline: Pipeline, media: Path) -> None:
    dogs = media / "dlib-faces/dogs.jpg"
    if not dogs.is_file():
        pytest.skip(f"{dogs} is absent")
    luma: Any = cv2.imread(str(dogs), cv2.IMREAD_GRAYSCALE)
    assert pipeline.find_still(luma) == []


@pytest.mark.parametrize(("clip", "from_frame"), [("no-face.mp4", 0), ("face-then-none.mov", 90)])
def test_clips_without_faces_raise_no_alarm(pipeline: Pipeline, media: Path, clip: str, from_frame: int) -> None:
    source = open_camera(f"file:{media / clip}")
    pipeline.forget()
    seen = []
    while (frame := source.read(5)) is not None:
        if frame.index >= from_frame:
            seen += pipeline.follow(frame)
    source.close()
    assert seen == []


@pytest.mark.parametrize("change", ["turned 90 degrees", "turned 180 degrees", "turned 45 degrees", "blurred by 6 %"])
def test_camera_finds_and_follows_a_changed_face(pipeline: Pipeline, media: Path, change: str) -> None:
    source = open_camera(f"file:{media / 'neutral-to-smile.mp4'}")
    read = [source.read(5) for _ in range(36)]
    source.close()
    lumas = [frame.luma for frame in read if frame is not None]
    box = pipeline.find_still(lumas[0])[0].box
    pipeline.forget()
    wall = np.full_like(lumas[0], 90)
    seen = []
    for index, luma in enumerate([wall] * 5 + lumas * 2):
        scene = CHANGES[change](Scene(luma, np.array([box], np.float32), np.zeros((0, 68, 2), np.float32)))
        seen.append(pipeline.follow(Frame(scene.luma, index / 12, index)))
    assert {face.track for faces in seen for face in faces} == {1}
    last = seen[-36:]
    assert sum(len(faces) == 1 for faces in last) >= 30
    assert all(hit(scene.boxes[0], [(face.box, "found")]) for faces in last for face in faces)
