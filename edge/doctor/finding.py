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
