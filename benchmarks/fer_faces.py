"""What the `fer` package sees in pictures; `benchmarks.wild` starts it with the interpreter of fer's own environment.

    python fer_faces.py FILE.npz > found.json

The file holds a picture an array. The answer is a list for each picture: boxes with the emotion of their best score of
our five. Where an array is [n, 48, 48], it is chips: one emotion each.
"""

import contextlib
import json
import sys
from typing import Any

import numpy as np

EMOTIONS = ("angry", "happy", "sad", "surprise", "neutral")
TILE_PX = 96
OFFSET_PX = 10
"""fer cuts a face this much larger than the box"""
TILES = 16


def main() -> None:
    """Answer for each picture of the file."""
    with contextlib.redirect_stdout(sys.stderr):
        from fer import FER  # type: ignore[import-not-found]  # of the other environment

        detector = FER(mtcnn=False)
        with np.load(sys.argv[1]) as file:
            answers = {name: look(detector, file[name]) for name in file.files}
    print(json.dumps(answers))


def look(detector: Any, luma: Any) -> list[Any]:
    """Return what fer finds in one picture, or the emotions of chips."""
    import cv2

    if luma.ndim == 3:
        return [
            emotion for start in range(0, len(luma), TILES**2) for emotion in name(detector, luma[start:][: TILES**2])
        ]
    found = detector.detect_emotions(cv2.cvtColor(luma, cv2.COLOR_GRAY2BGR))
    return [[[int(side) for side in face["box"]], best(face)] for face in found]


def name(detector: Any, chips: Any) -> list[str]:
    """Name the emotions of at most 256 chips: as tiles of one picture, so that its network sees them together."""
    import cv2

    canvas = np.zeros((TILES * TILE_PX, TILES * TILE_PX, 3), np.uint8)
    places = []
    for index, chip in enumerate(chips):
        x, y = index % TILES * TILE_PX, index // TILES * TILE_PX
        canvas[y : y + TILE_PX, x : x + TILE_PX] = cv2.resize(chip, (TILE_PX, TILE_PX))[:, :, np.newaxis]
        side = TILE_PX - 2 * OFFSET_PX
        places.append((x + OFFSET_PX, y + OFFSET_PX, side, side))
    return [best(face) for face in detector.detect_emotions(canvas, places)]


def best(face: dict[str, Any]) -> str:
    """The emotion of ours that scores best."""
    return max(EMOTIONS, key=lambda emotion: face["emotions"][emotion])


if __name__ == "__main__":
    main()
