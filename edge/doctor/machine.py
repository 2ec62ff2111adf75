"""Checks of the machine: Python and its packages, disk, clock, temperature and power."""

import importlib
import os
import platform
import pwd
import shutil
import sys
import tempfile
from pathlib import Path

from edge.clock import time_synced
from edge.daemon.machine import Throttling, temperature_c, throttling
from edge.doctor.finding import Finding
from edge.doctor.service import NAME, Service
from edge.errors import ConfigError
from edge.inference.networks import available_runtimes
from edge.mqtt.outbox import FORMAT, stored_format
from edge.settings import Settings, require_state_dir
from edge.settings.types import SERVICE_STATE

LOW_SPACE_BYTES = 200_000_000
"""The outbox at its default bound of 100,000 events takes about half of this."""
NO_SPACE_BYTES = 20_000_000
HOT_C = 80.0
"""The Raspberry Pi's firmware slows the processor down from 80 degrees on (documentation: "Frequency management")."""
_MODULES = {"cv2": "opencv-python-headless", "dlib": "dlib-bin", "numpy": "numpy", "paho.mqtt.client": "paho-mqtt"}


def is_64_bit() -> bool:
    """True if this Python is a 64-bit one; the kernel of 32-bit Pi OS may be either."""
    return sys.maxsize > 2**32


def check_python() -> Finding:
    """Check that the packages can be loaded."""
    if not is_64_bit():
        found = "this is a 32-bit system; emotion-edge needs a 64-bit one"
        return Finding("python", "problem", found, "install the 64-bit Raspberry Pi OS", "32-bit-system")
    missing = []
    for module, package in _MODULES.items():
        try:
            importlib.import_module(module)
        except Exception as error:  # noqa: BLE001 - a package of the wrong processor raises whatever it likes
            missing.append(f"{package} ({' '.join(str(error).split())[:80]})")
    if not available_runtimes():
        missing.append("ai-edge-litert (not installed)")
    if missing:
        found = f"cannot be loaded: {', '.join(missing)}"
        return Finding("python", "problem", found, "install emotion-edge again", "package-not-loaded")
    return Finding("python", "ok", f"Python {platform.python_version()}, {available_runtimes()[0]}")


def check_disk(settings: Settings, service: Service) -> Finding:
    """Check that the outbox can be written and has room."""
    try:
        folder = require_state_dir(settings)
    except ConfigError as error:
        advice = "give state_dir a folder that this user may write"
        return Finding("disk", "problem", str(error), advice, "no-state-folder")
    there = next(path for path in (folder, *folder.absolute().parents) if os.access(path, os.F_OK))
    if there == folder and service.installed and (foreign := _foreign_file(folder)):
        advice = f"sudo chown -R {NAME}: {folder}"
        found = f"{foreign} does not belong to the user {NAME}"
        return Finding("disk", "problem", found, advice, "state-folder-of-another-user")
    try:
        if there == folder:
            with tempfile.NamedTemporaryFile(dir=folder, prefix=".doctor-"):
                pass
        elif not os.access(there, os.W_OK) and not (service.installed and folder == SERVICE_STATE):
            raise PermissionError(13, os.strerror(13))
        free = shutil.disk_usage(there).free
    except OSError as error:
        advice = "give state_dir a folder that this user may write"
        found = f"{folder} cannot be written: {error.strerror}"
        return Finding("disk", "problem", found, advice, "state-folder-not-writable")
    found = f"{free / 1e9:.1f} GB free in {folder}"
    if free < NO_SPACE_BYTES:
        advice = "make room: events cannot be kept while the broker is away"
        return Finding("disk", "problem", found, advice, "disk-full")
    if free < LOW_SPACE_BYTES:
        return Finding("disk", "warning", found, "make room, or lower mqtt.outbox_max_events", "disk-nearly-full")
    return Finding("disk", "ok", found)


def check_outbox(settings: Settings) -> Finding:
    """Check that this version can read the outbox, and say if it will convert it."""
    folder = require_state_dir(settings)
    version = stored_format(folder / "outbox.sqlite3")
    if version is None:
        return Finding("outbox", "skipped", "there is none, or the next start repairs it", symptom="no-outbox")
    if version > FORMAT:
        found = f"a newer emotion-edge made the one in {folder} (format {version}, not {FORMAT})"
        advice = "install that one again, or set another state_dir"
        return Finding("outbox", "problem", found, advice, "outbox-of-a-newer-version")
    if version < FORMAT:
        found = f"the next start converts it to format {FORMAT}, which older versions refuse"
        return Finding("outbox", "ok", found, symptom="outbox-of-an-older-version")
    return Finding("outbox", "ok", f"format {version}")


def check_clock(service: Service) -> Finding:
    """Check that the clock is synchronised, and that the service can know it."""
    if not time_synced():
        advice = "events say time_synced: false; sudo timedatectl set-ntp true, and check the network"
        found = "not synchronised, as far as this machine knows"
        return Finding("clock", "warning", found, advice, "clock-not-synchronised")
    if service.installed and not time_synced(as_service=True):
        advice = (
            "events say time_synced: false; use systemd-timesyncd, or let chronyd (UDP 323) or ntpd (UDP 123) answer "
            "on 127.0.0.1"
        )
        found = "synchronised, but the service cannot know it"
        return Finding("clock", "warning", found, advice, "clock-hidden-from-the-service")
    return Finding("clock", "ok", "synchronised")


def check_heat() -> Finding:
    """Check that the processor is cool and has enough power."""
    celsius, flags = temperature_c(), throttling()
    if celsius is None and flags is None:
        return Finding(
            "heat and power", "skipped", "this machine reports neither", symptom="heat-and-power-not-reported"
        )
    now, ever = flags or Throttling(0), (flags or Throttling(0)).since_boot()
    found = "" if celsius is None else f"{celsius:g} degrees"
    if now.low_voltage:
        advice = "use the power supply that belongs to this Pi, and a short cable"
        found = f"{found}, too little voltage now".lstrip(", ")
        return Finding("heat and power", "problem", found, advice, "too-little-voltage")
    if now.slowed or (celsius or 0) >= HOT_C:
        found = f"{found}, slowed down".lstrip(", ")
        return Finding("heat and power", "warning", found, "give it a heat sink or a fan", "slowed-down")
    if ever.low_voltage or ever.slowed:
        happened = f"{found}, since the start it had {'too little voltage' if ever.low_voltage else 'to slow down'}"
        advice = "watch the power supply and the cooling"
        return Finding("heat and power", "warning", happened.lstrip(", "), advice, "slowed-down-earlier")
    return Finding("heat and power", "ok", found or "power is fine")


def _foreign_file(folder: Path) -> Path | None:
    """Return a file that the service cannot write, because root made it by running the daemon by hand."""
    try:
        owner = pwd.getpwnam(NAME).pw_uid
        return next((path for path in (folder, *folder.glob("outbox*")) if path.lstat().st_uid != owner), None)
    except (KeyError, OSError):
        return None
