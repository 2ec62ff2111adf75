"""Features of a data set's pictures: distances between landmarks, or pixels."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

from edge.faces.distances import landmark_features
from train.data.augment import MIRROR
from train.data.landmarks import PictureLandmarks, read_landmarks, smooth_landmarks

Kind = Literal["landmarks", "pixels"]


@dataclass(slots=True, eq=False)
class Features:
    """Features of the pictures of a data set, as they are and mirrored."""

    images: NDArray[np.uint8]
    """[n, 48, 48]"""
    landmarks: PictureLandmarks | None
    """of some rows of ``images``; None if the features are pixels"""
    rows: NDArray[np.intp]
    """the row of ``images`` that each of ``landmarks`` belongs to"""
    described: dict[str, Any] = field(default_factory=dict)

    def of(self, rows: NDArray[np.intp]) -> NDArray[np.float32]:
        """Features float32 [n, k] of these rows of the data set."""
        if self.landmarks is None:
            return pixel_features(self.images[rows])
        return landmark_features(self.landmarks.points[np.searchsorted(self.rows, rows)])

    def mirrored(self, rows: NDArray[np.intp]) -> NDArray[np.float32]:
        """Features of the mirror images; of landmarks, the mirrored points."""
        if self.landmarks is None:
            return pixel_features(self.images[rows][:, :, ::-1])
        points = self.landmarks.points[np.searchsorted(self.rows, rows)]
        return landmark_features(np.ascontiguousarray(points[:, MIRROR] * np.array([-1, 1], dtype=np.float32)))


def dataset_features(
    images: NDArray[np.uint8], rows: NDArray[np.intp], kind: Kind, *, cache: Path, smooth: bool = False
) -> Features:
    """Return the features of some rows of a data set; landmarks that ``cache`` lacks are found, with a progress bar."""
    rows = np.sort(rows)
    if kind == "pixels":
        return Features(images, None, rows, {"kind": kind})
    landmarks = watched_landmarks(images[rows], cache=cache, smooth=smooth)
    return Features(images, landmarks, rows, {"kind": kind, "smooth": smooth, "landmarks": landmarks.counts()})


def watched_landmarks(images: NDArray[np.uint8], *, cache: Path | None, smooth: bool = False) -> PictureLandmarks:
    """`read_landmarks` or `smooth_landmarks` with a progress bar on stderr."""
    read = smooth_landmarks if smooth else read_landmarks
    columns = (*Progress.get_default_columns()[:-1], MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("Reading landmarks", total=None)
        return read(images, cache=cache, progress=lambda done, of: progress.update(task, completed=done, total=of))


def pixel_features(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Pixels float32 [n, 2304], 0..1, of images uint8 [n, 48, 48]."""
    return images.reshape(len(images), -1).astype(np.float32) / 255
