"""Training batches: augmented pictures, soft targets, a weight for each picture."""

import os
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock

import keras
import numpy as np
from numpy.typing import NDArray

from edge.emotions import EMOTIONS
from train.data.augment import MIRROR, Warp, disturb, mix
from train.data.dataset import CLASSES, PARTS, Dataset
from train.data.degrade import NO_FACE_SHARE, degrade, make_no_face
from train.fit.settings import FitSettings
from train.fit.targets import class_weights, soft_targets
from train.fit.teacher import Teachers

Batch = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]
"""pictures [n, 48, 48, 1], targets [n, 7], weights [n]"""
Drawn = tuple[int, NDArray[np.intp], Warp, NDArray[np.float32] | None]
"""an epoch, the order of its pictures, their warp, and the teachers' scores of them"""

VIEWS = 0x76696577
"""Key of the random stream that warps are drawn from, separate from those of orders and batches."""
MOST_THREADS = 8
"""most threads that make batches ahead, so that an accelerator does not wait"""
AHEAD = 4
"""batches that are made ahead, for each thread"""


class Batches(keras.utils.PyDataset):  # type: ignore[misc]  # keras is untyped
    """Augmented batches of the training part; each depends on (seed, epoch, index in the epoch) alone.

    So a resumed run sees the same batches as one that was never interrupted. Pictures that are left over after the
    last whole batch are not used in that epoch.

    ``teachers``: models whose scores are ``settings.teacher_share`` of the targets, of the pictures of `trained_rows`.
    ``points``: landmarks [n, 68, 2] of the pictures of `trained_rows`, in pixels; needed for
    ``settings.degrade_share``.
    ``threads``: threads that make batches ahead; None is half of the processors, at most ``MOST_THREADS``. With 1 each
    batch is made when Keras asks for it.
    ``shares``: equal shares of each batch, each augmented and mixed for itself, so that another worker can make it.
    ``share``: only this share of each batch is made, 0 is the first; None makes all of them.
    """

    def __init__(
        self,
        dataset: Dataset,
        settings: FitSettings,
        teachers: Teachers | None = None,
        points: NDArray[np.float32] | None = None,
        *,
        threads: int | None = None,
        shares: int = 1,
        share: int | None = None,
    ) -> None:
        super().__init__(workers=1)  # more of Keras's own workers carry batches over into the next epoch
        threads = threads or min(MOST_THREADS, max(1, (os.cpu_count() or 1) // 2))  # the others are the backend's
        self._threads = ThreadPoolExecutor(threads) if threads > 1 else None
        self._most_ahead = AHEAD * threads
        self._ahead: dict[int, Future[Batch]] = {}
        self._lock = Lock()
        self._settings = settings
        self._shares = range(shares)
        self._made_here = self._shares if share is None else [share]
        rows = trained_rows(dataset)
        self._teachers = teachers
        self._points = points
        self._images = dataset.images[rows]
        self._targets = soft_targets(
            dataset, rows, vote_share=settings.vote_share, label_smoothing=settings.label_smoothing
        )
        self._weights = class_weights(dataset.labels[rows], settings.balance)
        self._drawn: Drawn | None = None

    @property
    def size(self) -> int:
        """Pictures in a batch."""
        return min(self._settings.batch, len(self._images))

    def start_epoch(self, epoch: int) -> None:
        """Draw the order of an epoch (0 is the first) and the view that its pictures show.

        Call it as each epoch begins: Keras calls ``on_epoch_end`` more often than epochs end.
        """
        if self._drawn is not None and self._drawn[0] == epoch:
            return
        n, seed = len(self._images), self._settings.seed
        order = np.random.default_rng([seed, epoch]).permutation(n)
        view = epoch if self._teachers is None else epoch % self._settings.views
        warp = Warp.draw(n, np.random.default_rng([VIEWS, seed, view]), self._settings.augmentation)
        scores = None if self._teachers is None else self._teachers.scores(view, warp)
        with self._lock:  # Keras may still be reading ahead in another thread
            for batch in self._ahead.values():
                batch.cancel()
            self._drawn, self._ahead = (epoch, order, warp, scores), {}

    def __len__(self) -> int:
        return max(1, len(self._images) // self._settings.batch)

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

    def _make(
        self, epoch: int, order: NDArray[np.intp], warp: Warp, scores: NDArray[np.float32] | None, index: int
    ) -> Batch:
        whole = order[index * self._settings.batch : (index + 1) * self._settings.batch]
        each = len(whole) // len(self._shares)
        made = []
        for share in self._made_here:
            key = [self._settings.seed, epoch, index, *([share + 1] if len(self._shares) > 1 else [])]
            batch = whole[share * each : (share + 1) * each]
            made.append(self._make_share(batch, warp, scores, np.random.default_rng(key)))
        pictures, targets, weights = (np.concatenate(parts) for parts in zip(*made, strict=True))
        return pictures, targets, weights

    def _make_share(
        self, batch: NDArray[np.intp], warp: Warp, scores: NDArray[np.float32] | None, rng: np.random.Generator
    ) -> Batch:
        settings = self._settings
        shown = warp.of(batch)
        images = shown.apply(self._images[batch])
        targets, weights = self._targets[batch], self._weights[batch]
        if scores is not None:
            # Teachers divide the share of the five emotions; that of other classes is the label's and the votes'.
            by_teachers = targets.copy()
            by_teachers[:, : len(EMOTIONS)] = scores[batch] * targets[:, : len(EMOTIONS)].sum(axis=1, keepdims=True)
            targets = settings.teacher_share * by_teachers + (1 - settings.teacher_share) * targets
        mirrored = rng.random(len(batch)) < 0.5
        images[mirrored] = images[mirrored, :, ::-1]
        if settings.degrade_share:
            assert self._points is not None, "degrading needs landmarks"
            points = shown.move(self._points[batch])
            points[mirrored] = points[mirrored][:, MIRROR] * [-1, 1] + [images.shape[2] - 1, 0]
            images, hidden = degrade(images, points, rng, settings.degrade_share)
            bare = rng.random(len(batch)) < NO_FACE_SHARE
            images[bare] = make_no_face(images[bare], rng)
            hidden[bare], weights = 1, np.where(bare, np.float32(1), weights)
            targets = (1 - hidden[:, None]) * targets + hidden[:, None] / CLASSES
        seen = disturb(images, rng, settings.augmentation)
        seen, targets, weights = mix(seen, targets, weights, rng, settings.mix_share)
        return seen[..., None], targets.astype(np.float32), weights


def trained_rows(dataset: Dataset) -> NDArray[np.intp]:
    """Rows that networks are trained on: the training part's faces of the five emotions, of disgust and of fear."""
    return np.flatnonzero((dataset.parts == PARTS.index("train")) & (dataset.labels >= 0))
