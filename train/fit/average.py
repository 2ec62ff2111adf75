"""One network in place of several: the mean of their weights.

Trainings that begin with the same weights mostly end where the mean of their weights is at least as good as each (model
soups, Wortsman et al. 2022, arXiv:2203.05482); it costs a device no more than one. Networks that were trained apart
have no such mean. The result is calibrated and measured on the validation part as any other.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import keras
import numpy as np

from edge.errors import DataError, UsageError
from train.data.dataset import Dataset
from train.fit.result import complete, describe_versions
from train.fit.settings import FitSettings
from train.fit.teacher import identify
from train.run_folder import open_run, read_fingerprint
from train.scoring import load_keras


def average(
    models: Sequence[Path], dataset: Dataset, run: Path, *, report: Callable[[str], None] = lambda _line: None
) -> keras.Model:
    """Average networks of one architecture, and leave a complete run folder.

    Parameters
    ----------
    models
        Run folders or ``.keras`` files, two at least.
    run
        See `train.run_folder`; has no curves, since nothing is trained.

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
    networks = [load_keras(model) for model in models]
    for path, network in zip(models, networks, strict=True):
        if _layers(network) != _layers(networks[0]):
            raise DataError(f"{path}: has not the layers of {models[0]}")
        if read_fingerprint(path) not in (None, dataset.fingerprint()):
            raise DataError(f"{path}: was trained on another data set; name the right one with --data")
    balance = FitSettings().balance
    described = {
        "network": {"name": networks[0].name, "parameters": int(networks[0].count_params())},
        "settings": {"averaged": identify(models), "balance": balance},
        "data_fingerprint": dataset.fingerprint(),
        "data": dataset.notes,
        "versions": describe_versions(),
    }
    open_run(run, described, resume=not (run / "model.keras").is_file())  # what was interrupted is done again
    mean = networks[0]
    every = zip(*(network.get_weights() for network in networks), strict=True)
    mean.set_weights([np.mean(weights, axis=0) for weights in every])
    complete(run, mean, dataset, balance, described)
    report(f"the mean of {len(models)} networks is in {run}")
    return mean


def _layers(network: keras.Model) -> list[tuple[str, list[tuple[int, ...]]]]:
    return [(layer.name, [weights.shape for weights in layer.get_weights()]) for layer in network.layers]
