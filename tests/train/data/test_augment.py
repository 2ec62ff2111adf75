"""What augmentation does to a picture, and what it must not do."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from train.data.augment import STRIP_PICTURES, Augmentation, Warp, disturb, mix

STILL = Augmentation(
    shift=0.0, rotation_deg=0.0, scale=0.0, aspect=0.0, shear=0.0, brightness=0.0, contrast=0.0, erase_probability=0.0
)
FAR = replace(STILL, shift=0.3, rotation_deg=60.0, scale=0.4, shear=0.4)


@pytest.fixture
def faces() -> NDArray[np.uint8]:
    """Smooth pictures, unlike their mirror images."""
    y, x = np.mgrid[0:48, 0:48]
    waves = [110 + 90 * np.sin(x / (5 + k) + k) * np.cos(y / (7 + k)) for k in range(40)]
    return np.array(waves).astype(np.uint8)


def test_the_same_seed_gives_the_same_pictures(faces: NDArray[np.uint8]) -> None:
    def made(seed: int) -> NDArray[np.float32]:
        rng = np.random.default_rng(seed)
        return disturb(Warp.draw(len(faces), rng, Augmentation()).apply(faces), rng, Augmentation())

    np.testing.assert_array_equal(made(5), made(5))
    assert not np.array_equal(made(5), made(6))
    assert made(5).shape == faces.shape


def test_without_any_change_a_picture_is_itself(faces: NDArray[np.uint8]) -> None:
    rng = np.random.default_rng(0)
    moved = Warp.draw(len(faces), rng, STILL).apply(faces)
    np.testing.assert_array_equal(moved, faces)
    np.testing.assert_allclose(disturb(moved, rng, STILL), faces)


def test_a_changed_picture_still_looks_like_itself(faces: NDArray[np.uint8]) -> None:
    out = Warp.draw(len(faces), np.random.default_rng(1), Augmentation()).apply(faces)
    pairs = zip(out, faces, strict=True)
    likeness = [np.corrcoef(ours.ravel(), face.ravel())[0, 1] for ours, face in pairs]
    assert np.median(likeness) > 0.6
    assert not any(np.array_equal(ours, face) for ours, face in zip(out, faces, strict=True))


def test_erasing_covers_one_rectangle_with_one_gray(faces: NDArray[np.uint8]) -> None:
    settings = replace(STILL, erase_probability=1.0, erase_px=(10, 10))
    before = faces.copy()
    out = disturb(faces, np.random.default_rng(2), settings)
    np.testing.assert_array_equal(faces, before)
    for ours, face in zip(out, faces, strict=True):
        changed = np.argwhere(ours != face)
        height, width = np.ptp(changed, axis=0) + 1
        assert max(height, width) <= 10
        assert len(changed) > 80, "a pixel may have that gray already"


def test_bright_pictures_keep_their_differences(faces: NDArray[np.uint8]) -> None:
    bright = disturb(faces, np.random.default_rng(3), replace(STILL, brightness=0.9, contrast=0.3))
    assert bright.max() > 300
    for ours, face in zip(bright, faces, strict=True):
        assert np.corrcoef(ours.ravel(), face.ravel())[0, 1] == pytest.approx(1, abs=1e-3)


def test_pictures_moved_together_take_nothing_from_each_other() -> None:
    grays = (np.arange(STRIP_PICTURES + 20) % 256).astype(np.uint8)
    plain = np.broadcast_to(grays[:, None, None], (len(grays), 48, 48)).copy()
    np.testing.assert_array_equal(Warp.draw(len(plain), np.random.default_rng(3), FAR).apply(plain), plain)


def test_a_strip_of_pictures_is_moved_as_opencv_moves_each_alone(faces: NDArray[np.uint8]) -> None:
    warp = Warp.draw(len(faces), np.random.default_rng(4), FAR)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    for ours, face, matrix in zip(warp.apply(faces), faces, np.dstack([warp.linear, warp.offset]), strict=True):
        due = cv2.warpAffine(face, matrix, (48, 48), flags=flags, borderMode=cv2.BORDER_REPLICATE)
        assert np.abs(ours.astype(int) - due).max() <= 1


def test_some_of_the_pictures_are_moved_as_among_all(faces: NDArray[np.uint8]) -> None:
    warp, some = Warp.draw(len(faces), np.random.default_rng(4), FAR), np.array([7, 3, 30])
    alone, among = warp.of(some).apply(faces[some]).astype(int), warp.apply(faces)[some]
    assert np.abs(alone - among).max() <= 1, "OpenCV 5 rounds a pixel by its place in the strip"


def test_points_go_where_their_pixels_go() -> None:
    """A white dot in each picture, and a point on it."""
    rng = np.random.default_rng(6)
    points = rng.integers(18, 30, (30, 1, 2)).astype(np.float32)
    images = np.zeros((30, 48, 48), np.uint8)
    for image, (x, y) in zip(images, points[:, 0].astype(int), strict=True):
        image[y - 1 : y + 2, x - 1 : x + 2] = 255
    warp = Warp.draw(30, rng, replace(STILL, shift=0.1, rotation_deg=40.0, scale=0.2, shear=0.2, aspect=0.1))
    for image, (x, y) in zip(warp.apply(images), warp.move(points)[:, 0], strict=True):
        rows, columns = np.indices(image.shape)
        assert (columns * image).sum() / image.sum() == pytest.approx(x, abs=0.3)
        assert (rows * image).sum() / image.sum() == pytest.approx(y, abs=0.3)


def test_warp_turns_shears_scales_and_shifts_around_the_middle() -> None:
    rng = np.random.default_rng(1)
    centre = np.full(2, 23.5)
    turns, scales, shears = replace(STILL, rotation_deg=30.0), replace(STILL, scale=0.3), replace(STILL, shear=0.3)
    for drawn in (turns, scales, shears):
        warp = Warp.draw(500, rng, drawn)
        np.testing.assert_allclose(warp.linear @ centre + warp.offset, np.tile(centre, (500, 1)), atol=1e-4)
        turned = np.abs(np.arctan2(warp.linear[:, 1, 0], warp.linear[:, 1, 1]))
        assert turned.max() == pytest.approx(np.deg2rad(30) if drawn is turns else 0, rel=0.05, abs=1e-6)
        area = np.abs(np.linalg.det(warp.linear)) ** -0.5
        assert area.max() == pytest.approx(1.3 if drawn is scales else 1, rel=0.02)
        assert area.min() == pytest.approx(0.7 if drawn is scales else 1, rel=0.02)
    offset = Warp.draw(500, rng, replace(STILL, shift=0.25)).offset
    assert np.abs(offset).max() == pytest.approx(12, rel=0.02)


def test_mixed_batches_keep_the_larger_part_of_each_picture() -> None:
    rng = np.random.default_rng(5)
    images = rng.uniform(0, 255, (40, 12, 12)).astype(np.float32)
    targets = np.eye(7, dtype=np.float32)[np.arange(40) % 7]
    mixed, between, weights = mix(images, targets, np.ones(40, np.float32), rng, 1.0)
    assert (between.argmax(axis=1) == targets.argmax(axis=1)).all()
    np.testing.assert_allclose(between.sum(axis=1), 1, rtol=1e-5)
    own = between.max(axis=1).min()
    assert 0.5 <= own < 1
    left = (mixed - own * images) / (1 - own)
    assert all(np.abs(images - rest).max(axis=(1, 2)).min() < 0.1 for rest in left), "what is left is another picture"
    np.testing.assert_allclose(weights, 1, rtol=1e-5)


def test_no_share_mixes_nothing() -> None:
    images = np.ones((3, 4, 4), np.float32)
    assert mix(images, np.eye(3, dtype=np.float32), np.ones(3, np.float32), np.random.default_rng(0), 0.0)[0] is images
