"""Durable file operations, one method each, so that a test can cut the power between any two."""

import ctypes
import errno
import fcntl
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from edge.errors import BundleError

INCOMING = ".incoming"
"""Prefix of the names of unfinished files and folders."""
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
"""renameat2(2)"""


class Files:
    """Operations on files and folders. Nothing is certain to survive a power cut before its `sync`."""

    def make_folder(self, path: Path) -> None:
        """Make a folder that everybody may read; its parent must exist."""
        path.mkdir()
        path.chmod(0o755)

    def write(
        self, path: Path, content: Iterable[bytes], mode: int = 0o644, owner: tuple[int, int] | None = None
    ) -> None:
        """Write a new file with this mode, and user and group; an existing one is an error."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
            for part in content:
                file.write(part)
            if owner is not None and owner != (os.geteuid(), os.getegid()):
                os.fchown(file.fileno(), *owner)
            os.fchmod(file.fileno(), mode)

    def sync(self, path: Path) -> None:
        """Return once a file's content, or a folder's list of names, is on the disk (fsync(2))."""
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def rename(self, old: Path, new: Path) -> None:
        """Rename, atomically replacing a file of the new name."""
        old.rename(new)

    def exchange(self, one: Path, other: Path) -> None:
        """Swap the names of two folders: atomically, or in three renames where the file system cannot (FAT, NFS)."""
        try:
            _exchange(one, other)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
                raise
            between = one.with_name(f"{one.name}.exchanged")
            other.rename(between)
            one.rename(other)
            between.rename(one)

    def remove(self, path: Path) -> None:
        """Remove a file, or a folder and its content."""
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()

    def erase(self, path: Path) -> None:
        """Overwrite a file that held a secret, and remove it; on return both is on the disk."""
        with path.open("r+b") as file:
            file.write(bytes(path.stat().st_size))
            file.flush()
            os.fsync(file.fileno())
        path.unlink()
        Files.sync(self, path.parent)


def replace_file(
    files: Files, path: Path, content: bytes, *, mode: int = 0o644, owner: tuple[int, int] | None = None
) -> None:
    """Replace a file's content atomically: a power cut leaves the old or the new; on return the new is on the disk.

    ``mode``, ``owner`` (user and group; None: this process's): of the new file.
    """
    fresh = path.with_name(f"{INCOMING}-{path.name}-{secrets.token_hex(4)}")
    try:
        files.write(fresh, [content], mode, owner)
        files.sync(fresh)
        files.rename(fresh, path)
    except OSError:
        with suppress(OSError):
            files.remove(fresh)
        raise
    files.sync(path.parent)


def write_folder(files: Files, folder: Path, contents: Iterable[tuple[str, bytes]]) -> None:
    """Make a folder with these files. On return all of it is on the disk, except the folder's own name."""
    files.make_folder(folder)
    for name, content in contents:
        files.write(folder / name, [content])
        files.sync(folder / name)
    files.sync(folder)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lock a folder against other processes that change it; the lock ends with the process, however that ends.

    Raises `BundleError`: another process has the lock.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BundleError(f"{folder}: another install is running here; try again when it has finished") from None
        yield
    finally:
        os.close(descriptor)


def _exchange(one: Path, other: Path) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    rename = getattr(libc, "renameat2", None)  # glibc since 2.28
    if rename is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    if rename(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(one), None, str(other))
