"""What teachers say of the training pictures: the soft targets that a smaller network learns from."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.errors import DataError
from train.augment import warp
from train.dataset import Dataset
from train.fit_settings import FitSettings
from train.scoring import Scorer, model_file, open_scorer, score_with


@dataclass(frozen=True, slots=True, eq=False)
class Lessons:
    """Views of the training pictures, each with its teachers' scores.

    A teacher looks at each view as the pupil does, not at the picture that it was made from (Beyer et al. 2022,
    arXiv:2106.05237); a few fixed views cost it little, and light and erasing, drawn anew each epoch, keep them fresh.
    """

    images: NDArray[np.uint8]
    """[views, n, side, side]"""
    scores: NDArray[np.float32]
    """[views, n, 5], mean of the teachers over each view and its mirror image"""


def teach(
    teachers: Sequence[Path],
    dataset: Dataset,
    rows: NDArray[np.intp],
    settings: FitSettings,
    folder: Path,
    *,
    report: Callable[[str], None] = lambda _line: None,
) -> Lessons:
    """Warp the pictures of ``rows`` into ``settings.views`` views and have them scored.

    Scores are kept in ``folder``, a file a view and named by its pictures, so that a run that goes on has not to ask
    again.

    Raises
    ------
    DataError
        A teacher is no model for faces, or a kept file is damaged.
    """
    folder.mkdir(parents=True, exist_ok=True)
    images = np.empty((settings.views, len(rows), *dataset.images.shape[1:]), dtype=np.uint8)
    scores = np.empty((settings.views, len(rows), 5), dtype=np.float32)
    scorers: list[Scorer] = []
    for view in range(settings.views):
        rng = np.random.default_rng([settings.seed, view])
        images[view] = warp(dataset.images[rows], rng, settings.augmentation)
        kept = folder / f"view-{view}-{hashlib.sha256(images[view].tobytes()).hexdigest()[:16]}.npy"
        if not kept.is_file():
            report(f"teachers look at view {view + 1} of {settings.views}")
            scorers = scorers or [open_scorer(teacher) for teacher in teachers]
            _write(kept, np.mean([score_with(scorer, images[view], flip=True) for scorer in scorers], axis=0))
        scores[view] = _read(kept, len(rows))
    return Lessons(images, scores)


def identify(models: Sequence[Path]) -> dict[str, str]:
    """Return the sha256 of each model's file (a bundle's manifest) by its path, to tell one teacher from another."""
    files = {model: model / "manifest.json" for model in models}
    return {
        str(model): hashlib.sha256((file if file.is_file() else model_file(model)).read_bytes()).hexdigest()
        for model, file in files.items()
    }


def _write(path: Path, scores: NDArray[np.float64]) -> None:
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as file:
        np.save(file, scores.astype(np.float32))
    partial.replace(path)


def _read(path: Path, n: int) -> NDArray[np.float32]:
    try:
        scores = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path}: damaged ({error}); delete it, and the teachers are asked again") from error
    if scores.shape != (n, 5) or scores.dtype != np.float32:
        raise DataError(f"{path}: must be float32 [{n}, 5], found {scores.dtype} {scores.shape}; delete it")
    return np.asarray(scores)
