"""What a network sees in a step of training: augmented pictures, soft targets, a weight a picture."""

import keras
import numpy as np
from numpy.typing import NDArray

from edge.emotions import EMOTIONS
from train.augment import augment
from train.dataset import Dataset
from train.fit_settings import FitSettings


class Batches(keras.utils.PyDataset):  # type: ignore[misc]  # keras is untyped
    """Augmented batches of the training part; each is drawn from (seed, epoch, its place in the epoch) alone.

    So a run that goes on at an epoch sees what one that was never interrupted sees. Pictures that fill no whole
    batch sit out an epoch.
    """

    def __init__(self, dataset: Dataset, settings: FitSettings) -> None:
        super().__init__(workers=1, use_multiprocessing=False)
        self._settings = settings
        self._rows = dataset.select("train")
        self._images = dataset.images
        self._targets = soft_targets(dataset, self._rows, settings)
        self._weights = square_root_weights(dataset.labels[self._rows])
        self.start_epoch(0)

    def start_epoch(self, epoch: int) -> None:
        """Draw the order of an epoch, 0 is the first.

        To be called as each begins: Keras itself calls ``on_epoch_end`` more often than epochs end.
        """
        order = np.random.default_rng([self._settings.seed, epoch]).permutation(len(self._rows))
        self._drawn = epoch, order  # at once: Keras may still be reading ahead in another thread

    def __len__(self) -> int:
        return steps_per_epoch(len(self._rows), self._settings.batch)

    def __getitem__(self, index: int) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.float32]]:
        epoch, order = self._drawn
        batch = order[index * self._settings.batch : (index + 1) * self._settings.batch]
        rng = np.random.default_rng([self._settings.seed, epoch, index])
        images = augment(self._images[self._rows[batch]], rng, self._settings.augmentation)
        return images[..., None], self._targets[batch], self._weights[batch]


def steps_per_epoch(pictures: int, batch: int) -> int:
    """Whole batches in an epoch; one where there are fewer pictures than a batch takes."""
    return max(1, pictures // batch)


def soft_targets(dataset: Dataset, rows: NDArray[np.intp], settings: FitSettings) -> NDArray[np.float32]:
    """Return targets [n, 5] that sum to 1: label and votes mixed, then smoothed."""
    target = np.eye(len(EMOTIONS), dtype=np.float32)[dataset.labels[rows]]
    if dataset.votes is not None:
        votes = dataset.votes[rows]
        voted = votes.sum(axis=1, keepdims=True) > 0
        mixed = (1 - settings.vote_share) * target + settings.vote_share * votes
        target = np.where(voted, mixed, target)
    smoothing = settings.label_smoothing
    return np.asarray((1 - smoothing) * target + smoothing / len(EMOTIONS), dtype=np.float32)


def square_root_weights(labels: NDArray[np.int8]) -> NDArray[np.float32]:
    """Return a weight a picture: the inverse square root of its class's size, mean 1."""
    counts = np.bincount(labels, minlength=len(EMOTIONS)).astype(np.float64)
    weights = 1 / np.sqrt(np.maximum(counts, 1))
    chosen = weights[labels]
    return np.asarray(chosen / chosen.mean(), dtype=np.float32)
