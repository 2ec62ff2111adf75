"""The folder of one training run, and what may be in it after an interruption.

::

    settings.json     what the run was started with; `resume` demands the same
    checkpoint.keras  the whole state after the last finished epoch; its step counter alone says which it was
    curves.jsonl      a line an epoch, for people and plots; never behind the checkpoint, at most a line ahead
    model.keras       the result, once the run is complete
    result.json       its figures on the validation part

Each file is replaced whole or not at all.
"""

import json
from pathlib import Path
from typing import Any

from edge.errors import DataError, UsageError

COMPARED = ("settings", "network", "data_fingerprint", "teachers", "start")
"""Keys of ``settings.json`` that must not change within a run; library versions may."""


def open_run(run: Path, described: dict[str, Any], *, resume: bool, unnoted: dict[str, Any] | None = None) -> bool:
    """Make a run folder or find one to go on with.

    Parameters
    ----------
    described
        JSON values: at least those of `COMPARED`.
    resume
        Go on with a run where there is one, start one where there is none.
    unnoted
        JSON values of settings that an earlier version did not have, and trained as if it had them.

    Returns
    -------
    True where there is a checkpoint to go on from.

    Raises
    ------
    UsageError
        The folder holds a run and ``resume`` is off, or it was started with other settings, network or data.
    DataError
        The folder's ``settings.json`` is damaged.
    """
    settings_file = run / "settings.json"
    if settings_file.exists():
        if not resume:
            raise UsageError(f"{run} already holds a run: --resume goes on with it, --run NAME starts another")
        before = _read_json(settings_file)
        if unnoted and isinstance(before.get("settings"), dict):
            before["settings"] = unnoted | before["settings"]
        _demand_same(run, before, json.loads(json.dumps(described)))
    elif (run / "checkpoint.keras").exists():
        raise DataError(f"{run} has a checkpoint but no settings.json: start another run with --run NAME")
    else:
        run.mkdir(parents=True, exist_ok=True)
        write_json(settings_file, described)
    return (run / "checkpoint.keras").exists()


def write_curve(run: Path, epoch: int, figures: dict[str, float]) -> None:
    """Set the line of an epoch (1 is the first) in ``curves.jsonl``; lines after it go."""
    lines = [line for line in read_curves(run) if line["epoch"] < epoch]
    lines.append({"epoch": epoch} | {name: round(float(value), 5) for name, value in figures.items()})
    _replace(run / "curves.jsonl", "".join(json.dumps(line) + "\n" for line in lines))


def read_curves(run: Path) -> list[dict[str, Any]]:
    """Return the lines of ``curves.jsonl``; a line that was cut short ends them."""
    try:
        text = (run / "curves.jsonl").read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    lines: list[dict[str, Any]] = []
    for line in text.splitlines():
        try:
            value = json.loads(line)
        except ValueError:
            break
        if not isinstance(value, dict) or not isinstance(value.get("epoch"), int):
            break
        lines.append(value)
    return lines


def read_fingerprint(run: Path) -> str | None:
    """Return the fingerprint of the data that a run was started with; None where nothing notes one (a single file).

    Raises ``DataError`` on a damaged ``settings.json``.
    """
    noted = run / "settings.json"
    return str(_read_json(noted).get("data_fingerprint")) if noted.is_file() else None


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write an object, indented."""
    _replace(path, json.dumps(value, indent=2) + "\n")


def _demand_same(run: Path, before: dict[str, Any], now: dict[str, Any]) -> None:
    for key in COMPARED:
        if (before.get(key) or {}) == (now.get(key) or {}):
            continue
        changed = _differences(before.get(key), now.get(key))
        raise UsageError(
            f"{run} was started with another {key.replace('_', ' ')}{changed}: "
            "give it the same again, or start another run with --run NAME"
        )


def _differences(before: Any, now: Any, prefix: str = "") -> str:
    if not (isinstance(before, dict) and isinstance(now, dict)):
        return ""
    for name in now.keys() | before.keys():
        old, new = before.get(name), now.get(name)
        if isinstance(old, dict) and isinstance(new, dict) and old != new:
            return _differences(old, new, f"{prefix}{name}.")
        if old != new:
            return f" ({prefix}{name} was {old}, is {new})"
    return ""


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path}: damaged: {error}; start another run with --run NAME") from error
    if not isinstance(value, dict):
        raise DataError(f"{path}: damaged: not a JSON object; start another run with --run NAME")
    return value


def _replace(path: Path, text: str) -> None:
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)
