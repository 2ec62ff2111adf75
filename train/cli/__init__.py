"""``python -m train``: the commands of the workstation. Each loads what it needs when it runs, not before."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from edge.cli.support import make_app, run
from edge.errors import UsageError
from train.cli.all import train_all
from train.cli.features import knn, mlp
from train.cli.vgg import MixOption, ViewsOption, demand_teacher, vgg
from train.fit.settings import TAUGHT, FitSettings

if TYPE_CHECKING:
    from train.data.dataset import Dataset

DATA = Path("data/fer2013.npz")
DEFAULTS = FitSettings()

DataOption = Annotated[Path, typer.Option(metavar="FILE", help="Prepared data set.")]

ResumeOption = Annotated[bool, typer.Option("--resume", help="Go on with the run of this folder.")]
DistributeOption = Annotated[
    Literal["none", "mirrored", "multiworker"],
    typer.Option(help="Share the work out: over the GPUs of this machine, or over the machines of TF_CONFIG."),
]

app = make_app("Prepare data, train networks, and measure them on held-out pictures.")


def main() -> None:
    """Run the command line and exit."""
    sys.exit(run(app, name="python -m train"))


@app.command()
def prepare(
    source: Annotated[
        Path,
        typer.Argument(metavar="SOURCE", help="fer2013.csv (Kaggle), ferdata.csv (article), or a folder by class."),
    ],
    out: Annotated[Path, typer.Option(metavar="FILE", help="Data set to write.")] = DATA,
    ferplus: Annotated[Path | None, typer.Option(metavar="CSV", help="FER+ votes for the rows of fer2013.csv.")] = None,
    bad_rows: Annotated[
        Literal["skip", "fail"], typer.Option(help="What to do with a row or file that holds no picture.")
    ] = "skip",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Read a CSV file or a folder of faces, check every one, split them, and write one data set.

    For example:

    - `python -m train prepare fer2013.csv --ferplus fer2013new.csv`
    - `python -m train prepare ferdata.csv --out data/article.npz --bad-rows fail`
    - `python -m train prepare my-faces/ --out data/mine.npz` with my-faces/angry/, my-faces/happy/ and so on
    """
    from train.cli.prepare import prepare_and_report

    prepare_and_report(source, out, ferplus=ferplus, bad_rows=bad_rows, as_json=as_json)


@app.command()
def cnn(
    *,
    data: DataOption = DATA,
    run_folder: Annotated[
        Path | None, typer.Option("--run", metavar="FOLDER", help="Where the run is kept; runs/cnn-ARCH otherwise.")
    ] = None,
    arch: Annotated[
        Literal["device", "article"], typer.Option(help="Ours for the device, or the article's.")
    ] = "device",
    filters: Annotated[int, typer.Option(min=1, help="Filters of --arch article; the article had 5000.")] = 128,
    width: Annotated[
        float,
        typer.Option(min=0.25, max=4.0, help="Channels of --arch device, as a share of what ships; wide ones teach."),
    ] = 1.0,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the training part.")] = DEFAULTS.epochs,
    batch: Annotated[int, typer.Option(min=2, help="Pictures a step.")] = DEFAULTS.batch,
    teacher: Annotated[
        list[Path] | None,
        typer.Option(metavar="MODEL", help="A model whose scores are learned too; several are averaged."),
    ] = None,
    views: ViewsOption = DEFAULTS.views,
    mix: MixOption = DEFAULTS.mix_share,
    start: Annotated[
        Path | None, typer.Option(metavar="MODEL", help="Run or bundle (int8) whose weights it begins with.")
    ] = None,
    rate: Annotated[
        float, typer.Option(min=1e-5, max=1.0, help="Highest learning rate; less where weights are to be kept.")
    ] = DEFAULTS.peak_learning_rate,
    seed: Annotated[int, typer.Option(min=0, help="Everything random is drawn from it.")] = DEFAULTS.seed,
    resume: ResumeOption = False,
    distribute: DistributeOption = "none",
) -> None:
    """Train the residual CNN that runs on the device, or the CNN of the article.

    A checkpoint is written after each epoch: Ctrl-C or a crash loses at most one. Go on with the same command and
    `--resume`. The Keras backend is TensorFlow unless `KERAS_BACKEND` names another.

    For example:

    - `python -m train cnn`
    - `python -m train cnn --run runs/short --epochs 20 --seed 1`
    - `python -m train cnn --run runs/short --epochs 20 --seed 1 --resume`
    - `python -m train cnn --teacher runs/vgg --teacher runs/cnn-device --run runs/cnn-taught`
    - `python -m train cnn --width 2 --run runs/cnn-wide`
    - `python -m train cnn --arch article --filters 64 --epochs 20`
    - `TF_CONFIG=... python -m train cnn --distribute multiworker`
    """
    from train.cli.cnn import train_cnn

    if arch != "device" and width != 1:
        raise UsageError("--width is for --arch device; --filters makes the article's CNN wider")
    demand_teacher(teacher, views, mix)
    settings = FitSettings(epochs=epochs, batch=batch, seed=seed, peak_learning_rate=rate)
    if teacher:
        settings = replace(settings, views=views, mix_share=mix, **TAUGHT)
    train_cnn(
        data, run_folder, settings, arch=arch, filters=filters, width=width, teachers=teacher or (), start=start,
        resume=resume, distribute=distribute, say=_say,
    )  # fmt: skip


@app.command()
def average(
    models: Annotated[
        list[Path], typer.Argument(metavar="MODEL...", help="Run folders or .keras files, two at least.")
    ],
    run_folder: Annotated[Path, typer.Option("--run", metavar="FOLDER", help="Where the mean is kept.")],
    data: DataOption = DATA,
) -> None:
    """Make one network of several that began with the same weights: the mean of their weights.

    It is calibrated and measured on the validation part, and costs no more than one. Networks that were trained apart
    have no mean worth having.

    For example:

    - `python -m train cnn --start runs/cnn-device --teacher runs/vgg --rate 0.08 --epochs 28 --run runs/cnn-further`
    - `python -m train average runs/cnn-device runs/cnn-further --run runs/cnn-mean`
    """
    from train.cli.training import run_training

    def work(dataset: "Dataset", _distribution: object) -> None:
        from train.fit.average import average as average_weights

        average_weights(models, dataset, run_folder, report=_say)

    run_training(work, data, run_folder, say=_say)


@app.command()
def report(
    run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a complete run.")],
    data: DataOption = DATA,
    part: Annotated[Literal["test", "validation"], typer.Option(help="Held-out part to measure on.")] = "test",
    flip: Annotated[bool, typer.Option("--flip", help="Average over each picture and its mirror image.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Write a page about a run: report.html and PNGs, in its folder.

    Learning curves, confusion, recall, calibration, the surest mistakes, and the article beside it. Each training
    ends with one on the validation part; this writes it anew, on the test part unless told otherwise.

    For example:

    - `python -m train report runs/cnn-device`
    - `python -m train report runs/cnn-device --part validation --json`
    """
    import json

    from train.data.dataset import landmark_cache, load_dataset
    from train.report.page import write_report

    cache = landmark_cache(data)
    written = write_report(run_folder, load_dataset(data), part=part, flip=flip, cache=cache)
    if as_json:
        pictures = [str(path) for path in written.pictures]
        print(json.dumps({"page": str(written.page), "pictures": pictures, "part": part} | written.summary.as_dict()))
    else:
        _say(f"{written.page} and {len(written.pictures)} pictures beside it, on the {part} part")


@app.command()
def landmarks(
    data: Annotated[Path, typer.Argument(metavar="NPZ", help="images uint8 [n, h, w] and points [n, 68, 2].")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="Predictor to write; its manifest goes beside it.")] = Path(
        "models/landmarks/landmarks68.dat"
    ),
    trees: Annotated[int, typer.Option(min=1, help="Trees of each cascade; the file grows with them.")] = 73,
    cascades: Annotated[int, typer.Option(min=1, help="Cascades, each mending what the one before left.")] = 15,
    threads: Annotated[int, typer.Option(min=1)] = 2,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Train the 68-point predictor and measure it on a held-out fifth.

    For example:

    - `python -m train landmarks landmarks68.npz`
    - `python -m train landmarks landmarks68.npz --out /tmp/small.dat --trees 10 --cascades 5`
    """
    import json

    from train.classic.landmarks import LandmarkSettings, load_landmark_data, train_landmarks

    settings = LandmarkSettings(trees=trees, cascades=cascades, threads=threads)
    report = (lambda _line: None) if as_json else _say
    manifest = train_landmarks(load_landmark_data(data), out, settings, report=report)
    if as_json:
        print(json.dumps(manifest))
        return
    figures = manifest["held_out"]
    _say(
        f"{out}: {manifest['bytes'] / 1e6:.1f} MB; on {figures['found_by_detector']} held-out faces the mean error is "
        f"{figures['mean_error']:.2%} of the outer-eye distance (median {figures['median_error']:.2%}); the detector "
        f"missed {figures['faces'] - figures['found_by_detector']} more"
    )


@app.command()
def evaluate(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="Run folder, .keras file or bundle folder.")],
    data: DataOption = DATA,
    part: Annotated[Literal["test", "validation"], typer.Option(help="Held-out part to measure on.")] = "test",
    flip: Annotated[bool, typer.Option("--flip", help="Average over each picture and its mirror image.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure a model on pictures that it has not seen.

    For example:

    - `python -m train evaluate runs/cnn-device`
    - `python -m train evaluate models/default --part validation --json`
    """
    from train.cli.evaluate import evaluate_and_report

    evaluate_and_report(model, data, part=part, flip=flip, as_json=as_json)


app.command()(knn)
app.command()(mlp)
app.command()(vgg)
app.command("all")(train_all)


def _say(line: str) -> None:
    print(line, flush=True)
