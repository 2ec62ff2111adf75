"""Checking what a settings file says: every fault, not only the first."""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from edge.errors import ConfigError
from edge.settings.messages import allowed, check_one_line, check_url, closest, shown
from edge.settings.types import Settings, fields_of, is_list, is_section
from edge.settings.zones import check_zones

VERSION = 2
"""Version of the file's form. In 1, the one without the key, ``camera_rotate`` stands for ``camera.rotate``."""
CAMERA_TABLE = {"address": "camera", "rotate": "camera_rotate", "flip": "camera_flip"}
"""What a table ``[camera]`` may hold instead of the three settings at the top of the file."""


def faults_of(tree: Mapping[str, Any], source: str) -> Iterator[str]:
    """Yield a line for each fault: key, what was found, what is allowed, and the closest known key.

    ``tree``: what TOML holds; ``source``: the file's name, for the lines.
    """
    version = tree.get("version", 1)
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        yield f"{source}: version: found {shown(version)}: allowed is a whole number, {VERSION} or less"
    elif version > VERSION:
        yield f"{source}: version: found {version}: this program reads {VERSION} and older; install a newer one"
    camera = tree.get("camera")
    if isinstance(camera, dict):
        yield from _camera_faults(camera, tree, source)
    done = {"version", "camera"} if isinstance(camera, dict) else {"version"}
    rest = {key: value for key, value in tree.items() if key not in done}
    yield from _faults(rest, Settings, "", source)


def flattened(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Return a tree without faults as the settings name it: no ``version``, and no table ``[camera]``."""
    flat = {key: value for key, value in tree.items() if key != "version"}
    if isinstance(camera := flat.get("camera"), dict):
        del flat["camera"]
        flat.update({CAMERA_TABLE[key]: value for key, value in camera.items()})
    return flat


def _faults(tree: Mapping[str, Any], kind: type[msgspec.Struct], prefix: str, source: str) -> Iterator[str]:
    hints = fields_of(kind)
    for key, value in tree.items():
        name = f"{prefix}{key}"
        if key not in hints:
            yield f"{source}: there is no setting {name}{closest(key, hints, prefix)}"
        elif is_section(hints[key]):
            if isinstance(value, dict):
                yield from _faults(value, hints[key], f"{name}.", source)
            else:
                yield f"{source}: {name}: found {shown(value)}: allowed is a section, [{name}]"
        else:
            yield from _value_faults(name, value, hints[key], source)


def _camera_faults(table: Mapping[str, Any], tree: Mapping[str, Any], source: str) -> Iterator[str]:
    for key, value in table.items():
        if key not in CAMERA_TABLE:
            yield f"{source}: there is no setting camera.{key}{closest(key, CAMERA_TABLE, 'camera.')}"
        elif CAMERA_TABLE[key] in tree and key != "address":
            yield f"{source}: camera.{key} and {CAMERA_TABLE[key]} are the same setting: leave one"
        else:
            yield from _value_faults(f"camera.{key}", value, fields_of(Settings)[CAMERA_TABLE[key]], source)


def _value_faults(name: str, value: Any, kind: Any, source: str) -> Iterator[str]:
    try:
        if is_list(kind):
            check_zones(value, source)
            return
        converted = msgspec.convert(value, kind)
        check_one_line({name: converted})
        if name == "mqtt.url":
            check_url(converted)
    except msgspec.ValidationError as error:
        yield f"{source}: {name}: found {shown(value)}: {allowed(kind, str(error))}"
    except ConfigError as error:
        yield str(error) if str(error).startswith(source) else f"{source}: {error}"
