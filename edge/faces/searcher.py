"""Searches that run beside the frames: the detector releases the GIL, and another core has time."""

from concurrent.futures import Future

import numpy as np
from numpy.typing import NDArray

from edge.background import Worker
from edge.faces.detector import Detection, FaceDetector
from edge.faces.searches import Area


class Searcher:
    """Searches parts of frames in a thread of its own, with a detector of its own."""

    def __init__(self, detector: FaceDetector) -> None:
        self._detector = detector
        self._worker = Worker("search")

    def start(self, luma: NDArray[np.uint8], area: Area) -> "Future[list[Detection]]":
        """Search an area of a luma plane, uint8 [height, width], of which a copy is taken."""
        copy = luma.copy()
        return self._worker.submit(lambda: self._detector.area(copy, area))
