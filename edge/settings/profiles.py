"""Settings that fit a board: what `profile` fills in where nothing else is said."""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PROFILES: Mapping[str, Mapping[str, Any]] = {
    "zero2": {
        "camera": "size=480x360&fps=10",
        "faces": {"search_every_s": 1.0, "small_faces_every_s": 0.0, "verify_every_s": 0.8, "classify_every_s": 0.15},
    },
    "pi3": {
        "camera": "size=640x480&fps=10",
        "faces": {"search_every_s": 0.8, "small_faces_every_s": 30.0, "verify_every_s": 0.6, "classify_every_s": 0.1},
    },
    "pi4": {},
    "pi5": {"camera": "size=1280x720&fps=15"},
}
"""By instructions a frame and a search, counted on an emulated Cortex-A53 (docs/platforms.md): in the worst case, when
the picture changes all the time, a search takes about a third of one core. `pi4` is what the settings are without one.
The network is the same everywhere: it is a small part of a frame, and the larger one is hardly better."""
_BOARDS = {
    "zero2": ("Raspberry Pi Zero 2",),
    "pi3": ("Raspberry Pi 3", "Raspberry Pi Compute Module 3"),
    "pi4": ("Raspberry Pi 4", "Raspberry Pi Compute Module 4"),
    "pi5": ("Raspberry Pi 5", "Raspberry Pi Compute Module 5"),
}


def device_tree(name: str, root: Path = Path("/")) -> str | None:
    """Return a text of the device tree, such as the ``model`` Raspberry Pi 4 Model B Rev 1.4; None without one.

    ``root``: the folder that holds ``proc``.
    """
    try:
        return (root / "proc/device-tree" / name).read_text(errors="replace").strip("\0 \n") or None
    except OSError:
        return None


def board_model() -> str | None:
    """Return the model of this board, None if it has no device tree."""
    return device_tree("model")


def profile_name(asked: str, model: str | None) -> str:
    """Return the profile in force: for ``auto`` the one of the board, ``none`` if that is unknown."""
    if asked != "auto":
        return asked
    return next((name for name, models in _BOARDS.items() if (model or "").startswith(models)), "none")


def with_profile(given: dict[str, Any], model: str | None) -> dict[str, Any]:
    """Return settings in which the profile fills in what is not given.

    ``given``: checked, by section and key. ``model``: the board's, for ``profile = "auto"``.

    Size and rate are added to the address of a Pi camera that has no options.
    """
    profile = PROFILES.get(profile_name(given.get("profile", "auto"), model), {})
    filled = copy.deepcopy(given)
    for key, value in profile.get("faces", {}).items():
        filled.setdefault("faces", {}).setdefault(key, value)
    camera = filled.get("camera", "picamera2:0")
    if "camera" in profile and camera.startswith("picamera2:") and "?" not in camera:
        filled["camera"] = f"{camera}?{profile['camera']}"
    return filled
