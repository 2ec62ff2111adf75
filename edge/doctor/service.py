"""Checks the service that `systemd/install.sh` installs: is it there, does it run, may it use the camera."""

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
"""Name of the unit, and of the user it runs as."""
UNITS = (Path("/etc/systemd/system/emotion-edge.service"), Path("/usr/lib/systemd/system/emotion-edge.service"))
"""Where the installer and the Debian package put the unit."""
BOOTED = Path("/run/systemd/system")
"""There while systemd runs, see sd_booted(3); not in an image that is being built."""
PASSWORD = Path("/etc/emotion-edge/mqtt-password")
"""File from which the unit loads its credential."""
_SILENT = "systemd does not answer"
_ENABLE = f"sudo systemctl enable {NAME}"
LOCAL_CAMERAS = ("picamera2:", "v4l2:")
_TIMEOUT_S = 10


@dataclass(frozen=True, slots=True)
class Service:
    """What systemd reports about the unit."""

    installed: bool
    enabled: bool = False
    active: bool = False
    state: str = ""
    """``active (running)``, ``failed (exit-code)`` and the like"""
    exit_code: int = 0
    """exit code of the last run"""
    restarts: int = 0
    """restarts since it was last started by hand"""
    booted: bool = True
    """False if systemd does not run here: all else but ``enabled`` is unknown"""


def read_service() -> Service:
    """Ask systemd about the unit; without systemd or the unit there is no service."""
    if not any(unit.exists() for unit in UNITS):
        return Service(installed=False)
    wanted = ("ActiveState", "SubState", "Result", "UnitFileState", "ExecMainStatus", "NRestarts")
    try:
        if not BOOTED.is_dir():
            return Service(installed=True, enabled=_systemctl("is-enabled", NAME).strip() == "enabled", booted=False)
        answer = _systemctl("show", NAME, *(f"--property={name}" for name in wanted))
    except (OSError, subprocess.TimeoutExpired):
        return Service(installed=True, state=_SILENT)
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
    """Return settings that log in with the service's password, if this user may read it (root may).

    systemd gives the password to the service alone, so the doctor would otherwise log in without one.

    ``password``: its file, if not the one the unit loads.
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
    """Check that the service is installed, runs, and starts at boot."""
    if not service.installed:
        advice = "to start it at boot: sudo systemd/install.sh"
        return Finding("service", "skipped", "not installed as a service", advice, "service-not-installed")
    if not service.booted:
        found = f"{'starts' if service.enabled else 'does not start'} at boot; systemd is not running here"
        if service.enabled:
            return Finding("service", "ok", found)
        return Finding("service", "warning", found, _ENABLE, "service-not-started-at-boot")
    if service.state == _SILENT:
        return Finding("service", "warning", _SILENT, f"systemctl status {NAME}", "systemd-does-not-answer")
    logs = f"why: journalctl -u {NAME} -n 50"
    status: Status = "warning"
    symptom: str | None = None
    found, advice = service.state, ""
    if service.state.startswith("failed"):
        status, symptom = "problem", "service-failed"
        advice = f"{logs}; fix it, then: sudo systemctl start {NAME}"
        found += f", last exit code {service.exit_code}" if service.exit_code else ""
    elif service.restarts:
        status, advice, symptom = "warning" if service.active else "problem", logs, "service-restarted"
        found += f", restarted {service.restarts} times"
    elif not service.enabled:
        found, advice, symptom = f"{found}, does not start at boot", _ENABLE, "service-not-started-at-boot"
    elif not service.active:
        advice, symptom = f"sudo systemctl start {NAME}", "service-not-running"
    else:
        status = "ok"
    return Finding("service", status, found, advice, symptom)


def check_group(settings: Settings, service: Service) -> Finding:
    """Check that the daemon's user may open cameras: on Pi OS, members of the group ``video`` may."""
    if not settings.camera.startswith(LOCAL_CAMERAS):
        found = "the camera is not a device of this machine"
        return Finding("camera rights", "skipped", found, symptom="camera-rights-not-checked")
    try:
        video = grp.getgrnam("video")
    except KeyError:
        found = "there is no group video on this machine"
        return Finding("camera rights", "skipped", found, symptom="camera-rights-not-checked")
    if not service.installed:
        return _own_rights(video)
    try:
        primary = pwd.getpwnam(NAME).pw_gid
    except KeyError:
        found = f"there is no user {NAME}"
        return Finding("camera rights", "problem", found, "run systemd/install.sh again", "user-missing")
    if NAME in video.gr_mem or primary == video.gr_gid:
        return Finding("camera rights", "ok", f"{NAME} is in the group video")
    found, advice = f"{NAME} is not in the group video", f"sudo usermod -aG video {NAME}"
    return Finding("camera rights", "problem", found, advice, "user-not-in-the-group-video")


def _own_rights(video: grp.struct_group) -> Finding:
    if os.getuid() == 0:
        return Finding("camera rights", "ok", "root may open any camera")
    try:
        user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container's user may be a number alone
        user = str(os.getuid())
    if video.gr_gid in (os.getegid(), *os.getgroups()):
        return Finding("camera rights", "ok", f"{user} is in the group video")
    found = f"{user} is not in the group video"
    advice = f"sudo usermod -aG video {user}, then log in again; for a container: --group-add {video.gr_gid}"
    return Finding("camera rights", "problem", found, advice, "user-not-in-the-group-video")


def _systemctl(*arguments: str) -> str:
    command = ["systemctl", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False).stdout


def _number(text: str) -> int:
    return int(text) if text.isdecimal() else 0
