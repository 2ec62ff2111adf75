"""The result of a check."""

from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "warning", "problem", "skipped"]
Symptom = Literal[
    "32-bit-system",
    "birth-message-not-readable",
    "black-picture",
    "broker-lets-anybody-in",
    "broker-name-not-resolved",
    "broker-not-there",
    "broker-refuses-the-login",
    "broker-settings-wrong",
    "camera-does-not-open",
    "camera-in-use",
    "camera-not-readable",
    "camera-rights-not-checked",
    "certificate-not-accepted",
    "check-broke",
    "clock-hidden-from-the-service",
    "clock-not-synchronised",
    "device-name-taken",
    "device-not-announced",
    "disk-full",
    "disk-nearly-full",
    "heat-and-power-not-reported",
    "home-assistant-does-not-listen",
    "home-assistant-login-refused",
    "home-assistant-may-not-read",
    "home-assistant-not-checked",
    "models-refused",
    "no-camera-connected",
    "no-network",
    "no-outbox",
    "no-picture",
    "no-state-folder",
    "outbox-of-a-newer-version",
    "outbox-of-an-older-version",
    "package-not-loaded",
    "password-unencrypted",
    "picture-turned",
    "privacy-pause",
    "program-not-readable",
    "service-failed",
    "service-not-installed",
    "service-not-running",
    "service-not-started-at-boot",
    "service-restarted",
    "setting-wrong",
    "settings-not-readable",
    "slowed-down",
    "slowed-down-earlier",
    "state-folder-not-writable",
    "state-folder-of-another-user",
    "systemd-does-not-answer",
    "too-little-voltage",
    "user-missing",
    "user-not-in-the-group-video",
]
"""Anchors of docs/troubleshooting.md: a section for each symptom, and for each section a finding."""


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
    symptom: Symptom | None = None
    """where docs/troubleshooting.md says more; None only if all is well"""

    def __post_init__(self) -> None:
        if self.status != "ok" and self.symptom is None:
            raise ValueError(f"{self.check}: a finding that is not ok needs a symptom: {self.found}")

    @property
    def page(self) -> str:
        """The section of the documentation about this finding; empty if there is nothing to say."""
        return f"docs/troubleshooting.md#{self.symptom}" if self.symptom else ""
