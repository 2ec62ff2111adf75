"""``emotion-edge config show``: each setting in force with its origin, without secrets."""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from edge.errors import ConfigError, redacted
from edge.settings.checking import CAMERA_TABLE, VERSION
from edge.settings.credentials import read_password
from edge.settings.loading import ENVIRONMENT_PREFIX, load_settings, read_file, settings_file
from edge.settings.profiles import board_model, profile_name
from edge.settings.types import Settings, fields_of, is_section


@dataclass(frozen=True, slots=True)
class Shown:
    """One setting, without secrets."""

    key: str
    """dotted, as ``mqtt.url``"""
    value: Any
    """without passwords"""
    origin: str
    """``default``, ``profile`` and its name, the file's path, or the variable's name"""


def shown_settings(path: Path | None = None, *, environment: Mapping[str, str] | None = None) -> list[Shown]:
    """Load the settings and return all of them in the order of the page, redacted.

    Raises `ConfigError`: they are wrong.
    """
    given = os.environ if environment is None else environment
    settings = load_settings(path, environment=given)
    in_file = read_file(path)
    variables = [name for name in given if name.startswith(ENVIRONMENT_PREFIX)]
    named = {name.removeprefix(ENVIRONMENT_PREFIX).lower(): name for name in variables}
    for key, setting in CAMERA_TABLE.items():
        if f"camera__{key}" in named:
            named[setting] = named[f"camera__{key}"]
    shown = []
    defaults, profile = dict(_flat(Settings())), profile_name(settings.profile, board_model())
    for key, value in _flat(settings):
        parts = key.split(".")
        origin = named.get("__".join(parts)) or (str(settings_file(path)) if _holds(in_file, parts) else "")
        origin = origin or ("default" if value == defaults[key] else f"profile {profile}")
        shown.append(Shown(key, _harmless(key, value), origin))
    return shown


def shown_values(settings: Settings) -> list[tuple[str, str | int | float | bool, bool]]:
    """Return each setting's dotted key, its value without secrets, and whether that is the default."""
    defaults = dict(_flat(Settings()))
    return [(key, _harmless(key, value), value == defaults[key]) for key, value in _flat(settings)]


def password_origin(settings: Settings) -> str:
    """Return where the broker's password comes from, never the password."""
    try:
        password = read_password(settings.mqtt)
    except ConfigError as error:
        return f"cannot be used: {error}"
    if password is None:
        return "none"
    return f"from {settings.mqtt.password_file or 'the credential mqtt-password'}"


def as_toml(shown: list[Shown], password: str) -> str:
    """Return the settings as a TOML file, with the origin of each as a comment."""
    lines = [f"# password of the broker: {password}"]
    section = ""
    width = max(len(_line(one)) for one in shown)
    for one in shown:
        head, dot, _ = one.key.rpartition(".")
        if dot and head != section:
            section = head
            lines += ["", f"[{section}]"]
        lines.append(f"{_line(one):{width}}  # {one.origin}")
    return "\n".join(lines)


def as_file(tree: Mapping[str, Any]) -> str:
    """Return a settings file that holds these settings and nothing else.

    ``tree``: setting to value, section to such a mapping; the camera as ``camera``, ``camera_rotate``, ``camera_flip``.
    """
    camera = {name: f"camera.{key}" for key, name in CAMERA_TABLE.items()}
    lines = [f"version = {VERSION}"]
    lines += [f"{camera.get(key, key)} = {_value(value)}" for key, value in tree.items() if not isinstance(value, dict)]
    for section, values in tree.items():
        if isinstance(values, dict):
            lines += ["", f"[{section}]", *(f"{key} = {_value(value)}" for key, value in values.items())]
    return "\n".join(lines) + "\n"


def as_json(shown: list[Shown], password: str) -> str:
    """Return the settings as one JSON object: dotted key to ``{"value", "from"}``."""
    settings = {one.key: {"value": one.value, "from": one.origin} for one in shown}
    return json.dumps({"settings": settings, "password": password}, ensure_ascii=False)


def _harmless(key: str, value: Any) -> Any:
    # A password in mqtt.url has been refused; a lone user name is no secret.
    return value if key == "mqtt.url" or not isinstance(value, str) else redacted(value)


def _line(one: Shown) -> str:
    return f"{one.key.rpartition('.')[2]} = {_value(one.value)}"


def _value(value: Any) -> str:
    """Return a value as TOML on one line."""
    match value:
        case dict():
            return "{" + ", ".join(f"{key} = {_value(part)}" for key, part in value.items()) + "}"
        case list() | tuple():
            return "[" + ", ".join(map(_value, value)) + "]"
        case _:
            return json.dumps(value, ensure_ascii=False)


def _flat(settings: Settings) -> Iterator[tuple[str, Any]]:
    values = msgspec.to_builtins(settings)
    for key, kind in fields_of(Settings).items():  # in TOML, keys without a section must come first
        if not is_section(kind):
            yield key, values[key]
    for key, kind in fields_of(Settings).items():
        if is_section(kind):
            for name, value in values[key].items():
                yield f"{key}.{name}", value


def _holds(tree: Mapping[str, Any], parts: list[str]) -> bool:
    for part in parts:
        if not isinstance(tree, Mapping) or part not in tree:
            return False
        tree = tree[part]
    return True
