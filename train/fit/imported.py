"""Make a complete run folder of a network that was trained elsewhere. Importing this module loads Keras."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import keras

from edge.emotions import EMOTIONS
from edge.errors import DataError
from train.data.dataset import Dataset
from train.files import write_json
from train.fit.calibration import Calibration
from train.fit.result import describe, predict, save
from train.metrics import summarise
from train.networks.plain import load_arrays
from train.run_folder import begin_run

MOST_CNN_PARAMETERS = 1_000_000
"""A network with more is imported as ``vgg`` unless told otherwise: an int8 CNN has at most 1 MB."""


def import_network(
    arrays: Path,
    dataset: Dataset,
    run: Path,
    *,
    kind: Literal["cnn", "vgg"] | None = None,
    temperature: float = 1.0,
    origin: str | None = None,
    report: Callable[[str], None] = lambda _line: None,
) -> keras.Model:
    """Write ``model.keras`` with the weights of an ``.npz`` file, and ``result.json``.

    The weights are taken as they are, but for ``temperature``, which divides the logits. Calibration on the validation
    part, as after a training, would be wrong: the network may have been trained on those pictures. For the same reason
    its figures on them are too good.

    ``arrays``: as `train.networks.plain.load_arrays` reads them.
    ``kind``: network of a bundle that it is exported as; None: by its size.
    ``origin``: how it was trained, for the model card.
    Raises `UsageError`: the run folder holds a run.
    Raises `DataError`: the file is missing or damaged, or the validation part is empty.
    """
    if not len(dataset.select("validation")):
        raise DataError("the validation part of the data set is empty")
    model = load_arrays(arrays, name="device_cnn")
    chosen = kind or ("cnn" if model.count_params() <= MOST_CNN_PARAMETERS else "vgg")
    if chosen == "vgg":
        model = load_arrays(arrays, name="vgg_plain")
    Calibration(temperature, (0.0,) * len(EMOTIONS)).apply(model.layers[-1])
    digest = hashlib.sha256(arrays.read_bytes()).hexdigest()
    settings = {"imported": {"file": arrays.name, "sha256": digest, "temperature": temperature, "origin": origin}}
    described = describe(model, dataset, settings)
    begin_run(run, described, result="model.keras")
    validation = dataset.labels[dataset.select("validation")]
    result = summarise(predict(model, dataset, "validation"), validation)
    note = "the imported network may have been trained on these pictures, which makes the figures too good"
    write_json(run / "result.json", {"validation": result.as_dict() | {"note": note}, **described})
    save(model, run / "model.keras")
    report(f"{arrays.name}: {model.count_params():,} parameters, imported as {chosen}")
    report(f"validation figures: {note}")
    return model
