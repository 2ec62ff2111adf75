"""`emotion-edge report`: what a record holds of a day or a week, as a picture, a page or a table."""

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from edge.errors import UsageError


def report(
    source: Annotated[str, typer.Option("--from", help="What `collect` wrote: a database or a file.")] = "events.db",
    day: Annotated[str, typer.Option(help="A date, 2026-11-27.")] = "",
    week: Annotated[str, typer.Option(help="A week, 2026-W48, or any date in it.")] = "",
    out: Annotated[Path, typer.Option(help="Folder for the picture and the page.")] = Path("out"),
    timezone: Annotated[str, typer.Option(help="Zone of the day, Europe/Berlin; default: this machine's.")] = "",
    device: Annotated[str, typer.Option(help="One device; default: all.")] = "",
    shape: Annotated[
        Literal["files", "table"],
        typer.Option("--format", help="files: a PNG and an HTML file; table: on the terminal."),
    ] = "files",
) -> None:
    """Draw a day or a week: emotions, people in view, visits, and what is missing."""
    from edge.record import period
    from edge.record.database import open_engine
    from edge.record.page import headline, html, table
    from edge.record.summary import summarize

    if bool(day) == bool(week):
        raise UsageError("name either --day or --week")
    zone = period.find_zone(timezone)
    chosen = period.day(day, zone) if day else period.week(week, zone)
    engine = open_engine(source)
    try:
        found = summarize(engine, chosen, device=device)
    finally:
        engine.dispose()
    if shape == "table":
        Console().print(table(found))
        return
    from edge.record.drawing import draw

    picture = draw(found)
    out.mkdir(parents=True, exist_ok=True)
    (out / f"report-{chosen.title}.png").write_bytes(picture)
    page = out / f"report-{chosen.title}.html"
    page.write_text(html(found, picture), encoding="utf-8")
    typer.echo(f"{headline(found)}\n{page}")
