"""What a check found."""

from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "warning", "problem", "skipped"]


@dataclass(frozen=True, slots=True)
class Finding:
    """The outcome of one check; no text in it holds a secret."""

    check: str
    """what was looked at, a word or two"""
    status: Status
    """`problem`: it will not work like this; `warning`: it works, and not as well as it could"""
    found: str
    """what is so"""
    advice: str = ""
    """what to do; empty where there is nothing to do"""
