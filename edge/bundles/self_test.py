"""Tests whether a bundle works on this machine: loads it and scores a built-in picture."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.emotions import EMOTIONS
from edge.errors import BundleError, ModelLibraryError
from edge.inference import Classifier, load_classifier, load_network, open_bundle, shipped_bundle
from edge.inference.manifest import ClassifierKind
from edge.inference.networks import SIDE_PX
from edge.inference.signature import TrustedKeys

log = logging.getLogger(__name__)


def load_tested(folder: Path | None, kind: ClassifierKind, keys: TrustedKeys | None) -> Classifier:
    """Load a bundle's classifier and run its self-test.

    If only a library for the classifier is missing, a network of the same bundle is used instead, with a warning.

    Raises `BundleError`: the bundle is refused, cannot run here, or gives numbers that are no scores.

    ``folder``: None is the bundle that ships.
    ``kind``, ``keys``: as for `edge.inference.load_classifier`.
    """
    classifier: Classifier
    try:
        classifier = load_classifier(folder, kind, keys=keys)
    except ModelLibraryError as error:
        classifier = load_network(open_bundle(folder or shipped_bundle(), keys))
        log.warning("%s; using the network of %s instead", error, classifier.name)
    self_test(classifier, folder)
    return classifier


def self_test(classifier: Classifier, folder: Path | None) -> NDArray[np.float32]:
    """Score the built-in picture and return the scores, float32 [5]; ``folder`` is for the message.

    Raises `BundleError`: the result is not scores: wrong shape, not finite, outside 0..1, or not summing to 1.
    """
    where = folder or classifier.name
    try:
        scores = np.asarray(classifier.scores(picture()[np.newaxis], landmarks()[np.newaxis]))
    except (BundleError, ValueError, RuntimeError) as error:
        raise BundleError(f"{where}: the self-test failed: {' '.join(str(error).split())[:200]}") from None
    if scores.shape != (1, len(EMOTIONS)):
        raise BundleError(f"{where}: the self-test failed: {[*scores.shape]} scores for one face, expected [1, 5]")
    if not (np.isfinite(scores).all() and (scores >= 0).all() and abs(float(scores.sum()) - 1) < 0.01):
        raise BundleError(f"{where}: the self-test failed: {scores[0].tolist()} are no scores that sum to 1")
    return np.asarray(scores[0], dtype=np.float32)


def picture() -> NDArray[np.uint8]:
    """Draw a face chip, uint8 [48, 48]: an oval with brows, eyes, nose and a smile, lit from the left."""
    import cv2

    chip = np.full((SIDE_PX, SIDE_PX), 70, np.uint8)
    cv2.ellipse(chip, (24, 24), (19, 25), 0, 0, 360, (170,), -1)
    for x in (15, 33):
        cv2.ellipse(chip, (x, 19), (4, 2), 0, 0, 360, (50,), -1)
        cv2.ellipse(chip, (x, 15), (5, 3), 0, 200, 340, (80,), 1)
    cv2.line(chip, (24, 20), (22, 29), (130,), 1)
    cv2.ellipse(chip, (24, 34), (9, 6), 0, 10, 170, (70,), 2)
    light = np.linspace(25, -25, SIDE_PX, dtype=np.float32)[np.newaxis]
    return np.asarray(np.clip(cv2.GaussianBlur(chip, (0, 0), 0.8) + light, 0, 255), dtype=np.uint8)


def landmarks() -> NDArray[np.float32]:
    """Where the 68 points of the drawn face are, float32 [68, 2], pixels of the chip; iBUG's order."""

    def arc(n: int, middle: tuple[float, float], axes: tuple[float, float], begin: float, end: float) -> NDArray[Any]:
        angles = np.radians(np.linspace(begin, end, n))
        return np.stack([middle[0] + axes[0] * np.cos(angles), middle[1] + axes[1] * np.sin(angles)], axis=1)

    brows = [arc(5, (x, 15), (5, 3), 200, 340) for x in (15, 33)]
    nose = [np.linspace((24, 20), (23, 28), 4), np.linspace((20, 30), (28, 30), 5)]
    eyes = [arc(7, (x, 19), (4, 2), 180, 540)[:6] for x in (15, 33)]
    mouth = [arc(13, (24, 36), (9, 5), 180, 540)[:12], arc(9, (24, 36), (7, 2), 180, 540)[:8]]
    jaw = arc(17, (24, 24), (19, 25), 170, 10)
    return np.asarray(np.concatenate([jaw, *brows, *nose, *eyes, *mouth]), dtype=np.float32)
