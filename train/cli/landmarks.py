"""``python -m train landmarks``: the 68-point predictor."""

import json
from pathlib import Path
from typing import Annotated

import typer

from train.cli.options import JsonOption, say


def landmarks(
    data: Annotated[Path, typer.Argument(metavar="NPZ", help="images uint8 [n, h, w] and points [n, 68, 2].")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="Predictor to write; its manifest goes beside it.")] = Path(
        "models/landmarks/landmarks68.dat"
    ),
    trees: Annotated[int, typer.Option(min=1, help="Trees of each cascade; the file grows with them.")] = 73,
    cascades: Annotated[int, typer.Option(min=1, help="Cascades; each corrects the one before.")] = 15,
    threads: Annotated[int, typer.Option(min=1, help="Threads to train with.")] = 2,
    as_json: JsonOption = False,
) -> None:
    """Train the 68-point predictor and measure it on a held-out fifth.

    For example:

    - `python -m train landmarks landmarks68.npz`
    - `python -m train landmarks landmarks68.npz --out /tmp/small.dat --trees 10 --cascades 5`
    """
    from train.classic.landmarks import LandmarkSettings, load_landmark_data, train_landmarks

    settings = LandmarkSettings(trees=trees, cascades=cascades, threads=threads)
    report = (lambda _line: None) if as_json else say
    manifest = train_landmarks(load_landmark_data(data), out, settings, report=report)
    if as_json:
        print(json.dumps(manifest))
        return
    figures = manifest["held_out"]
    say(
        f"{out}: {manifest['bytes'] / 1e6:.1f} MB; on {figures['found_by_detector']} held-out faces the mean error is "
        f"{figures['mean_error']:.2%} of the outer-eye distance (median {figures['median_error']:.2%}); the detector "
        f"missed {figures['faces'] - figures['found_by_detector']} more"
    )
