"""Files that are written whole or not at all."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a path beside ``path`` to write to. It replaces ``path`` when the block ends, and is removed if it fails.

    It keeps the suffix, by which Keras and numpy choose a format.
    """
    partial = path.with_stem(f"{path.stem}.partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write an object, indented."""
    with replacing(path) as partial:
        partial.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
