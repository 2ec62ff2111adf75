"""Shows findings as a table for people or as JSON for programs."""

import json
from collections.abc import Iterable
from dataclasses import asdict

from rich.markup import escape
from rich.table import Table

from edge.doctor.finding import Finding, Status

_MARKS: dict[Status, str] = {
    "ok": "[green]ok[/green]",
    "warning": "[yellow]warning[/yellow]",
    "problem": "[bold red]problem[/bold red]",
    "skipped": "[dim]skipped[/dim]",
}


def is_fine(findings: Iterable[Finding]) -> bool:
    """Return True if no check found a problem; warnings do not count."""
    return all(finding.status != "problem" for finding in findings)


def as_json(findings: list[Finding]) -> str:
    """Return one object: ``{"ok", "findings": [{"check", "status", "found", "advice", "symptom"}]}``."""
    return json.dumps({"ok": is_fine(findings), "findings": [asdict(finding) for finding in findings]})


def as_table(findings: list[Finding]) -> Table:
    """Return a table with one row per check, the advice under what was found, and where to read more."""
    table = Table(show_edge=False, pad_edge=False, box=None, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding in findings:
        advice = f"\n[cyan]→ {escape(finding.advice)}[/cyan]" if finding.advice else ""
        page = f"\n[dim]{finding.page}[/dim]" if finding.page else ""
        table.add_row(_MARKS[finding.status], finding.check, f"{escape(finding.found)}{advice}{page}")
    return table


def summary(findings: list[Finding]) -> str:
    """Return one line: how many problems and warnings."""
    problems = sum(finding.status == "problem" for finding in findings)
    warnings = sum(finding.status == "warning" for finding in findings)
    if not problems and not warnings:
        return "all is well"
    parts = [(problems, "problem"), (warnings, "warning")]
    return ", ".join(f"{count} {word}{'' if count == 1 else 's'}" for count, word in parts if count)
