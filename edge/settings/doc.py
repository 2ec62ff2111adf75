"""Generate the page of all settings from their types and docstrings: ``python -m edge.settings.doc FILE``."""

import ast
import inspect
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import msgspec

from edge.settings import ENVIRONMENT_PREFIX, Settings, types
from edge.settings.types import fields_of, is_section

INTRODUCTION = """\
# Settings

This page is generated from `edge/settings/types.py`: `python -m edge.settings.doc docs/settings.md`.

One TOML file holds all settings, `/etc/emotion-edge/config.toml` or what `--config` names. An environment variable
overrides the file, a flag overrides both. Everything is checked before anything starts: an unknown key, a wrong type or
an impossible value ends the program with exit code 78 and a line that names the key, what was found and what is
allowed. `emotion-edge config show` prints the settings in force and the origin of each.

A password is never a setting, a variable or a flag. The service that `systemd/install.sh` sets up takes it from
`/etc/emotion-edge/mqtt-password` by itself, as a systemd credential: **do not set `mqtt.password_file` there**,
because that file belongs to root, and the service, which runs as the user `emotion-edge`, cannot read it. Started by
hand, the program reads the file that `mqtt.password_file` names, which only its owner may read (`chmod 600`). Any other
file named here, such as a key or a certificate, must be readable for the user that runs the program
([systemd/README.md](../systemd/README.md#files-of-your-own)); `sudo emotion-edge doctor` checks this as that user.

```toml
device = "hallway"
camera = "picamera2:0"

[mqtt]
url = "mqtts://hallway@broker.lan"   # the password: /etc/emotion-edge/mqtt-password

[homeassistant]
enabled = true
```
"""

COLUMNS = "| key | type | default | environment | meaning |\n| --- | --- | --- | --- | --- |\n"


def render() -> str:
    """Return the page, Markdown."""
    top = {key: kind for key, kind in fields_of(Settings).items() if not is_section(kind)}
    parts = [INTRODUCTION, "\n## At the top of the file\n\n", COLUMNS, *_lines(Settings, top, prefix="")]
    for key, kind in fields_of(Settings).items():
        if is_section(kind):
            about = (inspect.getdoc(kind) or "").replace("``", "`")
            parts += [f"\n## {about.rstrip('.')}\n\n", COLUMNS, *_lines(kind, fields_of(kind), prefix=f"{key}.")]
    return "".join(parts)


def _lines(section: type[msgspec.Struct], kinds: dict[str, Any], *, prefix: str) -> list[str]:
    meanings = _attribute_docstrings(section)
    fields = {field.name: field for field in msgspec.structs.fields(section)}
    lines = []
    for name, kind in kinds.items():
        variable = ENVIRONMENT_PREFIX + f"{prefix}{name}".upper().replace(".", "__")
        cells = (f"`{prefix}{name}`", _type(kind), _default(fields[name]), f"`{variable}`", meanings[name])
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n")
    return lines


def _type(kind: Any) -> str:
    bare = kind.__origin__ if hasattr(kind, "__metadata__") else kind
    if get_origin(bare) is Literal:
        return "one of " + ", ".join(f"`{value}`" for value in get_args(bare))
    name = {str: "text", bool: "`true` or `false`", int: "whole number", float: "number"}[bare]
    for meta in getattr(kind, "__metadata__", ()):
        if meta.le is not None:
            low = f"{meta.ge:g} to" if meta.ge is not None else f"above {meta.gt:g}, to"
            return f"{name}, {low} {meta.le:,}"
    return name


def _default(field: msgspec.structs.FieldInfo) -> str:
    if field.default is msgspec.NODEFAULT:
        return "see meaning"
    return f"`{msgspec.json.encode(field.default).decode()}`"


def _attribute_docstrings(section: type[msgspec.Struct]) -> dict[str, str]:
    """Read the docstring under each field; Python itself does not keep it."""
    tree = ast.parse(inspect.getsource(types))
    body = next(node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == section.__name__)
    return {
        field.target.id: ast.literal_eval(text.value)
        for field, text in pairwise(body)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant)
    }


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(render(), encoding="utf-8")
