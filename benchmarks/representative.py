"""Compare the pictures that calibrate int8: the data set's crops, chips cut by the device's code, or both.

    python benchmarks/representative.py [RUN] [DATA]

Prints one table: agreement with the float network and balanced accuracy on the validation part, under the first
installed runtime.
"""

import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from edge.inference import available_runtimes
from export.probe import probe
from export.quantize.convert import convert
from export.quantize.representative import representative_chips
from export.sources import open_source
from train.data.dataset import load_dataset
from train.metrics import summarise


def main(model: Path, data: Path) -> None:
    """Convert the network with each set, and compare."""
    dataset = load_dataset(data)
    source = open_source(model)
    validation = dataset.select("validation")
    chips, labels = dataset.images[validation], dataset.labels[validation]
    reference = source.scores(chips).argmax(axis=1)
    both, counts = representative_chips(dataset)
    table = Table(title=f"{source.name}, int8, {len(chips):,} validation pictures", title_justify="left")
    for column in ("calibrated with", "agrees with float", "balanced accuracy"):
        table.add_column(column)
    n = counts["crops"]
    sets = {f"{n} crops": both[:n], f"{len(both) - n} device chips": both[n:], "both": both}
    for name, pictures in sets.items():
        found = probe(convert(source.network, "int8", pictures), "int8", chips, available_runtimes()[0])
        agreement = float((found.scores.argmax(axis=1) == reference).mean())
        table.add_row(name, f"{agreement:.2%}", f"{summarise(found.scores, labels).balanced_accuracy:.2%}")
    Console().print(table)


if __name__ == "__main__":
    given = [Path(argument) for argument in sys.argv[1:]]
    main(*(given + [Path("runs/cnn-device"), Path("data/fer2013.npz")][len(given) :]))
