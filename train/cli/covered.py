"""``python -m train covered``: the detector of faces whose lower half is covered."""

import json
from pathlib import Path
from typing import Annotated

import typer

from train.cli.options import JsonOption, say


def covered(
    data: Annotated[Path, typer.Argument(metavar="NPZ", help="images uint8 [n, h, w] and points [n, 68, 2].")],
    empty: Annotated[Path, typer.Option("--without-faces", metavar="FOLDER", help="Pictures that show no face.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="Detector to write; its manifest goes beside it.")] = Path(
        "models/covered/covered.svm"
    ),
    threads: Annotated[int, typer.Option(min=1, help="Threads to train with.")] = 2,
    as_json: JsonOption = False,
) -> None:
    """Train the detector of masked and half covered faces, and measure it on held-out ones.

    For example:

    - `python -m train covered landmarks68.npz --without-faces wallpapers`
    """
    from train.classic.covered import CoveredSettings, load_empty, train_covered
    from train.classic.landmarks import load_landmark_data

    report = (lambda _line: None) if as_json else say
    settings = CoveredSettings(threads=threads)
    manifest = train_covered(load_landmark_data(data), load_empty(empty), out, settings, report=report)
    if as_json:
        print(json.dumps(manifest))
        return
    figures = manifest["held_out"]
    say(
        f"{out}: {manifest['bytes'] / 1e3:.0f} kB; {figures['found']:.0%} of {figures['faces']} held-out faces found, "
        f"{figures['false_alarms']} false alarms on {figures['pictures_without_faces']} pictures without a face"
    )
