"""What augmentation does to a picture, and what it must not do."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from train.data.augment import STRIP_PICTURES, Augmentation, _draw_affine, augment, mix, warp

STILL = Augmentation(
    shift=0.0, rotation_deg=0.0, scale=0.0, shear=0.0, brightness=0.0, contrast=0.0, erase_probability=0.0
)


@pytest.fixture
def faces() -> NDArray[np.uint8]:
    """Smooth pictures, unlike their mirror images."""
    y, x = np.mgrid[0:48, 0:48]
    waves = [110 + 90 * np.sin(x / (5 + k) + k) * np.cos(y / (7 + k)) for k in range(40)]
    return np.array(waves).astype(np.uint8)


def test_the_same_seed_gives_the_same_pictures(faces: NDArray[np.uint8]) -> None:
    first, again = (augment(faces, np.random.default_rng(5), Augmentation()) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, augment(faces, np.random.default_rng(6), Augmentation()))


def test_shape_and_type_stay_and_the_input_is_left_alone(faces: NDArray[np.uint8]) -> None:
    before = faces.copy()
    out = augment(faces, np.random.default_rng(0), Augmentation())
    assert out.dtype == np.uint8
    assert out.shape == faces.shape
    np.testing.assert_array_equal(faces, before)


def test_without_any_change_a_picture_is_itself_or_its_mirror_image(faces: NDArray[np.uint8]) -> None:
    out = augment(faces, np.random.default_rng(0), STILL)
    mirrored = [np.array_equal(ours, face[:, ::-1]) for ours, face in zip(out, faces, strict=True)]
    same = [np.array_equal(ours, face) for ours, face in zip(out, faces, strict=True)]
    assert all(np.logical_xor(mirrored, same))
    assert 8 < sum(mirrored) < 32, "about half of 40"


def test_a_changed_picture_still_looks_like_itself(faces: NDArray[np.uint8]) -> None:
    out = augment(faces, np.random.default_rng(1), Augmentation(erase_probability=0.0))
    flat = faces.reshape(len(faces), -1).astype(float)
    likeness = [
        max(np.corrcoef(ours.ravel(), face)[0, 1], np.corrcoef(ours[:, ::-1].ravel(), face)[0, 1])
        for ours, face in zip(out, flat, strict=True)
    ]
    assert np.median(likeness) > 0.6
    assert not any(np.array_equal(ours, face) for ours, face in zip(out, faces, strict=True))


def test_erasing_covers_a_share_of_the_picture_with_one_gray(faces: NDArray[np.uint8]) -> None:
    settings = Augmentation(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, erase_probability=1.0, erase_share=(0.1, 0.1))
    for ours, still in zip(augment(faces, np.random.default_rng(2), settings), faces, strict=True):
        share = min((ours != face).mean() for face in (still, still[:, ::-1]))
        assert 0.08 < share < 0.12


def test_pictures_that_are_moved_together_take_nothing_from_each_other() -> None:
    grays = (np.arange(STRIP_PICTURES + 20) % 256).astype(np.uint8)
    plain = np.broadcast_to(grays[:, None, None], (len(grays), 48, 48)).copy()
    far = Augmentation(shift=0.5, rotation_deg=90.0, scale=0.5, shear=0.5)
    np.testing.assert_array_equal(warp(plain, np.random.default_rng(3), far), plain)


def test_a_strip_of_pictures_is_moved_as_opencv_moves_each_alone(faces: NDArray[np.uint8]) -> None:
    far = Augmentation(shift=0.3, rotation_deg=60.0, scale=0.4, shear=0.4)
    moved = warp(faces, np.random.default_rng(4), far)
    matrices = np.dstack(_draw_affine(len(faces), 48, np.random.default_rng(4), far))
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    for ours, face, matrix in zip(moved, faces, matrices, strict=True):
        due = cv2.warpAffine(face, matrix, (48, 48), flags=flags, borderMode=cv2.BORDER_REPLICATE)
        assert np.abs(ours.astype(int) - due).max() <= 1


def test_what_is_drawn_turns_shears_scales_and_shifts_around_the_middle() -> None:
    rng = np.random.default_rng(1)
    centre = np.full(2, 23.5)
    turns, scales, shears = replace(STILL, rotation_deg=30.0), replace(STILL, scale=0.3), replace(STILL, shear=0.3)
    for drawn in (turns, scales, shears):
        linear, offset = _draw_affine(500, 48, rng, drawn)
        np.testing.assert_allclose(linear @ centre + offset, np.tile(centre, (500, 1)), atol=1e-9)
        turned = np.abs(np.arctan2(linear[:, 1, 0], linear[:, 1, 1]))  # of the second row, which mirroring leaves alone
        assert turned.max() == pytest.approx(np.deg2rad(30) if drawn is turns else 0, rel=0.05)
        area = np.abs(np.linalg.det(linear)) ** -0.5
        assert area.max() == pytest.approx(1.3 if drawn is scales else 1, rel=0.02)
        assert area.min() == pytest.approx(0.7 if drawn is scales else 1, rel=0.02)
    _, offset = _draw_affine(500, 48, rng, replace(STILL, shift=0.25))
    assert np.abs(offset[:, 1]).max() == pytest.approx(12, rel=0.02)


def test_mixed_pictures_are_the_sum_of_two_and_the_others_are_left_alone() -> None:
    rng = np.random.default_rng(5)
    images = rng.integers(0, 256, (STRIP_PICTURES + 40, 12, 12), dtype=np.uint8)
    mixed, partners, own = mix(images, rng, 0.5)
    alone = own == 1
    assert 0.4 < alone.mean() < 0.6
    np.testing.assert_array_equal(mixed[alone], images[alone])
    share = own[:, None, None]
    np.testing.assert_allclose(mixed, share * images + (1 - share) * images[partners], atol=0.51)
    assert sorted(partners) == list(range(len(images))), "each picture is laid over one other"


def test_no_share_mixes_nothing() -> None:
    images = np.arange(3 * 16, dtype=np.uint8).reshape(3, 4, 4)
    mixed, _, own = mix(images, np.random.default_rng(0), 0.0)
    np.testing.assert_array_equal(mixed, images)
    assert (own == 1).all()
