"""A disk whose power can be cut at any step of an install; what was not synced is then lost."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Literal

from edge.files import Files

Loss = Literal["nothing", "contents", "everything"]
"""What a cut loses: nothing (a killed process), unsynced file contents, or those and unsynced names."""


class PowerCut(BaseException):
    """The power is gone. It is no `Exception`, so that no program handles it and goes on."""


class Unsynced(Files):
    """Files for the setup of a test: power is never cut and nothing is synced, which is faster."""

    def sync(self, path: Path) -> None:
        path.stat()


class FragileDisk(Files):
    """Real files; at step ``cut_at`` the power fails: before the step, or in the middle of a write or removal."""

    def __init__(self, *, cut_at: int | None = None, cut: Callable[[], None] | None = None) -> None:
        self.steps: list[tuple[str, str]] = []
        self._cut_at = cut_at
        self._cut = cut
        self._dead = False
        self._unsynced: dict[int, tuple[int, int]] = {}  # inode: open descriptor, size after a cut
        # folders whose names changed, each with the function that changes them back
        self._undo: list[tuple[Path, Callable[[], object]]] = []
        self._attic = Path(tempfile.mkdtemp(prefix="attic-"))

    def make_folder(self, path: Path) -> None:
        self._step("make", path)
        super().make_folder(path)
        self._undo.append((path.parent, lambda: shutil.rmtree(path)))

    def write(
        self, path: Path, content: Iterable[bytes], mode: int = 0o644, owner: tuple[int, int] | None = None
    ) -> None:
        self._step("write", path)
        parts = b"".join(content)
        super().write(path, [parts[: len(parts) // 2]], mode, owner)
        descriptor = os.open(path, os.O_RDWR)
        self._unsynced[os.fstat(descriptor).st_ino] = (descriptor, len(parts) // 3)
        self._undo.append((path.parent, path.unlink))
        self._step("write more", path)
        with path.open("ab") as file:
            file.write(parts[len(parts) // 2 :])

    def sync(self, path: Path) -> None:
        self._step("sync", path)
        if path.is_dir():
            self._undo = [(folder, undo) for folder, undo in self._undo if folder != path]
        elif (entry := self._unsynced.pop(path.stat().st_ino, None)) is not None:
            os.close(entry[0])

    def rename(self, old: Path, new: Path) -> None:
        self._step("rename", new)
        before = self._keep(new)
        super().rename(old, new)

        def undo() -> None:
            new.rename(old)
            if before is not None:
                before.rename(new)

        self._undo.append((new.parent, undo))

    def exchange(self, one: Path, other: Path) -> None:
        self._step("exchange", other)
        super().exchange(one, other)
        self._undo.append((other.parent, lambda: Files.exchange(self, one, other)))

    def remove(self, path: Path) -> None:
        self._step("remove", path)
        kept = self._keep(path)
        assert kept is not None
        inside = sorted(path.iterdir()) if path.is_dir() else []
        if inside:
            super().remove(inside[0])
            self._step("remove more", path)
        super().remove(path)

        def undo() -> None:
            if path.exists():
                shutil.rmtree(path)
            kept.rename(path)

        self._undo.append((path.parent, undo))

    def erase(self, path: Path) -> None:
        self._step("erase", path)
        size = path.stat().st_size
        path.write_bytes(bytes(size // 2) + path.read_bytes()[size // 2 :])
        self._step("erase more", path)
        super().erase(path)

    def lose(self, loss: Loss) -> None:
        """Undo what a power cut of this kind loses."""
        for descriptor, size in self._unsynced.values():
            if loss != "nothing":
                os.ftruncate(descriptor, size)
            os.close(descriptor)
        self._unsynced.clear()
        for _, undo in reversed(self._undo) if loss == "everything" else ():
            with suppress(FileNotFoundError):  # its folder is gone already
                undo()
        shutil.rmtree(self._attic)

    def _keep(self, path: Path) -> Path | None:
        if not path.exists():
            return None
        kept = self._attic / str(len(self.steps))
        if path.is_dir():
            shutil.copytree(path, kept)
        else:
            shutil.copy(path, kept)
        return kept

    def _step(self, what: str, path: Path) -> None:
        if not self._dead and self._cut_at == len(self.steps):
            self._dead = True
            if self._cut is not None:
                self._cut()
        if self._dead:
            raise PowerCut
        self.steps.append((what, path.name))
