"""A settings file with every setting and its explanation, and files of an older form brought up to date."""

import inspect
import json
import re
from typing import Any, get_args

import msgspec

from edge.settings.checking import CAMERA_TABLE, VERSION
from edge.settings.doc import describe_type, meanings_of
from edge.settings.types import Settings, fields_of, is_list, is_section

_HEAD = f"""\
# Settings of emotion-edge. A line that begins with # is not in force: it shows the default. Remove the # to change it.
# `emotion-edge config check FILE` names every fault; docs/settings.md has the same explanations.
# The password of the broker never belongs here: /etc/emotion-edge/mqtt-password, or the file of mqtt.password_file.

version = {VERSION}
"""
_WIDTH = 118
_CAMERA = {name: f"camera.{key}" for key, name in CAMERA_TABLE.items()}


def template() -> str:
    """Return a settings file in which everything is commented out: it says the same as an empty file."""
    parts = [_HEAD, *_lines(Settings)]
    for key, kind in fields_of(Settings).items():
        if is_section(kind):
            about = (inspect.getdoc(kind) or "").replace("``", "").partition(": ")[2]
            parts += ["\n\n", *_comment(about[0].upper() + about[1:]), f"[{key}]\n", *_lines(kind)]
    return "".join(parts)


def migrated(text: str) -> str | None:
    """Return a file of version 1 in the form of version 2, comments and order kept; None if it is up to date.

    Version 2 names the camera's settings ``camera.address``, ``camera.rotate`` and ``camera.flip``.
    """
    top, bracket, sections = re.split(r"(?m)(^\s*\[|\Z)", text, maxsplit=1)
    if re.search(r"(?m)^\s*version\s*=", top):
        return None
    for old, new in _CAMERA.items():
        top = re.sub(rf"(?m)^(\s*){old}(\s*=)", rf"\g<1>{new}\g<2>", top)
    return f"version = {VERSION}\n{top}{bracket}{sections}"


def _lines(section: type[msgspec.Struct]) -> list[str]:
    meanings = meanings_of(section)
    settings = Settings()
    lines = []
    for field in msgspec.structs.fields(section):
        kind = fields_of(section)[field.name]
        if is_section(kind):
            continue
        name = _CAMERA.get(field.name, field.name) if section is Settings else field.name
        if is_list(kind):
            lines += ["\n", *_comment(meanings[field.name]), *_example(field.name, get_args(kind)[0])]
            continue
        default: Any = field.default
        if default is msgspec.NODEFAULT:
            default = getattr(settings, field.name)
        about = describe_type(kind).replace("text", "").replace("`true` or `false`", "")
        about = f"{meanings[field.name]} ({about})" if about else meanings[field.name]
        lines += ["\n", *_comment(about.replace("`", "")), f"# {name} = {json.dumps(default, ensure_ascii=False)}\n"]
    return lines


def _example(name: str, table: type[msgspec.Struct]) -> list[str]:
    """A table that may stand several times has no default; its keys are explained instead."""
    meanings = meanings_of(table)
    keys = "; ".join(f"{field.name}: {meanings[field.name]}" for field in msgspec.structs.fields(table))
    return _comment(f"a list of tables, {name}, each with {keys}".replace("`", ""))


def _comment(text: str) -> list[str]:
    words, lines = text.split(), ["#"]
    for word in words:
        if len(lines[-1]) + len(word) >= _WIDTH:
            lines.append("#")
        lines[-1] += f" {word}"
    return [f"{line}\n" for line in lines]
