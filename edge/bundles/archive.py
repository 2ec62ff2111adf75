"""Unpacks a bundle from a .tar.gz archive that may be hostile; its first bytes count, not its name.

A bundle is a few plain files in one folder, so everything else that an archive can hold is refused: folders in folders,
links, devices, pipes, sparse files, two files of one name. That is stricter than tarfile's data filter, which Python
3.11.2 of Pi OS Bookworm lacks. Sizes are counted as they are unpacked, whatever the archive promises.
"""

import gzip
import io
import os
import stat
import struct
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, BinaryIO, NoReturn, Self

from edge.errors import BundleError
from edge.files import Files
from edge.inference.manifest import FILE_NAME, MAX_FILE_BYTES, MAX_FILES, RESERVED_NAMES

MAX_ARCHIVE_BYTES = 128 * 1024 * 1024
MAX_UNPACKED_BYTES = 128 * 1024 * 1024
"""Twice the largest file that a bundle may have."""
MAX_RATIO = 100
"""Unpacked to packed. Weights shrink to a half, JSON to a tenth; deflate's own limit is 1032."""
RATIO_FROM_BYTES = 1024 * 1024
"""Unpacked bytes below which the ratio is not checked."""
MAX_MEMBERS = MAX_FILES + len(RESERVED_NAMES) + 1
"""The files and the folder they are in."""
MAX_NOTE_BYTES = 4096
"""Size of an extra tar header (a long name and the like), which tarfile reads into memory whole."""

_CHUNK = 1 << 16
_GZIP = b"\x1f\x8b"
_TAR_NOTES = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME)
_KIND_OF_TAR = {
    tarfile.LNKTYPE: "a hard link", tarfile.SYMTYPE: "a link", tarfile.CHRTYPE: "a device", tarfile.BLKTYPE: "a device",
    tarfile.FIFOTYPE: "a pipe", tarfile.GNUTYPE_SPARSE: "a sparse file", tarfile.GNUTYPE_LONGLINK: "a link",
}  # fmt: skip
_DAMAGE = (
    tarfile.TarError, gzip.BadGzipFile, zlib.error, struct.error, EOFError, ValueError, OverflowError, RecursionError,
)  # fmt: skip
"""What gzip and tarfile raise on damaged archives."""


def unpack(archive: Path, folder: Path, files: Files | None = None) -> Path:
    """Unpack an archive's files into a new folder and return it; the caller removes it, also after an error.

    Raises `BundleError`: it is not a .tar.gz archive, is damaged or too large, or holds something that a bundle does
    not; names archive and file.
    """
    files = files or Files()
    files.make_folder(folder)
    with _open(archive) as source:
        packed = os.fstat(source.fileno()).st_size
        target = _Target(archive.name, folder, files, packed)
        try:
            if packed > MAX_ARCHIVE_BYTES:
                target.refuse(f"has {packed} bytes, more than the {MAX_ARCHIVE_BYTES} that are allowed")
            if source.read(len(_GZIP)) != _GZIP:
                target.refuse("expected a folder or a .tar.gz archive; pack it with: tar czf bundle.tar.gz FOLDER")
            source.seek(0)
            with gzip.GzipFile(fileobj=source) as plain:
                _unpack_tar(_Counted(plain, target), target)
        except _DAMAGE as error:
            target.refuse(f"damaged archive: {' '.join(str(error).split())[:100] or type(error).__name__}")
    if not target.taken:
        target.refuse("the archive is empty")
    return folder


class _Target:
    """The folder to unpack into, and the limits that all members share."""

    def __init__(self, archive: str, folder: Path, files: Files, packed: int) -> None:
        self.taken: set[str] = set()
        self._archive = archive
        self._folder = folder
        self._files = files
        self._packed = packed
        self._members = 0
        self._unpacked = 0
        self._top: str | None = None

    def refuse(self, why: str, member: str | None = None) -> NoReturn:
        shown = "" if member is None else f"{member[:80]!a}: "
        raise BundleError(f"{ascii(self._archive)[1:-1]}: {shown}{why}") from None

    def name_of(self, member: str, *, is_folder: bool = False) -> str:
        """Check a member's path: FILE, ./FILE or FOLDER/FILE with one and the same FOLDER; return FILE."""
        self._members += 1
        if self._members > MAX_MEMBERS:
            self.refuse(f"holds more than {MAX_MEMBERS} files", member)
        parts = member.removeprefix("./").removesuffix("/" if is_folder else "").split("/")
        if is_folder:
            if parts in ([""], ["."]):
                return ""
            parts.append("")
        elif len(parts) == 1:
            parts.insert(0, "")
        if len(parts) != 2 or (parts[0] and not FILE_NAME.fullmatch(parts[0].replace("@", "-"))):
            self.refuse("leads to another folder; a bundle is one folder of files", member)
        if is_folder:
            return ""
        if self._top not in (None, parts[0]):
            self.refuse("is in another folder than the files before it", member)
        self._top = parts[0]
        if not FILE_NAME.fullmatch(parts[1]):
            self.refuse("is not a valid name for a file in a bundle", member)
        if parts[1].lower() in self.taken:
            self.refuse("is in the archive twice", member)
        self.taken.add(parts[1].lower())
        return parts[1]

    def write(self, name: str, content: IO[bytes], promised: int) -> None:
        """Copy a member, up to the allowed size."""
        if promised > MAX_FILE_BYTES:
            self.refuse(f"has {promised} bytes, more than the {MAX_FILE_BYTES} that are allowed", name)
        self._files.write(self._folder / name, self._chunks(name, content, promised))

    def count(self, size: int) -> None:
        """Count unpacked bytes; refuse too many."""
        self._unpacked += size
        if self._unpacked > MAX_UNPACKED_BYTES:
            self.refuse(f"unpacks to more than {MAX_UNPACKED_BYTES} bytes")
        if self._unpacked > max(RATIO_FROM_BYTES, MAX_RATIO * self._packed):
            self.refuse(f"unpacks to more than {MAX_RATIO} times its size")

    def _chunks(self, name: str, content: IO[bytes], promised: int) -> Iterator[bytes]:
        size = 0
        while chunk := content.read(_CHUNK):
            size += len(chunk)
            yield chunk
        if size != promised:
            self.refuse(f"has {size} bytes, the archive says {promised}", name)


def _open(archive: Path) -> BinaryIO:
    try:
        # O_NONBLOCK: opening a named pipe must not wait for a writer before fstat can refuse it.
        descriptor = os.open(archive, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise BundleError(f"{archive}: cannot be read: {error.strerror}") from None
    file = os.fdopen(descriptor, "rb")
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        file.close()
        raise BundleError(f"{archive}: expected a folder or a .tar.gz archive, found neither")
    return file


class _Counted(io.RawIOBase):
    """Counts bytes as they are decompressed, so that a bomb is refused before it is unpacked whole."""

    def __init__(self, source: gzip.GzipFile, target: _Target) -> None:
        self._source = source
        self._target = target

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data = self._source.read(min(size, _CHUNK) if size >= 0 else _CHUNK)
        self._target.count(len(data))
        return data


def _unpack_tar(stream: _Counted, target: _Target) -> None:
    class Member(tarfile.TarInfo):
        """Refuses by the raw header, before tarfile acts on it."""

        @classmethod
        def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
            found = super().frombuf(buf, encoding, errors)
            if found.type in _TAR_NOTES:
                if found.size > MAX_NOTE_BYTES:
                    target.refuse(
                        f"has an extra header of {found.size} bytes, expected {MAX_NOTE_BYTES} at most", found.name
                    )
            elif found.type not in (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.DIRTYPE):
                kind = _KIND_OF_TAR.get(found.type, "of an unknown kind")
                target.refuse(f"is {kind}; a bundle holds plain files only", found.name)
            return found

    with tarfile.open(fileobj=stream, mode="r|", tarinfo=Member, bufsize=_CHUNK) as tar:
        for member in tar:
            name = target.name_of(member.name, is_folder=member.isdir())
            if not name:
                continue
            content = tar.extractfile(member)
            if content is None or member.issparse():
                target.refuse("is a sparse file; a bundle holds plain files only", member.name)
            target.write(name, content, member.size)
