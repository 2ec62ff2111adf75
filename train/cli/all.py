"""``python -m train all``: every model of the article and ours, and one table."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from edge.errors import EmotionEdgeError
from train.cli.options import DATA, DataOption, JsonOption
from train.report.references import ARTICLE, CAVEAT, HUMANS


@dataclass(frozen=True, slots=True)
class Step:
    """One model: its title, the folder of its run, and the command that trains it."""

    title: str
    run: str
    arguments: tuple[str, ...]
    """of ``python -m train``; ``{runs}`` stands for the folder of all runs"""
    resumes: bool = True
    """has --resume"""

    def command(self, data: Path, run: Path) -> list[str]:
        """Return the arguments of ``python -m train`` that train this model, or resume its training."""
        given = [argument.replace("{runs}", str(run.parent)) for argument in self.arguments]
        return [*given, "--data", str(data), "--run", str(run), *(["--resume"] if self.resumes else [])]


STEPS = (
    Step("KNN, k = 3, pixels", "knn-pixels",
         ("knn", "--features", "pixels", "--projection", "none", "--neighbors", "3"), resumes=False),
    Step("KNN, k = 3, landmark distances", "knn-article", ("knn", "--projection", "none", "--neighbors", "3"),
         resumes=False),
    Step("KNN, landmark distances, ours", "knn", ("knn",), resumes=False),
    Step("MLP, the article's, pixels", "mlp-pixels", ("mlp", "--features", "pixels", "--recipe", "article")),
    Step("MLP, the article's, landmark distances", "mlp-article", ("mlp", "--recipe", "article")),
    Step("MLP, landmark distances, ours", "mlp", ("mlp",)),
    Step("CNN, the article's at 128 filters", "cnn-article", ("cnn", "--arch", "article", "--epochs", "20")),
    Step("CNN, for the device", "cnn-device", ("cnn",)),
    Step("VGG, eight convolutions", "vgg", ("vgg",)),
    Step("CNN, for the device, taught by it", "cnn-taught", ("cnn", "--teacher", "{runs}/vgg")),
)  # fmt: skip


def train_all(
    *,
    data: DataOption = DATA,
    runs: Annotated[Path, typer.Option(metavar="FOLDER", help="Folder of all runs.")] = Path("runs"),
    as_json: JsonOption = False,
) -> None:
    """Train every model of the article and ours, one after the other, and compare them on the test part.

    Complete runs are kept and interrupted ones resumed: give the same command again. Together they take days on two
    cores and less than an hour on a GPU.

    For example:

    - `python -m train all`
    - `python -m train all --runs /tmp/runs --json`
    """
    for step in STEPS:
        _complete(step, data, runs / step.run)
    figures = {step.title: _measure(data, runs / step.run) for step in STEPS}
    people = _measure_people(data)
    if as_json:
        print(json.dumps({"data": str(data), "models": figures, "people": people}))
    else:
        _print_table(figures, people)


def _complete(step: Step, data: Path, run: Path) -> None:
    """Train one model in a process of its own, which frees its memory and Keras's state."""
    from train.scoring import PICKLES

    if (run / "result.json").is_file() and any((run / name).is_file() for name in ("model.keras", *PICKLES.values())):
        return
    print(f"{step.title}: {run}", file=sys.stderr, flush=True)
    done = subprocess.run([sys.executable, "-m", "train", *step.command(data, run)], stdout=2, check=False)
    if done.returncode:
        raise EmotionEdgeError(f"{step.title} was not trained (exit code {done.returncode}); give the command again")


def _measure(data: Path, run: Path) -> dict[str, Any]:
    from train.data.dataset import landmark_cache, load_dataset
    from train.metrics import summarise
    from train.scoring import score

    dataset = load_dataset(data)
    rows = dataset.select("test")
    scores = score(run, dataset.images[rows], cache=landmark_cache(data))
    return {"run": str(run)} | summarise(scores, dataset.labels[rows]).as_dict()


def _measure_people(data: Path) -> dict[str, Any] | None:
    from train.data.dataset import load_dataset
    from train.metrics import summarise
    from train.report.people import score_by_votes

    dataset = load_dataset(data)
    scores = score_by_votes(dataset, "test")
    return None if scores is None else summarise(scores, dataset.labels[dataset.select("test")]).as_dict()


def _print_table(figures: dict[str, dict[str, Any]], people: dict[str, Any] | None) -> None:
    table = Table(title="balanced accuracy on the test part, without flip averaging", title_justify="left")
    for column in ("model", "share", "95 % interval"):
        table.add_column(column, justify="left" if column == "model" else "right")
    for title, found in figures.items():
        table.add_row(title, *_shares(found))
    table.add_section()
    if people is not None:
        table.add_row("ten people's votes (FER+)", *_shares(people))
    for reference in (*ARTICLE, HUMANS):
        table.add_row(reference.name, reference.words, "")
    console = Console()
    console.print(table)
    console.print(CAVEAT)


def _shares(found: dict[str, Any]) -> tuple[str, str]:
    low, high = found["balanced_accuracy_interval"]
    return f"{found['balanced_accuracy']:.1%}", f"{low:.1%} to {high:.1%}"
