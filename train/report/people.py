"""Measure people: how well the votes of ten people (FER+) predict the labels of FER2013."""

import numpy as np
from numpy.typing import NDArray

from edge.emotions import EMOTIONS
from train.data.dataset import Dataset


def score_by_votes(dataset: Dataset, part: str) -> NDArray[np.float32] | None:
    """Score the pictures of a part by their votes alone, as people would who know what labels mostly say.

    Votes are read by the labels that went with such votes in the training part (gradient-boosted trees, each emotion
    counted alike): people call a face neutral more often than labels do, and the top vote alone is right less often.

    Returns
    -------
    float32 [n, 5] in the order of `Dataset.select`, rows sum to 1; None where the data set has no votes, or some
    emotion is not in its training part.
    """
    rows, shown = dataset.select("train"), dataset.select(part)
    if dataset.votes is None or len(np.unique(dataset.labels[rows])) < len(EMOTIONS):
        return None
    from sklearn.ensemble import HistGradientBoostingClassifier  # 0.5 s that other commands need not wait

    trees = HistGradientBoostingClassifier(
        learning_rate=0.05,
        max_iter=200,
        max_leaf_nodes=15,
        l2_regularization=1.0,
        class_weight="balanced",
        early_stopping=False,
        random_state=0,
    )
    trees.fit(dataset.vote_shares(rows), dataset.labels[rows])
    return np.asarray(trees.predict_proba(dataset.vote_shares(shown)), dtype=np.float32)
