"""Average the weights of several networks into one.

Networks that started training from the same weights usually have a mean that is at least as accurate as each of them
(model soups, Wortsman et al. 2022, arXiv:2203.05482), at the cost of one. The mean of networks that were trained
independently is useless. The result is calibrated and measured on the validation part, like any other.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import keras
import numpy as np

from edge.errors import DataError, UsageError
from train.data.dataset import Dataset
from train.fit.result import complete, describe
from train.fit.settings import FitSettings
from train.fit.teacher import identify
from train.networks.backend import load_network
from train.run_folder import begin_run, read_fingerprint


def average(
    models: Sequence[Path], dataset: Dataset, run: Path, *, report: Callable[[str], None] = lambda _line: None
) -> keras.Model:
    """Average networks of one architecture into a complete run folder.

    Parameters
    ----------
    models
        Run folders or ``.keras`` files, two at least.
    run
        See `train.run_folder`; it has no curves, since nothing is trained.

    Raises
    ------
    UsageError
        There are fewer than two models, or the run folder holds a run.
    DataError
        A model is missing or damaged, they are not of one architecture, one was trained on another data set, or the
        validation part is empty.
    """
    if len(models) < 2:
        raise UsageError(f"averaging needs two models at least, found {len(models)}")
    if not len(dataset.select("validation")):
        raise DataError("the validation part of the data set is empty")
    networks = [load_network(model) for model in models]
    for path, network in zip(models, networks, strict=True):
        if _layers(network) != _layers(networks[0]):
            raise DataError(f"{path}: has not the layers of {models[0]}")
        if read_fingerprint(path) not in (None, dataset.fingerprint()):
            raise DataError(f"{path}: was trained on another data set; name the right one with --data")
    balance = FitSettings().balance
    described = describe(networks[0], dataset, {"averaged": identify(models), "balance": balance})
    begin_run(run, described, result="model.keras")
    mean = networks[0]
    every = zip(*(network.get_weights() for network in networks), strict=True)
    mean.set_weights([np.mean(weights, axis=0) for weights in every])
    complete(run, mean, dataset, balance, described)
    report(f"the mean of {len(models)} networks is in {run}")
    return mean


def _layers(network: keras.Model) -> list[tuple[str, list[tuple[int, ...]]]]:
    return [(layer.name, [weights.shape for weights in layer.get_weights()]) for layer in network.layers]
