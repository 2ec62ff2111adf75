"""``python -m train adapt``: a network for the faces and the camera of one household."""

import json
from pathlib import Path
from typing import Annotated

import typer

from train.cli.options import DATA, DataOption, JsonOption, RunOption, SeedOption, say
from train.cli.training import run_training
from train.data.dataset import Dataset


def adapt(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Pictures in folders named angry, happy and so on.")],
    data: DataOption = DATA,
    model: Annotated[
        Path, typer.Option(metavar="MODEL", help="Bundle with an int8 cnn, run folder or .keras file to start from.")
    ] = Path("models/default"),
    run_folder: RunOption = Path("runs/adapted"),
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Adapt a network to the faces and the camera of one household, with a few dozen pictures.

    Pictures of 48x48 are taken for chips; in others the largest face is found as the device finds it. The network
    learns the camera's look from pictures of the training part that are given it, then, if that helps, the dense layer
    learns from the household's. Each fifth of them is held out once: nothing is written if the held-out ones are not
    recognised better, or the test part of the data set is recognised worse by more than a point.

    For example:

    - `python -m train adapt my-faces/`
    - `python -m train adapt my-faces/ --model runs/cnn-device --run runs/mine`
    - `python -m export --quantize --model runs/adapted --out models/mine --sign bundle-key.pem`
    """
    from train.data.chips import read_chips

    def work(dataset: Dataset, _distribution: object) -> None:
        from train.fit.adapt import AdaptSettings
        from train.fit.adapt import adapt as adapt_network

        chips = read_chips(folder, report=say)
        settings = AdaptSettings(seed=seed)
        found = adapt_network(model, chips, dataset, run_folder, settings, report=say)
        figures = {
            name: {"n": before.n, "before": before.balanced_accuracy, "after": after.balanced_accuracy}
            for name, (before, after) in (("held_out", found.held_out), ("test", found.test))
        }
        if as_json:
            print(
                json.dumps({"run": str(run_folder), "temperature": found.temperature, "share": found.share, **figures})
            )
        for name, figure in figures.items():
            shares = f"{figure['before']:.1%} before, {figure['after']:.1%} after"
            say(f"{name.replace('_', '-')} ({figure['n']:,} pictures), balanced: {shares}")
        say(f"the dense layer {'learned from the household' if found.share else 'was not fitted to the household'}")

    run_training(work, data, run_folder, resumes=False)
