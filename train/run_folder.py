"""The folder of one training run, and what may be in it after an interruption.

::

    settings.json     what the run was started with; resuming requires the same
    checkpoint.keras  the whole state after the last finished epoch; its step counter says which epoch that was
    curves.jsonl      one line an epoch, for people and plots; at most one line ahead of the checkpoint, never behind
    model.keras       the result, once the run is complete
    result.json       its figures on the validation part

Each file is replaced whole or not at all.
"""

import json
from pathlib import Path
from typing import Any

from edge.errors import DataError, UsageError
from train.files import replacing, write_json

COMPARED = ("settings", "network", "data_fingerprint", "teachers", "start")
"""Keys of ``settings.json`` that must not change within a run; library versions may."""


def open_run(run: Path, described: dict[str, Any], *, resume: bool) -> bool:
    """Make a run folder, or resume the run that is in it.

    Raises `UsageError`: the folder holds a run and ``resume`` is off, or it was started with other settings, network or
    data.
    Raises `DataError`: the folder's ``settings.json`` is damaged.

    ``described``: JSON values: at least those of `COMPARED`.
    ``resume``: resume a run if there is one; start one if there is none.
    Returns True if there is a checkpoint to resume from.
    """
    if (run / "settings.json").exists():
        if not resume:
            raise UsageError(f"{run} already holds a run: --resume goes on with it, --run NAME starts another")
        _require_same(run, described)
    elif (run / "checkpoint.keras").exists():
        raise DataError(f"{run} has a checkpoint but no settings.json: start another run with --run NAME")
    else:
        _start(run, described)
    return (run / "checkpoint.keras").exists()


def begin_run(run: Path, described: dict[str, Any], *, result: str) -> None:
    """Make the folder of a run that cannot be resumed; an interrupted one starts again from the beginning.

    ``result``: name of the file that such a run writes last.
    Raises `UsageError`: the folder holds a complete run, or one that was started with other settings, network or data.
    Raises `DataError`: the folder's ``settings.json`` is damaged.
    """
    if (run / result).is_file():
        raise UsageError(f"{run} already holds a run: start another with --run NAME")
    if (run / "settings.json").exists():
        _require_same(run, described)
    else:
        _start(run, described)


def model_file(model: Path) -> Path:
    """Return the ``.keras`` file of a complete run, or the file itself; raises ``DataError`` if there is none."""
    if model.is_file():
        return model
    if not model.exists():
        raise DataError(f"{model}: no such run folder or .keras file")
    if (model / "model.keras").is_file():
        return model / "model.keras"
    if (model / "settings.json").is_file():
        raise DataError(
            f"{model}: this run is not complete; give the command that started it again, with --resume if it has that"
        )
    raise DataError(f"{model}: neither a run folder (model.keras) nor a bundle folder (manifest.json)")


def write_curve(run: Path, epoch: int, figures: dict[str, float]) -> None:
    """Set the line of an epoch (1 is the first) in ``curves.jsonl``, and drop the lines after it."""
    lines = [line for line in read_curves(run) if line["epoch"] < epoch]
    lines.append({"epoch": epoch} | {name: round(float(value), 5) for name, value in figures.items()})
    with replacing(run / "curves.jsonl") as partial:
        partial.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def read_curves(run: Path) -> list[dict[str, Any]]:
    """Return the lines of ``curves.jsonl`` up to the first damaged one."""
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
    """Return the fingerprint of the data set that a run was trained on; None for a single file, which has none noted.

    Raises ``DataError`` if ``settings.json`` is damaged.
    """
    noted = run / "settings.json"
    if not noted.is_file():
        return None
    fingerprint = read_json(noted).get("data_fingerprint")
    return None if fingerprint is None else str(fingerprint)


def read_json(path: Path) -> dict[str, Any]:
    """Read an object of a run folder; raises ``DataError`` if the file is damaged."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path}: damaged: {error}; start another run with --run NAME") from error
    if not isinstance(value, dict):
        raise DataError(f"{path}: damaged: not a JSON object; start another run with --run NAME")
    return value


def _start(run: Path, described: dict[str, Any]) -> None:
    run.mkdir(parents=True, exist_ok=True)
    write_json(run / "settings.json", described)


def _require_same(run: Path, described: dict[str, Any]) -> None:
    before, now = read_json(run / "settings.json"), json.loads(json.dumps(described))
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
