"""Scores become as sure as they are right, and lean to no emotion."""

import numpy as np
import pytest
from numpy.typing import NDArray

from train.fit.calibration import calibrate
from train.metrics import softmax, summarise


def drawn(seed: int, n: int = 4000) -> tuple[NDArray[np.float32], NDArray[np.int8]]:
    """Logits [n, 5], and labels that come up as often as their scores say."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, 5)).astype(np.float32) * 2
    labels = np.array([rng.choice(5, p=p / p.sum()) for p in softmax(logits).astype(np.float64)], dtype=np.int8)
    return logits, labels


@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
def test_how_much_too_sure_scores_are_is_found(factor: float) -> None:
    logits, labels = drawn(0)
    found = calibrate(logits * np.float32(factor), labels, 0.0)
    assert found.temperature == pytest.approx(factor, rel=0.1)
    assert np.abs(found.bias).max() < 0.2
    calibrated = softmax(logits * np.float32(factor / found.temperature) + np.array(found.bias, dtype=np.float32))
    assert summarise(calibrated, labels).expected_calibration_error < 0.03


def test_a_leaning_to_one_emotion_is_taken_back() -> None:
    logits, labels = drawn(1)
    leaning = logits + np.array([0, 0, 0, 0, 1], dtype=np.float32)
    found = calibrate(leaning, labels, 0.0)
    assert np.array(found.bias) == pytest.approx([0.2, 0.2, 0.2, 0.2, -0.8], abs=0.15)


def test_a_network_that_was_balanced_in_training_stays_so() -> None:
    """With every emotion counting as much, the rare one is called as often as it would be were it not rare."""
    logits, labels = drawn(2, 8000)
    keep = (labels != 3) | (np.arange(len(labels)) % 4 == 0)
    found = calibrate(logits[keep], labels[keep], 1.0)
    assert np.abs(found.bias).max() < 0.3
    natural = calibrate(logits[keep], labels[keep], 0.0)
    assert natural.bias[3] < -0.7
