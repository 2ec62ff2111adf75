"""The teachers' scores of the training pictures: soft targets that a smaller network learns from (distillation)."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.errors import DataError
from train.data.augment import mix, warp
from train.data.dataset import Dataset
from train.files import replacing
from train.fit.settings import FitSettings
from train.fit.targets import match_shares
from train.run_folder import model_file
from train.scoring import Scorer, open_scorer

VIEWS = 0x76696577
"""Key of the random stream that views are drawn from, separate from those of orders and batches."""


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """The training pictures as they look in one epoch, with the teachers' scores."""

    images: NDArray[np.uint8]
    """[n, side, side]"""
    scores: NDArray[np.float32]
    """[n, 5], mean of the teachers, matched to the labels' shares; rows sum to 1"""
    partners: NDArray[np.intp]
    """[n], index in this view of the picture that each is mixed with"""
    own_shares: NDArray[np.float32]
    """[n], share of the picture itself in the mix; 1 if it is not mixed"""


class DistillationTargets:
    """Views of the training pictures, each scored by the teachers when it is first needed.

    Teachers score the view that the student sees (before light, mirroring and erasing), not the picture that it was
    made from; mixed pictures are new to them as well (Beyer et al. 2022, arXiv:2106.05237). Few views cost little
    scoring; with as many views as epochs the student sees no picture twice.

    Views that are used again stay in memory: 59 MB each for FER2013. Of the others only the last does.

    Parameters
    ----------
    teachers
        Run folders, ``.keras`` files or bundles; their scores are averaged.
    rows
        [n], rows of ``dataset`` that are trained on: `train.fit.batches.trained_rows`.
    folder
        Keeps the scores for a resumed run, one file a view, named by teachers and pictures.
    """

    def __init__(
        self,
        teachers: Sequence[Path],
        dataset: Dataset,
        rows: NDArray[np.intp],
        settings: FitSettings,
        folder: Path,
        *,
        report: Callable[[str], None] = lambda _line: None,
    ) -> None:
        self._teachers = teachers
        self._scorers: list[Scorer] = []
        self._pictures = dataset.images[rows]
        self._labels = dataset.labels[rows]
        self._settings = settings
        self._folder = folder
        self._report = report
        self._identity = json.dumps(sorted(identify(teachers).values())).encode()
        self._views: dict[int, View] = {}

    def view(self, epoch: int) -> View:
        """Return the view of an epoch (0 is the first); after ``settings.views`` epochs they repeat.

        Raises
        ------
        DataError
            A teacher is not a model for faces, or a kept file is damaged.
        """
        number = epoch % self._settings.views
        if number in self._views:
            return self._views[number]
        rng = np.random.default_rng([VIEWS, self._settings.seed, number])
        images = warp(self._pictures, rng, self._settings.augmentation)
        images, partners, own_shares = mix(images, rng, self._settings.mix_share)
        view = View(images, match_shares(self._scores(number, images), self._labels), partners, own_shares)
        if self._settings.views >= self._settings.epochs:
            self._views.clear()
        self._views[number] = view
        return view

    def _scores(self, number: int, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        kept = self._folder / f"view-{number}-{hashlib.sha256(self._identity + images.tobytes()).hexdigest()[:16]}.npy"
        if not kept.is_file():
            self._report(f"teachers score view {number + 1} of {self._settings.views}")
            self._scorers = self._scorers or [open_scorer(teacher) for teacher in self._teachers]
            scores = np.mean([scorer(images) for scorer in self._scorers], axis=0)
            kept.parent.mkdir(parents=True, exist_ok=True)
            with replacing(kept) as partial:
                np.save(partial, scores)
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
