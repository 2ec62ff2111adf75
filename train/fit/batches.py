"""Training batches: augmented pictures, soft targets, a weight for each picture."""

import os
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock

import cv2
import keras
import numpy as np
from numpy.typing import NDArray

from train.data.augment import augment, disturb
from train.data.dataset import PARTS, Dataset
from train.fit.settings import FitSettings
from train.fit.targets import class_weights, soft_targets
from train.fit.teacher import DistillationTargets, View

Batch = tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.float32]]
"""pictures [n, side, side, 1], targets [n, 5], weights [n]"""

MOST_THREADS = 8
"""most threads that make batches ahead, so that an accelerator does not wait"""
AHEAD = 4
"""batches that are made ahead, for each thread"""


class Batches(keras.utils.PyDataset):  # type: ignore[misc]  # keras is untyped
    """Augmented batches of the training part; each depends on (seed, epoch, index in the epoch) alone.

    So a resumed run sees the same batches as one that was never interrupted. Pictures that are left over after the
    last whole batch are not used in that epoch.

    Parameters
    ----------
    threads
        Threads that make batches ahead; None is half of the processors, at most ``MOST_THREADS``. With 1 each batch
        is made when Keras asks for it.
    """

    def __init__(
        self,
        dataset: Dataset,
        settings: FitSettings,
        taught: DistillationTargets | None = None,
        *,
        threads: int | None = None,
    ) -> None:
        super().__init__(workers=1)  # more of Keras's own workers carry batches over into the next epoch
        threads = threads or min(MOST_THREADS, max(1, (os.cpu_count() or 1) // 2))  # the others are the backend's
        self._threads = ThreadPoolExecutor(threads) if threads > 1 else None
        self._most_ahead = AHEAD * threads
        self._ahead: dict[int, Future[Batch]] = {}
        self._lock = Lock()
        self._settings = settings
        self._rows = trained_rows(dataset, settings)
        labels = dataset.labels[self._rows]
        self._taught = taught
        self._images = dataset.images
        self._targets = soft_targets(
            dataset, self._rows, vote_share=settings.vote_share, label_smoothing=settings.label_smoothing
        )
        self._weights = class_weights(labels, settings.balance)
        self._drawn: tuple[int, NDArray[np.intp], View | None] | None = None

    @property
    def size(self) -> int:
        """Pictures in a batch."""
        return min(self._settings.batch, len(self._rows))

    def start_epoch(self, epoch: int) -> None:
        """Draw the order of an epoch (0 is the first), and its view if there are teachers.

        Call it as each epoch begins: Keras calls ``on_epoch_end`` more often than epochs end.
        """
        order = np.random.default_rng([self._settings.seed, epoch]).permutation(len(self._rows))
        view = self._taught.view(epoch) if self._taught is not None else None
        with self._lock:  # Keras may still be reading ahead in another thread
            for batch in self._ahead.values():
                batch.cancel()
            self._drawn, self._ahead = (epoch, order, view), {}

    def __len__(self) -> int:
        return steps_per_epoch(len(self._rows), self._settings.batch)

    def __getitem__(self, index: int) -> Batch:
        if self._drawn is None:
            self.start_epoch(0)
        with self._lock:
            assert self._drawn is not None
            drawn = self._drawn
            if self._threads is not None:
                for place in range(index, min(index + self._most_ahead, len(self))):
                    if place not in self._ahead:
                        self._ahead[place] = self._threads.submit(self._make, *drawn, place)
            made = self._ahead.pop(index, None)
        return made.result() if made else self._make(*drawn, index)

    def _make(self, epoch: int, order: NDArray[np.intp], view: View | None, index: int) -> Batch:
        batch = order[index * self._settings.batch : (index + 1) * self._settings.batch]
        rng = np.random.default_rng([self._settings.seed, epoch, index])
        if view is None:
            images = augment(self._images[self._rows[batch]], rng, self._settings.augmentation)
            targets, weights = self._targets[batch], self._weights[batch]
        else:
            images, targets, weights = self._of_view(view, batch, rng)
        side = self._settings.side_px(epoch)
        if side is not None:
            images = np.stack([cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA) for image in images])
        return images[..., None], targets, weights

    def _of_view(self, view: View, batch: NDArray[np.intp], rng: np.random.Generator) -> Batch:
        """Pictures of a view, half of them mirrored; a mixed picture has the mean of two targets and weights."""
        images = view.images[batch]
        mirrored = rng.random(len(batch)) < 0.5
        images[mirrored] = images[mirrored, :, ::-1]
        own, partners = view.own_shares[batch], view.partners[batch]
        labelled = own[:, None] * self._targets[batch] + (1 - own[:, None]) * self._targets[partners]
        share = self._settings.teacher_share
        targets = np.asarray((1 - share) * labelled + share * view.scores[batch], dtype=np.float32)
        weights = own * self._weights[batch] + (1 - own) * self._weights[partners]
        return disturb(images, rng, self._settings.augmentation), targets, weights


def steps_per_epoch(pictures: int, batch: int) -> int:
    """Number of whole batches in an epoch, at least 1."""
    return max(1, pictures // batch)


def trained_rows(dataset: Dataset, settings: FitSettings) -> NDArray[np.intp]:
    """Rows that a run trains on: the five emotions, and with ``other_classes`` every other face that has votes."""
    rows = dataset.select("train")
    if not settings.other_classes or dataset.votes is None:
        return rows
    others = (dataset.parts == PARTS.index("train")) & (dataset.labels < 0) & (dataset.votes.sum(axis=1) > 0)
    return np.sort(np.concatenate([rows, np.flatnonzero(others)]))
