"""``python -m train report``: the page about a run."""

import json
from pathlib import Path
from typing import Annotated

import typer

from train.cli.options import DATA, DataOption, FlipOption, JsonOption, PartOption, say
from train.data.dataset import landmark_cache, load_dataset


def report(
    run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a complete run.")],
    data: DataOption = DATA,
    part: PartOption = "test",
    flip: FlipOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write a page about a run into its folder: report.html and PNGs.

    It shows learning curves, confusion, recall, calibration, the most confident mistakes, and the article's figures
    for comparison. Each training ends with a report on the validation part; this command writes it again, on the test
    part by default.

    For example:

    - `python -m train report runs/cnn-device`
    - `python -m train report runs/cnn-device --part validation --json`
    """
    from train.report.page import write_report

    cache = landmark_cache(data)
    written = write_report(run_folder, load_dataset(data), part=part, flip=flip, cache=cache)
    if as_json:
        pictures = [str(path) for path in written.pictures]
        print(json.dumps({"page": str(written.page), "pictures": pictures, "part": part} | written.summary.as_dict()))
    else:
        say(f"{written.page} and {len(written.pictures)} pictures beside it, on the {part} part")
