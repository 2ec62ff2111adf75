"""Landmark features: what they do not depend on, and what they do."""

import numpy as np
import pytest
from numpy.typing import NDArray

from edge.faces.distances import FEATURES, POINTS, landmark_features


@pytest.fixture
def faces() -> NDArray[np.float32]:
    return np.random.default_rng(0).uniform(20, 120, size=(4, 68, 2)).astype(np.float32)


def test_place_size_and_turn_do_not_matter(faces: NDArray[np.float32]) -> None:
    turn = np.array([[np.cos(0.4), np.sin(0.4)], [-np.sin(0.4), np.cos(0.4)]])
    moved = (2.5 * faces @ turn + np.array([300, -40])).astype(np.float32)

    np.testing.assert_allclose(landmark_features(moved), landmark_features(faces), atol=1e-4)


def test_a_mirrored_outline_has_the_same_distances(faces: NDArray[np.float32]) -> None:
    mirrored = faces * np.array([-1, 1], dtype=np.float32)

    np.testing.assert_allclose(landmark_features(mirrored), landmark_features(faces), atol=1e-4)


def test_value_is_a_distance_over_the_root_mean_square_of_all(faces: NDArray[np.float32]) -> None:
    chosen = faces[:, POINTS].astype(np.float64)
    pairs = [np.linalg.norm(chosen[:, i] - chosen[:, j], axis=1) for i in range(len(POINTS)) for j in range(i)]
    size = np.sqrt(np.mean(np.square(pairs), axis=0))
    features = landmark_features(faces)

    assert features.shape == (4, FEATURES) == (4, len(pairs))
    assert features.dtype == np.float32
    np.testing.assert_allclose(features[:, 0], np.linalg.norm(chosen[:, 0] - chosen[:, 1], axis=1) / size, rtol=1e-5)
    np.testing.assert_allclose(np.sort(features), np.sort(np.array(pairs).T / size[:, None]), rtol=1e-5)


def test_an_opened_mouth_shows(faces: NDArray[np.float32]) -> None:
    opened = faces.copy()
    opened[:, 54:60, 1] += 30

    assert (np.abs(landmark_features(opened) - landmark_features(faces)).max(axis=1) > 0.1).all()


def test_one_face_scores_alone_as_among_others(faces: NDArray[np.float32]) -> None:
    np.testing.assert_allclose(landmark_features(faces[2:3]), landmark_features(faces)[2:3], rtol=1e-5)


def test_points_on_one_spot_and_no_points_at_all_are_no_error() -> None:
    assert not landmark_features(np.full((1, 68, 2), 7, dtype=np.float32)).any()
    assert landmark_features(np.empty((0, 68, 2), dtype=np.float32)).shape == (0, FEATURES)


@pytest.mark.parametrize(
    "points", [np.zeros((68, 2), np.float32), np.zeros((1, 67, 2), np.float32), np.zeros((1, 68, 2), np.float64)]
)
def test_other_shapes_and_types_are_refused(points: NDArray[np.float32]) -> None:
    with pytest.raises(ValueError, match=r"float32 \[n, 68, 2\]"):
        landmark_features(points)
