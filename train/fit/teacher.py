"""The teachers' scores of the training pictures: soft targets that a smaller network learns from (distillation)."""

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.errors import DataError
from train.data.augment import Warp
from train.files import replacing
from train.run_folder import model_file
from train.scoring import Scorer, open_scorer


class Teachers:
    """Mean scores of some models of warped training pictures, made when they are first needed.

    Teachers score the view that the student sees (before light, mirroring and erasing), not the picture that it was
    made from (Beyer et al. 2022, arXiv:2106.05237). Few views cost little scoring; with as many views as epochs the
    student sees no picture twice.

    ``models``: run folders, ``.keras`` files or bundles; their scores are averaged.
    ``images``: uint8 [n, 48, 48], the training pictures.
    ``folder``: keeps the scores for a resumed run, one file a view, named by teachers and pictures.
    """

    def __init__(
        self,
        models: Sequence[Path],
        images: NDArray[np.uint8],
        folder: Path,
        *,
        report: Callable[[str], None] = lambda _line: None,
    ) -> None:
        self._models = models
        self._scorers: list[Scorer] = []
        self._images = images
        self._folder = folder
        self._report = report
        self._identity = json.dumps(sorted(identify(models).values())).encode()

    def scores(self, view: int, warp: Warp) -> NDArray[np.float32]:
        """Scores float32 [n, 5] of the pictures as ``warp`` shows them; rows sum to 1.

        Raises `DataError`: a teacher is not a model for faces, or a kept file is damaged.
        """
        images = warp.apply(self._images)
        kept = self._folder / f"view-{view}-{hashlib.sha256(self._identity + images.tobytes()).hexdigest()[:16]}.npy"
        if not kept.is_file():
            self._report(f"teachers score view {view + 1}")
            self._scorers = self._scorers or [open_scorer(model) for model in self._models]
            kept.parent.mkdir(parents=True, exist_ok=True)
            with replacing(kept) as partial:
                np.save(partial, np.mean([scorer(images) for scorer in self._scorers], axis=0))
        return _read(kept, len(images))


def identify(models: Sequence[Path]) -> dict[str, str]:
    """Return the sha256 of each model's file (of a bundle's manifest) by the model's path."""
    files = {model: model / "manifest.json" for model in models}
    return {
        str(model): hashlib.sha256((file if file.is_file() else model_file(model)).read_bytes()).hexdigest()
        for model, file in files.items()
    }


def _read(path: Path, n: int) -> NDArray[np.float32]:
    try:
        scores = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path}: damaged ({error}); delete it, and the teachers score this view again") from error
    if scores.shape != (n, 5) or scores.dtype != np.float32:
        raise DataError(f"{path}: must be float32 [{n}, 5], found {scores.dtype} {scores.shape}; delete it")
    return np.asarray(scores)
