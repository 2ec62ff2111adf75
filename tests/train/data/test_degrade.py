"""What degrading does to a chip and its target: seen, drawn from the seed, bounded."""

import numpy as np
import pytest
from numpy.typing import NDArray

from train.data.degrade import KINDS, degrade, make_no_face


@pytest.fixture
def faces() -> NDArray[np.uint8]:
    """Gray gradients with eyes and a mouth, 24 of them."""
    y, x = np.mgrid[0:48, 0:48]
    out = np.empty((24, 48, 48))
    for k in range(24):
        out[k] = 90 + k + 2 * y + 20 * np.sin(x / 3)
        out[k, 17:20, 12:19] = out[k, 17:20, 29:36] = out[k, 36:38, 18:30] = 20
    return out.clip(0, 255).astype(np.uint8)


@pytest.fixture
def points() -> NDArray[np.float32]:
    """Landmarks of such a face: a jaw, brows, a nose, eyes, a mouth."""
    around = np.linspace(np.pi, 0, 17)
    jaw = np.stack([24 + 20 * np.cos(around), 22 + 25 * np.sin(around)], axis=1)
    brows = [(10 + 2.5 * i, 12) for i in range(5)] + [(27 + 2.5 * i, 12) for i in range(5)]
    nose = [(24, 18 + 3.5 * i) for i in range(4)] + [(20 + 2 * i, 31) for i in range(5)]
    turn = np.arange(6) * np.pi / 3
    eyes = [np.stack([c + 3 * np.cos(turn), 18 + 1.5 * np.sin(turn)], axis=1) for c in (15, 33)]
    lips = np.arange(20) * np.pi / 10
    mouth = np.stack([24 + 7 * np.cos(lips), 37 + 3 * np.sin(lips)], axis=1)
    face = np.concatenate([jaw, brows, nose, *eyes, mouth]).astype(np.float32)
    assert face.shape == (68, 2)
    return np.repeat(face[None], 24, axis=0)


def test_degrade_repeats_with_its_seed(faces: NDArray[np.uint8], points: NDArray[np.float32]) -> None:
    before = faces.copy()
    first, again, other = (degrade(faces, points, np.random.default_rng(seed), 1.0) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    assert not np.array_equal(first[0], other[0])
    np.testing.assert_array_equal(faces, before)
    assert first[0].dtype == np.uint8


def test_degrade_changes_the_share_it_is_given(faces: NDArray[np.uint8], points: NDArray[np.float32]) -> None:
    same, hidden = degrade(faces, points, np.random.default_rng(0), 0.0)
    np.testing.assert_array_equal(same, faces)
    assert not hidden.any()
    many, where = np.tile(faces, (20, 1, 1)), np.tile(points, (20, 1, 1))
    changed = (degrade(many, where, np.random.default_rng(0), 0.4)[0] != many).any(axis=(1, 2)).mean()
    assert 0.32 < changed < 0.48


@pytest.mark.parametrize("kind", list(KINDS))
def test_each_kind_is_seen_and_hides_no_more_than_all(
    kind: str, faces: NDArray[np.uint8], points: NDArray[np.float32]
) -> None:
    rng = np.random.default_rng(3)
    for face, landmarks in zip(faces, points, strict=True):
        before = face.astype(np.float32)
        out, hidden = KINDS[kind][1](before, landmarks, rng)
        assert out.shape == (48, 48)
        assert np.isfinite(out).all()
        assert np.abs(out - face).max() > 1
        np.testing.assert_array_equal(before, face)
        assert 0 <= hidden <= 0.8


def test_mask_covers_the_mouth_and_leaves_the_brows(faces: NDArray[np.uint8], points: NDArray[np.float32]) -> None:
    rng = np.random.default_rng(0)
    for face, landmarks in zip(faces, points, strict=True):
        masked = KINDS["mask"][1](face.astype(np.float32), landmarks, rng)[0]
        assert np.abs(masked[35:40, 18:30] - face[35:40, 18:30]).mean() > 5
        np.testing.assert_allclose(masked[8:12, 15:33], face[8:12, 15:33], atol=1)


def test_landmarks_far_outside_a_picture_break_nothing(faces: NDArray[np.uint8]) -> None:
    """Those of a picture that was warped, or in which no face was found."""
    rng = np.random.default_rng(4)
    for far in (-300.0, 0.0, 400.0):
        points = np.full((24, 68, 2), far, np.float32)
        out, hidden = degrade(faces, points, rng, 1.0)
        assert out.shape == faces.shape
        assert (hidden <= 1).all()


def test_no_face_chips_are_unlike_the_faces_and_each_other(faces: NDArray[np.uint8]) -> None:
    chips = make_no_face(faces, np.random.default_rng(5))
    np.testing.assert_array_equal(chips, make_no_face(faces, np.random.default_rng(5)))
    assert chips.shape == faces.shape
    assert chips.dtype == np.uint8
    assert len({chip.tobytes() for chip in chips}) > 20
    assert np.abs(chips.astype(int) - faces).mean(axis=(1, 2)).min() > 5
    assert make_no_face(faces[:0], np.random.default_rng(5)).shape == (0, 48, 48)
