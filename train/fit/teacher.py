"""What teachers say of the training pictures: the soft targets that a smaller network learns from."""

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
from train.fit.settings import FitSettings
from train.fit.targets import match_shares
from train.scoring import Scorer, model_file, open_scorer

VIEWS = 0x76696577
"""Stream of random numbers that views are drawn from, apart from those of orders and batches."""


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """The training pictures as they look in one epoch, with what teachers say of each."""

    images: NDArray[np.uint8]
    """[n, side, side]"""
    scores: NDArray[np.float32]
    """[n, 5], mean of the teachers, brought to the labels' shares; rows sum to 1"""
    partners: NDArray[np.intp]
    """[n], place in this view of the picture that each is mixed with"""
    own_shares: NDArray[np.float32]
    """[n], how much of it is itself; 1 where it is not mixed"""


class Lessons:
    """Views of the training pictures, each scored by the teachers when it is first asked for.

    A teacher looks at the view that the pupil sees (before light, mirroring and erasing), not at the picture that it
    was made from, and mixed pictures are none that it knows by heart (Beyer et al. 2022, arXiv:2106.05237). Few views
    cost teachers little; as many views as epochs show the pupil no picture twice.

    Views that come again are held: 59 MB each for FER2013. Others are not, but for the last.

    Parameters
    ----------
    teachers
        Run folders, ``.keras`` files or bundles; their scores are averaged.
    rows
        [n], of ``dataset``, the pictures: `train.fit.batches.trained_rows`.
    folder
        Where scores are kept, a file a view and named by teachers and pictures, so that a run that goes on has not to
        ask again.
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
        self._named = json.dumps(sorted(identify(teachers).values())).encode()
        self._held: dict[int, View] = {}

    def view(self, epoch: int) -> View:
        """Return the view of an epoch, 0 is the first; after ``settings.views`` epochs they come again.

        Raises
        ------
        DataError
            A teacher is no model for faces, or a kept file is damaged.
        """
        number = epoch % self._settings.views
        if number in self._held:
            return self._held[number]
        rng = np.random.default_rng([VIEWS, self._settings.seed, number])
        images = warp(self._pictures, rng, self._settings.augmentation)
        images, partners, own_shares = mix(images, rng, self._settings.mix_share)
        view = View(images, match_shares(self._scores(number, images), self._labels), partners, own_shares)
        if self._settings.views >= self._settings.epochs:
            self._held.clear()
        self._held[number] = view
        return view

    def _scores(self, number: int, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        kept = self._folder / f"view-{number}-{hashlib.sha256(self._named + images.tobytes()).hexdigest()[:16]}.npy"
        if not kept.is_file():
            self._report(f"teachers look at view {number + 1} of {self._settings.views}")
            self._scorers = self._scorers or [open_scorer(teacher) for teacher in self._teachers]
            _write(kept, np.mean([scorer(images) for scorer in self._scorers], axis=0))
        return _read(kept, len(images))


def identify(models: Sequence[Path]) -> dict[str, str]:
    """Return the sha256 of each model's file (a bundle's manifest) by its path, to tell one teacher from another."""
    files = {model: model / "manifest.json" for model in models}
    return {
        str(model): hashlib.sha256((file if file.is_file() else model_file(model)).read_bytes()).hexdigest()
        for model, file in files.items()
    }


def _write(path: Path, scores: NDArray[np.float32]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as file:
        np.save(file, scores)
    partial.replace(path)


def _read(path: Path, n: int) -> NDArray[np.float32]:
    try:
        scores = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path}: damaged ({error}); delete it, and the teachers are asked again") from error
    if scores.shape != (n, 5) or scores.dtype != np.float32:
        raise DataError(f"{path}: must be float32 [{n}, 5], found {scores.dtype} {scores.shape}; delete it")
    return np.asarray(scores)
