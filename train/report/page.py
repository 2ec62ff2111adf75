"""The report of a run: one HTML page with its pictures inside, and the pictures as PNG files.

It stays in the run folder, which is not committed: it shows pictures of the data set.
"""

import base64
import io
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure

from edge.errors import DataError
from train.data.dataset import Dataset
from train.files import replacing
from train.metrics import Summary, reliability, summarise
from train.report import plots
from train.report.references import ARTICLE, CAVEAT, HUMANS
from train.run_folder import read_curves, read_json
from train.scoring import score


@dataclass(frozen=True, slots=True)
class Report:
    """What was written, and the figures in it."""

    page: Path
    pictures: tuple[Path, ...]
    part: str
    summary: Summary


def write_report(run: Path, dataset: Dataset, *, part: str, flip: bool = False, cache: Path | None = None) -> Report:
    """Measure a complete run on a part of the data and write ``report.html`` and ``report-*.png`` into its folder.

    Raises `DataError`: there is no complete run, or the part is empty.

    ``run``: folder of any kind of run; curves are shown if it has some.
    ``flip``: average each picture's scores with those of its mirror image.
    ``cache``: file that keeps the pictures' landmarks, for models that look at those (`train.data.landmarks`).
    """
    if not run.is_dir():
        raise DataError(f"{run}: no such run folder")
    rows = dataset.select(part)
    if not len(rows):
        raise DataError(f"the {part} part of the data set holds no picture of the five emotions")
    images, labels = dataset.images[rows], dataset.labels[rows]
    scores = score(run, images, flip=flip, cache=cache)
    summary = summarise(scores, labels)
    right = scores.argmax(axis=1) == labels
    curves = read_curves(run)
    figures: dict[str, tuple[str, Figure]] = {}
    if curves:
        figures["curves"] = ("Learning curves", plots.draw_curves(curves))
    figures["comparison"] = ("Beside the article and people", plots.draw_comparison(run.name, summary))
    figures["confusion"] = ("What is taken for what", plots.draw_confusion(summary))
    figures["recall"] = ("Recall of each emotion", plots.draw_recall(summary))
    bins = reliability(scores.max(axis=1), right)
    figures["reliability"] = (
        "Is it as sure as it should be?",
        plots.draw_reliability(bins, summary.expected_calibration_error),
    )
    if not right.all():
        figures["mistakes"] = ("The surest mistakes", plots.draw_mistakes(images, labels, scores))
    for stale in run.glob("report-*.png"):
        stale.unlink()
    inline, written = [], []
    for name, (title, figure) in figures.items():
        png = _png(figure)
        path = run / f"report-{name}.png"
        path.write_bytes(png)
        written.append(path)
        inline.append({"name": name, "title": title, "png": base64.b64encode(png).decode("ascii")})
    page = run / "report.html"
    report = Report(page, tuple(written), part, summary)
    with replacing(page) as partial:
        partial.write_text(_render(report, dataset, flip=flip, inline=inline), encoding="utf-8")
    return report


def _render(report: Report, dataset: Dataset, *, flip: bool, inline: list[dict[str, str]]) -> str:
    run = report.page.parent
    curves = read_curves(run)
    found = {name: read_json(run / name) if (run / name).is_file() else {} for name in ("settings.json", "result.json")}
    settings, chosen = found["settings.json"], found["result.json"].get("chosen") or {}
    if chosen.get("balanced_accuracy") is not None:  # else there was only one choice, which is in the settings
        settings["chosen by cross-validation"] = chosen
    fingerprint = dataset.fingerprint()
    trained_on = settings.get("data_fingerprint")
    environment = Environment(loader=PackageLoader("train.report"), autoescape=True, undefined=StrictUndefined)
    return environment.get_template("report.html.j2").render(
        run=run.name,
        part=report.part,
        flip=flip,
        summary=report.summary,
        references=[*ARTICLE, HUMANS],
        caveat=CAVEAT,
        epochs=curves[-1]["epoch"] if curves else None,
        pictures=inline,
        fingerprint=fingerprint,
        other_data=trained_on is not None and trained_on != fingerprint,
        settings=list(_flat(settings)),
    )


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()


def _flat(value: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, inner in value.items():
        if isinstance(inner, dict):
            yield from _flat(inner, f"{prefix}{key}.")
        else:
            rounded = inner if not isinstance(inner, float) or math.isinf(inner) else f"{inner:g}"
            yield f"{prefix}{key}", str(rounded)
