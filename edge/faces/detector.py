"""dlib's frontal face detector (HOG), and ours of covered faces: in frames, parts of them, or near a last box."""

import copy
import hashlib
import logging
import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import dlib
import numpy as np
from numpy.typing import NDArray

from edge.errors import LandmarkModelError
from edge.faces.covered import CoveredFaceModel
from edge.faces.quality import SHARPENED_FACE_PX, is_blurred, is_noisy, sharpened, smoothed
from edge.faces.shipped import check_hash, shipped
from edge.faces.types import Box, Detection, Region, Treatment
from edge.faces.views import View, face_view, turned_view

REGION_FACE_PX = 90.0
"""To check a known face, its surroundings are scaled so that it is this wide: above the detector's window of 80 px, and
small enough to take 1-2 ms."""
STEADY_MARGIN = 0.25
"""Searched around a face seen in the last frame, on each side, in widths of its box."""
LOST_MARGIN = 0.45
"""The same for a lost face, which may have moved."""
NEW_FACE_SCORE = 0.3
"""Least detector score of a new face; above dlib's own 0, as a false alarm is an event. Measured: docs/faces.md."""
CANDIDATE_SCORE = -0.6
"""Least score of a detection that further looks may confirm, see `edge.faces.vouching`. Measured: docs/faces.md."""
TURNED_SCORE = 0.0
"""The same in a picture that was turned: five such searches find more of what is no face. Measured: docs/faces.md."""
KNOWN_FACE_SCORE = -0.2
"""Least score of a face that is known to be there: turned or half covered it scores less than a new face must."""
COVERED_OFFSET = 0.5
"""Taken from the scores of the detector of covered faces: 0 then gives as few false alarms as dlib's. Measured:
docs/faces.md."""
COVERED_SCORE, KNOWN_COVERED_SCORE = -0.6, -0.1
"""Least score, after that, of a covered face that further looks may confirm, and of one that is known to be there."""
NEVER_SCORE = -1.0
"""What a look that finds nothing counts in a mean of scores."""
LEANING_DEG = (0.0, 0.0, 0.0, -30.0, 30.0)
"""By how much a face leans clockwise that is seen by each of dlib's filters: frontal, left, right, leaning either way.
Measured: docs/faces.md."""
SAME_FACE_IOU = 0.3
"""Detections of two searches that overlap by this much (intersection over union) are one face."""

MAX_STORED_BYTES = 2_000_000
"""A prepared detector in a file takes 155 kB."""

log = logging.getLogger(__name__)


class FaceDetector:
    """Finds faces in luma planes. Not for use by two threads at once. dlib releases the GIL while it works.

    ``kept_in``: folder of the prepared detector, see `frontal_face_detector`.
    ``ready``: dlib's detector and that of covered faces, each a ``dlib.fhog_object_detector``, and the model that
    vouches for these, to use instead.

    Raises `LandmarkModelError`: the detector of covered faces or its model is missing or damaged.
    """

    def __init__(self, kept_in: Path | None = None, *, ready: tuple[Any, Any, CoveredFaceModel] | None = None) -> None:
        self._detector, self._covered, self._covered_model = ready or (
            frontal_face_detector(kept_in),
            *covered_face_detector(),
        )

    def copy(self) -> "FaceDetector":
        """Return a second detector for another thread; this is cheaper than to prepare one."""
        return FaceDetector(ready=(copy.copy(self._detector), copy.copy(self._covered), self._covered_model))

    def find(
        self, luma: NDArray[np.uint8], *, upsample: int = 0, least_score: float = NEW_FACE_SCORE
    ) -> list[Detection]:
        """Find the faces in a luma plane, uint8 [height, width]; the largest first.

        ``upsample`` doubles the picture that many times: 0 finds faces from about 75 px, 1 from 38, 2 from 19.
        ``least_score`` is what a detection must score. A noisy picture is smoothed first.
        """
        noisy = is_noisy(luma)
        found = self._run(np.ascontiguousarray(smoothed(luma) if noisy else luma), upsample, least_score)
        if noisy:
            found = [replace(seen, treatment=Treatment.SMOOTHED) for seen in found]
        return sorted(found, key=lambda seen: seen.box.width, reverse=True)

    def find_blurred(self, luma: NDArray[np.uint8], *, upsample: int = 0) -> list[Detection]:
        """Find candidates for faces in a blurred luma plane by sharpening it: an octave of face sizes at a time.

        The largest come first. ``upsample`` is as for `find`.
        """
        found: list[Detection] = []
        height, width = luma.shape
        scale = 2.0**upsample
        while min(height, width) * scale >= SHARPENED_FACE_PX:
            size = (max(1, round(width * scale)), max(1, round(height * scale)))
            method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
            octave = sharpened(np.asarray(cv2.resize(luma, size, interpolation=method), np.uint8))
            found += [
                replace(seen, box=_in_frame(seen.box, scale, 0, 0), treatment=Treatment.SHARPENED)
                for seen in self._run(octave, 0, CANDIDATE_SCORE)
            ]
            scale /= 2
        return sorted(without_doubles(found), key=lambda seen: seen.box.width, reverse=True)

    def find_covered(
        self, luma: NDArray[np.uint8], *, upsample: int = 0, least_score: float = COVERED_SCORE
    ) -> list[Detection]:
        """Find candidates for faces whose lower half is covered, in a luma plane; the largest first."""
        found = self._run(np.ascontiguousarray(luma), upsample, least_score, covered=True)
        return sorted(found, key=lambda seen: seen.box.width, reverse=True)

    def find_in(self, luma: NDArray[np.uint8], region: Region) -> list[Detection]:
        """Find candidates for faces in a region of a luma plane, uint8 [height, width]; the largest first."""
        left, top, width, height = region.box
        part = luma[top : top + height, left : left + width]
        if region.scale < 1:
            size = (max(1, round(width * region.scale)), max(1, round(height * region.scale)))
            part = np.asarray(cv2.resize(part, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
        view = turned_view(part, -region.turned_deg) if region.turned_deg else None
        if region.sharpened:
            found = self.find_blurred(part, upsample=region.upsample) if is_blurred(part) else []
        elif region.covered:
            found = self.find_covered(part, upsample=region.upsample)
        else:
            least_score = TURNED_SCORE if view else CANDIDATE_SCORE
            found = self.find(view.luma if view else part, upsample=region.upsample, least_score=least_score)
        return [
            replace(
                seen,
                box=_in_frame(view.box_in_picture(seen.box) if view else seen.box, region.scale, left, top),
                turned_deg=region.turned_deg,
            )
            for seen in found
        ]

    def find_near(
        self,
        luma: NDArray[np.uint8],
        box: Box,
        *,
        margin: float = LOST_MARGIN,
        turned_deg: float = 0.0,
        covered: bool = False,
        was: Treatment = Treatment.NONE,
    ) -> Detection | None:
        """Find one face near its last box, in ``luma`` uint8 [height, width]; None where it is not there.

        ``margin`` is searched on each side of the box, in widths of it. ``turned_deg`` is by how much the face lies
        turned clockwise. ``covered``: its lower half may be. ``was``: what the picture needed when it was seen last.
        """
        if not Box(0, 0, luma.shape[1], luma.shape[0]).iou(box):
            return None
        if turned_deg:
            view = face_view(luma, box, turned_deg=turned_deg, margin=margin, face_px=REGION_FACE_PX)
        else:
            view = _cut(luma, box, margin)
        seen, treatment = self._run_as_before(view, was), was
        if not seen:
            seen, treatment = self._run(view.luma, 0, KNOWN_FACE_SCORE), Treatment.NONE
        if not seen and was is not Treatment.SHARPENED and is_blurred(view.luma):
            seen, treatment = self._run(sharpened(view.luma), 0, CANDIDATE_SCORE), Treatment.SHARPENED
        elif not seen and is_noisy(view.luma):
            seen, treatment = self._run(smoothed(view.luma), 0, KNOWN_FACE_SCORE), Treatment.SMOOTHED
        if not seen and covered:
            seen, treatment = self.find_covered(view.luma, least_score=KNOWN_COVERED_SCORE), Treatment.COVERED
        if not seen:
            return None
        found = [replace(d, box=view.box_in_picture(d.box), turned_deg=turned_deg, treatment=treatment) for d in seen]
        near = max(found, key=lambda d: (round(d.box.iou(box), 1), d.score))
        return near if near.box.iou(box) > 0.1 else None

    def _run_as_before(self, view: View, was: Treatment) -> list[Detection]:
        """Look at a view sharpened or smoothed where the face in it was seen so last."""
        if was is Treatment.SHARPENED and is_blurred(view.luma):
            return self._run(sharpened(view.luma), 0, CANDIDATE_SCORE)
        if was is Treatment.SMOOTHED:  # noise is hard to measure in an enlarged view
            return self._run(smoothed(view.luma, abs(view.turn)), 0, CANDIDATE_SCORE)
        return []

    def covered_score(self, luma: NDArray[np.uint8], landmarks: NDArray[np.float32]) -> float:
        """Return how much a candidate with these landmarks, float32 [68, 2], looks like a covered face: log-odds."""
        return self._covered_model.score(luma, landmarks)

    def score_of(self, patch: NDArray[np.uint8], box: Box) -> float:
        """Return the best score of a detection that lies on this box of a patch; `NEVER_SCORE` without one."""
        limit = 0.2 * box.width
        near = [
            seen.score
            for seen in self._run(patch, 0, NEVER_SCORE)
            if abs(seen.box.centre[0] - box.centre[0]) < limit
            and abs(seen.box.centre[1] - box.centre[1]) < limit
            and 0.7 < seen.box.width / box.width < 1.45
        ]
        return max(near, default=NEVER_SCORE)

    def _run(
        self, luma: NDArray[np.uint8], upsample: int, least_score: float, *, covered: bool = False
    ) -> list[Detection]:
        detector, offset = (self._covered, COVERED_OFFSET) if covered else (self._detector, 0.0)
        treatment = Treatment.COVERED if covered else Treatment.NONE
        return [
            Detection(
                Box(r.left(), r.top(), r.width(), r.height()),
                float(score) - offset,
                treatment=treatment,
                leaning_deg=LEANING_DEG[filter_],
            )
            for r, score, filter_ in zip(*detector.run(luma, upsample, least_score + offset), strict=True)
        ]


def without_doubles(found: list[Detection]) -> list[Detection]:
    """Keep the best of detections that overlap."""
    kept: list[Detection] = []
    for seen in sorted(found, key=lambda seen: seen.score, reverse=True):
        if all(seen.box.iou(other.box) < SAME_FACE_IOU for other in kept):
            kept.append(seen)
    return kept


def _cut(luma: NDArray[np.uint8], box: Box, margin_share: float) -> View:
    """Cut the surroundings of a box that touches the frame, scaled so that the box is `REGION_FACE_PX` wide."""
    height, width = luma.shape
    margin = round(box.width * margin_share)
    left, right = max(0, box.x - margin), min(width, box.x + box.width + margin)
    top, bottom = max(0, box.y - margin), min(height, box.y + box.height + margin)
    patch = luma[top:bottom, left:right]
    scale = REGION_FACE_PX / max(box.width, 1)
    size = (max(1, round(patch.shape[1] * scale)), max(1, round(patch.shape[0] * scale)))
    shrinking = scale < 1
    scaled = cv2.resize(patch, size, interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR)
    half = complex(0.5, 0.5)
    return View(np.asarray(scaled, dtype=np.uint8), complex(scale), (half - complex(left, top)) * scale - half)


def _in_frame(box: Box, scale: float, left: int, top: int) -> Box:
    return Box(
        round(box.x / scale) + left,
        round(box.y / scale) + top,
        round(box.width / scale),
        round(box.height / scale),
    )


def covered_face_detector() -> tuple[Any, CoveredFaceModel]:
    """Return our detector of faces whose lower half is covered, a ``dlib.fhog_object_detector``, and its model.

    Raises `LandmarkModelError`: one of them is missing or damaged.
    """
    filter_path, model_path = (shipped("covered") / name for name in ("covered.svm", "gradients.npy"))
    check_hash(filter_path)
    check_hash(model_path)
    try:
        model = CoveredFaceModel(np.load(model_path, allow_pickle=False))
        return dlib.fhog_object_detector(str(filter_path)), model
    except (RuntimeError, ValueError) as error:
        raise LandmarkModelError(f"{filter_path.parent}: not what shipped: {error}; install again") from error


def frontal_face_detector(folder: Path | None = None) -> Any:
    """Return dlib's detector (``dlib.fhog_object_detector``), from a file where there is one.

    `dlib.get_frontal_face_detector` unpacks and prepares its filters at each call: 0.9 s of CPU on an EPYC
    (2026-11-25), most of a program's start. Reading the result from a file takes 3 ms.

    ``folder``: where the prepared detector is stored, if that folder exists and can be written; None stores it nowhere.
    The file's name holds dlib's version and the sha256 of its content, so that a damaged file is recognised and
    replaced.
    """
    if folder is None:
        return dlib.get_frontal_face_detector()
    for path in folder.glob(f"detector-{dlib.__version__}-*.svm"):
        try:
            if (
                path.is_symlink()
                or path.stat().st_size > MAX_STORED_BYTES
                or _file_name(path.read_bytes()) != path.name
            ):
                raise RuntimeError("its content does not match its name")
            return dlib.fhog_object_detector(str(path))
        except (OSError, RuntimeError) as error:
            log.info("%s is replaced: %s", path, error)
    detector = dlib.get_frontal_face_detector()
    if folder.is_dir():
        _store(detector, folder)
    return detector


def _store(detector: Any, folder: Path) -> None:
    partial = folder / f"detector.{os.getpid()}.partial"
    with suppress(OSError, RuntimeError):  # where the folder cannot be written, each start prepares the detector again
        detector.save(str(partial))
        for path in folder.glob("detector-*.svm"):
            path.unlink()
        partial.rename(folder / _file_name(partial.read_bytes()))
    with suppress(OSError):
        partial.unlink(missing_ok=True)


def _file_name(content: bytes) -> str:
    return f"detector-{dlib.__version__}-{hashlib.sha256(content).hexdigest()[:32]}.svm"
