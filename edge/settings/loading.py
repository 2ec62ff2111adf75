"""Reading the settings: the file, the environment over it, flags over both; checked whole before anything starts.

Precedence, weakest first: defaults, the board's profile, the file, ``EMOTION_EDGE__SECTION__KEY`` variables, flags. An
unknown key, a wrong type or an impossible value is a `ConfigError` that names the key, what was found and what is
allowed.
"""

import json
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from edge.errors import ConfigError
from edge.settings.checking import CAMERA_TABLE, VERSION, faults_of, flattened
from edge.settings.messages import allowed, check_one_line, check_url, closest, shown
from edge.settings.profiles import board_model, with_profile
from edge.settings.types import (
    BY_SERIAL,
    Settings,
    device_by_serial,
    fields_of,
    is_list,
    is_section,
)
from edge.settings.zones import check_zones

DEFAULT_PATH = Path("/etc/emotion-edge/config.toml")
ENVIRONMENT_PREFIX = "EMOTION_EDGE__"
_PATHS = {
    "": ("bundle", "bundle_key", "landmarks", "state_dir"),
    "mqtt": ("password_file", "ca_file", "cert_file", "key_file"),
    "web": ("token_file", "cert_file", "key_file"),
}
"""The settings that are paths, by section: ``~/`` at their start is the home folder."""


def load_settings(
    path: Path | None = None,
    *,
    environment: Mapping[str, str] | None = None,
    flags: Mapping[str, str | None] | None = None,
) -> Settings:
    """Read, merge and check all settings.

    ``path``: a file that must exist; None reads ``/etc/emotion-edge/config.toml`` if it exists.
    ``environment``: defaults to ``os.environ``.
    ``flags``: dotted key to text; None if the flag was not given.
    Raises `ConfigError`: names the key, what was found, what is allowed and the closest known key.
    """
    merged: dict[str, Any] = read_file(path)
    for name, text in (os.environ if environment is None else environment).items():
        if name.startswith(ENVIRONMENT_PREFIX):
            _put(merged, name.removeprefix(ENVIRONMENT_PREFIX).lower().split("__"), text, origin=name)
    for key, value in (flags or {}).items():
        if value is not None:
            _put(merged, key.split("."), value, origin=f"--{key.rsplit('.', 1)[-1].replace('_', '-')}")
    settings = _with_home(_with_device(msgspec.convert(with_profile(merged, board_model()), Settings)))
    check_one_line(msgspec.to_builtins(settings))
    check_url(settings.mqtt.url)
    return settings


def require_state_dir(settings: Settings) -> Path:
    """Return the folder for what survives a restart.

    Raises `ConfigError`: None is set, and the user has no home folder that could hold it.
    """
    if not settings.state_dir:
        raise ConfigError(
            f"state_dir: this user (id {os.geteuid()}) has no home folder; name one with "
            f"{ENVIRONMENT_PREFIX}STATE_DIR=/path or in the settings file"
        )
    return Path(settings.state_dir)


def settings_file(path: Path | None) -> Path:
    """Return the path of the settings file: the given one, else ``/etc/emotion-edge/config.toml``."""
    return path or DEFAULT_PATH


def read_file(path: Path | None) -> dict[str, Any]:
    """Return the settings of the file; empty if none is named and the default does not exist.

    A table ``[camera]`` is returned as the settings ``camera``, ``camera_rotate`` and ``camera_flip``.

    Raises `ConfigError`: as `find_faults`, or a setting is wrong; names the first fault.
    """
    tree = read_toml(path)
    for fault in faults_of(tree, str(settings_file(path))):
        raise ConfigError(fault)
    return flattened(tree)


def find_faults(path: Path | None) -> list[str]:
    """Return a line for each fault of the settings file.

    Raises `ConfigError`: the named file is missing, or it cannot be read or is not TOML.
    """
    return list(faults_of(read_toml(path), str(settings_file(path))))


def note_on_form(path: Path | None) -> str:
    """Return what to say of a valid settings file of an older form, empty if it is up to date or missing.

    Raises `ConfigError`: the named file is missing, or it cannot be read or is not TOML.
    """
    tree = read_toml(path)
    if not tree or tree.get("version", 1) == VERSION:
        return ""
    file = settings_file(path)
    return f"; of form 1, which is read as ever: emotion-edge config migrate {file} makes it form {VERSION}"


def read_toml(path: Path | None) -> dict[str, Any]:
    """Return what a settings file holds, unchecked; empty as `read_file`.

    Raises `ConfigError`: the named file is missing, or it cannot be read or is not TOML.
    """
    chosen = settings_file(path)
    text = ""
    try:
        text = chosen.read_text(encoding="utf-8-sig")
        return tomllib.loads(text)
    except FileNotFoundError as error:
        if path is None:
            return {}
        raise ConfigError(f"{chosen}: no such file") from error
    except OSError as error:
        raise ConfigError(f"{chosen}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{chosen}: not TOML: byte {error.start} is not UTF-8; save the file as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        hint = '; camera is a text and a table: write camera.address = "…"' if _CAMERA_TWICE.search(text) else ""
        raise ConfigError(f"{chosen}: not TOML: {error}{hint}") from error


_CAMERA_TWICE = re.compile(r"(?ms)(^camera\s*=.*^(camera\s*\.|\[camera\]))|(^camera\s*\..*^camera\s*=)")


def _with_device(settings: Settings) -> Settings:
    if settings.device != BY_SERIAL:
        return settings
    name = device_by_serial()
    if name is None:
        raise ConfigError(f"device: found {BY_SERIAL!r}: this board has no serial number; write a name")
    return msgspec.structs.replace(settings, device=name)


def _with_home(settings: Settings) -> Settings:
    """Replace ``~`` at the start of each path by the home folder."""
    for section, names in _PATHS.items():
        holder = getattr(settings, section) if section else settings
        for name in names:
            path = getattr(holder, name)
            if path == "~" or path.startswith("~/"):
                try:
                    holder = msgspec.structs.replace(holder, **{name: str(Path(path).expanduser())})
                except RuntimeError:
                    key = f"{section}.{name}" if section else name
                    raise ConfigError(
                        f"{key}: found {path!r}: this user has no home folder; write the path out"
                    ) from None
        settings = msgspec.structs.replace(settings, **{section: holder}) if section else holder
    return settings


def _put(tree: dict[str, Any], keys: list[str], text: str, *, origin: str) -> None:
    """Set a value that was given as text, converted to the type of the setting."""
    if keys[0] == "camera" and len(keys) == 2:
        keys = [CAMERA_TABLE.get(keys[1], f"camera.{keys[1]}")]
    kind: Any = Settings
    for index, key in enumerate(keys):
        hints = fields_of(kind) if is_section(kind) else {}
        if key not in hints:
            near = closest(key, hints, "".join(f"{k}." for k in keys[:index])) if hints else ""
            raise ConfigError(f"{origin}: there is no setting {'.'.join(keys)}{near}")
        kind = hints[key]
    name = ".".join(keys)
    if is_section(kind):
        raise ConfigError(f"{origin}: {name} is a section; name one of {', '.join(fields_of(kind))}")
    try:
        value = json.loads(text) if is_list(kind) else msgspec.convert(text, kind, strict=False)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{origin}: {name}: found {shown(text)}: {allowed(kind, str(error))}") from None
    except (ValueError, RecursionError):
        raise ConfigError(f"{origin}: {name}: found {shown(text)}: allowed is JSON, a list of tables") from None
    if is_list(kind):
        check_zones(value, origin)
    for key in keys[:-1]:
        tree = tree.setdefault(key, {})
    tree[keys[-1]] = value
