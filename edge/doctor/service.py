"""The service on this machine, as `systemd/install.sh` puts it there: is it installed, does it run, what it may use."""

import grp
import os
import pwd
import subprocess
from dataclasses import dataclass
from pathlib import Path

import msgspec

from edge.doctor.finding import Finding, Status
from edge.settings import Settings

NAME = "emotion-edge"
"""of the unit, and of the user that it runs as"""
UNIT = Path("/etc/systemd/system/emotion-edge.service")
PASSWORD = Path("/etc/emotion-edge/mqtt-password")
"""where the unit's credential comes from"""
STATE = Path("/var/lib/emotion-edge")
"""the unit's StateDirectory, which systemd makes at the first start"""
_LOCAL_CAMERAS = ("picamera2:", "v4l2:")
_TIMEOUT_S = 10


@dataclass(frozen=True, slots=True)
class Service:
    """What systemd says of the unit."""

    installed: bool
    enabled: bool = False
    active: bool = False
    state: str = ""
    """``active (running)``, ``failed (exit-code)`` and the like"""
    exit_code: int = 0
    """of the last end"""
    restarts: int = 0
    """since it was last started by hand"""


def look_at_service() -> Service:
    """Ask systemd; a machine without it, or without the unit, has no service."""
    if not UNIT.exists():
        return Service(installed=False)
    wanted = ("ActiveState", "SubState", "Result", "UnitFileState", "ExecMainStatus", "NRestarts")
    command = ["systemctl", "show", NAME, *(f"--property={name}" for name in wanted)]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return Service(installed=True, state="systemd does not answer")
    said = dict(line.partition("=")[::2] for line in answer.splitlines())
    active = said.get("ActiveState", "unknown")
    detail = said.get("Result", "") if active == "failed" else said.get("SubState", "")
    return Service(
        installed=True,
        enabled=said.get("UnitFileState") == "enabled",
        active=active == "active",
        state=f"{active} ({detail})",
        exit_code=_number(said.get("ExecMainStatus", "")),
        restarts=_number(said.get("NRestarts", "")),
    )


def with_service_password(settings: Settings, password: Path | None = None) -> Settings:
    """Return settings that log in as the service does, where this user may read its password (root may).

    systemd hands the password to the service alone; without this the doctor would try to log in without one.

    Parameters
    ----------
    password
        Where it is, if not where the unit's credential comes from.
    """
    path = password or PASSWORD
    if settings.mqtt.password_file or os.environ.get("CREDENTIALS_DIRECTORY"):
        return settings
    try:
        if not path.read_text(encoding="utf-8").strip("\r\n"):
            return settings
    except (OSError, UnicodeDecodeError):
        return settings
    return msgspec.structs.replace(settings, mqtt=msgspec.structs.replace(settings.mqtt, password_file=str(path)))


def check_service(service: Service) -> Finding:
    """Whether it is installed, runs, and starts with the machine."""
    if not service.installed:
        advice = "to run with the machine: sudo systemd/install.sh"
        return Finding("service", "skipped", "not installed as a service", advice)
    logs = f"why: journalctl -u {NAME} -n 50"
    status: Status = "warning"
    found, advice = service.state, ""
    if service.state.startswith("failed"):
        status, advice = "problem", f"{logs}; mend it, then: sudo systemctl start {NAME}"
        found += f", last exit code {service.exit_code}" if service.exit_code else ""
    elif service.restarts:
        status, advice = "warning" if service.active else "problem", logs
        found += f", restarted {service.restarts} times"
    elif not service.enabled:
        found, advice = f"{found}, does not start with the machine", f"sudo systemctl enable {NAME}"
    elif not service.active:
        advice = f"sudo systemctl start {NAME}"
    else:
        status = "ok"
    return Finding("service", status, found, advice)


def check_group(settings: Settings, service: Service) -> Finding:
    """Whether the user that runs it may open cameras: Pi OS gives them to the group ``video``."""
    if not settings.camera.startswith(_LOCAL_CAMERAS):
        return Finding("camera rights", "skipped", "the camera is no device of this machine")
    try:
        video = grp.getgrnam("video")
    except KeyError:
        return Finding("camera rights", "skipped", "there is no group video on this machine")
    if service.installed:
        user = NAME
    else:
        if os.getuid() == 0:
            return Finding("camera rights", "ok", "root may open any camera")
        user = pwd.getpwuid(os.getuid()).pw_name
    try:
        primary = pwd.getpwnam(user).pw_gid
    except KeyError:
        return Finding("camera rights", "problem", f"there is no user {user}", "run systemd/install.sh again")
    if user in video.gr_mem or primary == video.gr_gid:
        return Finding("camera rights", "ok", f"{user} is in the group video")
    advice = f"sudo usermod -aG video {user}" + ("" if service.installed else ", then log in anew")
    return Finding("camera rights", "problem", f"{user} is not in the group video", advice)


def _number(text: str) -> int:
    return int(text) if text.isdecimal() else 0
