"""Whether a detection is a face: weak ones must be seen again at other scales, and have steady landmarks."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from edge.faces.detector import NEW_FACE_SCORE, FaceDetector
from edge.faces.landmarks import LandmarkPredictor
from edge.faces.quality import sharpened, smoothed
from edge.faces.types import Detection, Treatment
from edge.faces.views import View, face_view

LOOKS = ((82.0, False), (100.0, False), (90.0, True), (110.0, True))
"""Width of the face in pixels and whether it is mirrored, for each further look. A false alarm depends on how the
detector's cells of 8 px happen to lie; a face does not."""
AGREED_SCORE = {Treatment.NONE: -0.25, Treatment.SMOOTHED: -0.25, Treatment.SHARPENED: -0.5}
"""Least mean score of the further looks. Measured: docs/faces.md."""
COVERED_SHARE, COVERED_AGREED_SCORE = 4.0, -1.6
"""For a covered face: the score of `edge.faces.covered` plus this many times that of its detector and the mean of
dlib's must reach the second. Measured: docs/faces.md."""
SMALL_COVERED_PX, SEEN_AT_ALL_SCORE = 48, -0.95
"""A covered face of fewer pixels must be seen by dlib's detector in a further look, however weakly: two brooches on a
white blouse are a pair of eyes above a mask. A mean of -1 says that it was seen in none."""
LEANING_SCORE = -0.5
"""Least score of a face that leans: two beads of a necklace were one with -0.53."""
COVERED_STEADY_SHIFT = 0.09
"""Landmarks of a covered face, which see half of it, may move further."""
MARGIN = 0.35
"""Shown around the box on each side, in widths of it."""
STEADY_FACE_PX = 100.0
"""Width at which a face's landmarks are checked."""


def is_face(
    luma: NDArray[np.uint8], detection: Detection, detector: FaceDetector, predictor: LandmarkPredictor
) -> bool:
    """Return whether a detection in ``luma``, uint8 [height, width], is a face.

    A detection with a score of `NEW_FACE_SCORE` is one, if its picture was neither turned nor sharpened for it. Any
    other takes about 8 ms on an EPYC.
    """
    if (
        detection.score >= NEW_FACE_SCORE
        and detection.treatment in (Treatment.NONE, Treatment.SMOOTHED)
        and not detection.turned_deg
    ):
        return True
    if detection.leaning_deg and detection.score < LEANING_SCORE:
        return False
    if detection.treatment is Treatment.SMOOTHED:
        luma = smoothed(luma)
    clear = _view(luma, detection, STEADY_FACE_PX)
    box = clear.box_in_view(detection.box)
    if detection.treatment is not Treatment.COVERED:
        agreed = _further_looks(luma, detection, detector) >= AGREED_SCORE[detection.treatment]
        return agreed and predictor.are_steady(clear.luma, box)
    seen = detector.covered_score(clear.luma, predictor.points(clear.luma, box)) + COVERED_SHARE * detection.score
    if seen < COVERED_AGREED_SCORE:  # dlib's detector seldom sees enough of a covered face to add anything
        return False
    looks = _further_looks(luma, detection, detector)
    if detection.box.width < SMALL_COVERED_PX and looks < SEEN_AT_ALL_SCORE:
        return False
    seen += COVERED_SHARE * looks
    return seen >= COVERED_AGREED_SCORE and predictor.are_steady(clear.luma, box, within=COVERED_STEADY_SHIFT)


def _further_looks(luma: NDArray[np.uint8], detection: Detection, detector: FaceDetector) -> float:
    """Return the mean score of dlib's detector in the further looks."""
    total = 0.0
    for face_px, mirrored in LOOKS:
        view = _view(luma, detection, face_px)
        patch = np.ascontiguousarray(view.luma[:, ::-1]) if mirrored else view.luma
        total += detector.score_of(patch, view.box_in_view(detection.box))
    return total / len(LOOKS)


def is_steady(luma: NDArray[np.uint8], detection: Detection, predictor: LandmarkPredictor, *, within: float) -> bool:
    """Return whether boxes beside a detection in ``luma``, uint8 [height, width], give nearly the same landmarks.

    ``within``: how far they move on average at most, in widths of the box. It takes about 1 ms on an EPYC.
    """
    view = _view(luma, detection, STEADY_FACE_PX)
    return predictor.are_steady(view.luma, view.box_in_view(detection.box), within=within)


def _view(luma: NDArray[np.uint8], detection: Detection, face_px: float) -> View:
    view = face_view(luma, detection.box, turned_deg=detection.lies_deg, margin=MARGIN, face_px=face_px)
    return replace(view, luma=sharpened(view.luma)) if detection.treatment is Treatment.SHARPENED else view
