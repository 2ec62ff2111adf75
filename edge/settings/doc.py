"""Generate the page of all settings from their types and docstrings: ``python -m edge.settings.doc FILE``."""

import ast
import inspect
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import msgspec

from edge.settings import ENVIRONMENT_PREFIX, Settings, types
from edge.settings.types import fields_of, is_list, is_section

INTRODUCTION = """\
# Settings

This page is generated from `edge/settings/types.py`: `python -m edge.settings.doc docs/settings.md`.

One TOML file holds all settings, `/etc/emotion-edge/config.toml` or what `--config` names. An environment variable
overrides the file, a flag overrides both. Everything is checked before anything starts: an unknown key, a wrong type or
an impossible value ends the program with exit code 78 and a line that names the key, what was found and what is
allowed.

| command | what it does |
| --- | --- |
| `emotion-edge config show` | prints the settings in force and the origin of each |
| `emotion-edge config init config.toml` | writes a file of all settings, explained, every line commented out |
| `emotion-edge config check config.toml` | names every fault of a file, not only the first |
| `emotion-edge config migrate config.toml` | brings an older file up to date; comments stay, the old file is kept |
| `emotion-edge config take emotion-edge.toml` | takes the settings of [a card](quick-start-pi.md#a-card-to-flash) |

`version = 2` at the top is the version of the file's form. A file without it is of version 1 and works as ever; one of
a later version is refused.

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

The three settings of the camera may stand in a table instead: `camera.address`, `camera.rotate` and `camera.flip`, as
lines at the top of the file or under `[camera]`; in the environment `EMOTION_EDGE__CAMERA__ROTATE` and so on. They are
`camera`, `camera_rotate` and `camera_flip` under other names; a file with `camera = "…"` cannot have a table as well.
`~/` at the start of a path is the home folder.

```toml
camera.address = "v4l2:/dev/video0"
camera.rotate = 180

[[faces.zones]]                      # the sofa; as many zones as you like
points = [[0.1, 0.3], [0.9, 0.3], [0.9, 1.0], [0.1, 1.0]]

[[faces.zones]]                      # but not the television
points = [[0.4, 0.3], [0.6, 0.3], [0.6, 0.5], [0.4, 0.5]]
kind = "exclude"
```
"""

COLUMNS = "| key | type | default | environment | meaning |\n| --- | --- | --- | --- | --- |\n"


def render() -> str:
    """Return the page, Markdown."""
    top = {key: kind for key, kind in fields_of(Settings).items() if not is_section(kind)}
    parts = [INTRODUCTION, "\n## At the top of the file\n\n", COLUMNS, *_lines(Settings, top, prefix="")]
    for key, kind in fields_of(Settings).items():
        if is_section(kind):
            parts += [_title(kind), COLUMNS, *_lines(kind, fields_of(kind), prefix=f"{key}.")]
            for table in (get_args(one)[0] for one in fields_of(kind).values() if is_list(one)):
                parts += [_title(table), *_table(table)]
    return "".join(parts)


def _title(section: type[msgspec.Struct]) -> str:
    about = (inspect.getdoc(section) or "").replace("``", "`")
    return f"\n## {about.rstrip('.')}\n\n"


def _table(section: type[msgspec.Struct]) -> list[str]:
    """Return the keys of a table that may stand several times; none of them has a variable of its own."""
    meanings = meanings_of(section)
    lines = ["| key | default | meaning |\n| --- | --- | --- |\n"]
    for field in msgspec.structs.fields(section):
        default = "must be given" if field.required else _default(field)
        lines.append(f"| `{field.name}` | {default} | {meanings[field.name]} |\n")
    return lines


def _lines(section: type[msgspec.Struct], kinds: dict[str, Any], *, prefix: str) -> list[str]:
    meanings = meanings_of(section)
    fields = {field.name: field for field in msgspec.structs.fields(section)}
    lines = []
    for name, kind in kinds.items():
        variable = ENVIRONMENT_PREFIX + f"{prefix}{name}".upper().replace(".", "__")
        cells = (f"`{prefix}{name}`", describe_type(kind), _default(fields[name]), f"`{variable}`", meanings[name])
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n")
    return lines


def describe_type(kind: Any) -> str:
    """Return what a setting takes, in words."""
    bare = kind.__origin__ if hasattr(kind, "__metadata__") else kind
    if is_list(bare):
        return "list of tables; in the environment as JSON"
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


def meanings_of(section: type[msgspec.Struct]) -> dict[str, str]:
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
