"""The result of a check."""

from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "warning", "problem", "skipped"]


@dataclass(frozen=True, slots=True)
class Finding:
    """The outcome of one check; no text in it holds a secret."""

    check: str
    """name of the check, a word or two"""
    status: Status
    """`problem`: the device will not work; `warning`: it works, but not well"""
    found: str
    """what was found"""
    advice: str = ""
    """what to do; empty if nothing"""
    symptom: str | None = None
    """section of docs/troubleshooting.md that says more, by its anchor; None only if all is well"""

    def __post_init__(self) -> None:
        if self.status != "ok" and self.symptom is None:
            raise ValueError(f"{self.check}: a finding that is not ok needs a symptom: {self.found}")

    @property
    def page(self) -> str:
        """The section of the documentation about this finding; empty if there is nothing to say."""
        return f"docs/troubleshooting.md#{self.symptom}" if self.symptom else ""
