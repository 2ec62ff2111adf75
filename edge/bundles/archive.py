"""Unpacks a bundle from a .tar, .tar.gz or .zip that may be hostile; what it is, its content says and not its name.

A bundle is a few plain files in one folder, so everything else that archives can hold is refused: folders in folders,
links, devices, pipes, sparse and encrypted files, two files of one name. Sizes are counted as they are unpacked,
whatever the archive promises.
"""

import gzip
import io
import os
import stat
import struct
import tarfile
import zipfile
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
"""Below this much, unpacked, the ratio is of no matter."""
MAX_MEMBERS = MAX_FILES + len(RESERVED_NAMES) + 1
"""The files, and the folder that they are in."""
MAX_NOTE_BYTES = 4096
"""Of a tar's extra header with a long name and the like; tarfile reads it into memory whole."""

_CHUNK = 1 << 16
_ZIP_END, _ZIP_END_BYTES = b"PK\x05\x06", 22
_ZIP64 = b"PK\x06\x07"
_ZIP_LIST_BYTES = 16 * 1024
_TAR_NOTES = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME)
_KIND_OF_TAR = {
    tarfile.LNKTYPE: "a hard link", tarfile.SYMTYPE: "a link", tarfile.CHRTYPE: "a device", tarfile.BLKTYPE: "a device",
    tarfile.FIFOTYPE: "a pipe", tarfile.GNUTYPE_SPARSE: "a sparse file", tarfile.GNUTYPE_LONGLINK: "a link",
}  # fmt: skip
_DAMAGE = (
    tarfile.TarError, zipfile.BadZipFile, zlib.error, struct.error, EOFError, ValueError, OverflowError, RecursionError,
    NotImplementedError, RuntimeError, KeyError, IndexError,
)  # fmt: skip
"""What the two libraries raise on archives that are none, in the words of their sources."""


def unpack(archive: Path, folder: Path, files: Files | None = None) -> Path:
    """Unpack an archive's files into a new folder and return it; the caller removes it, also after an error.

    Raises
    ------
    BundleError
        It is no archive, damaged, too large, or holds something that is not part of a bundle; names archive and file.
    """
    files = files or Files()
    files.make_folder(folder)
    with _open(archive) as source:
        packed = os.fstat(source.fileno()).st_size
        target = _Target(archive.name, folder, files, packed)
        try:
            if packed > MAX_ARCHIVE_BYTES:
                target.refuse(f"has {packed} bytes, more than the {MAX_ARCHIVE_BYTES} that are allowed")
            _unpack_by_content(source, target)
        except _DAMAGE as error:
            target.refuse(f"damaged archive: {' '.join(str(error).split())[:100] or type(error).__name__}")
        except gzip.BadGzipFile as error:
            target.refuse(f"damaged archive: {error}")
    if not target.taken:
        target.refuse("an archive with nothing in it")
    return folder


class _Target:
    """Where members go, and the limits that they share."""

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
            self.refuse("is no name for a file of a bundle", member)
        if parts[1].lower() in self.taken:
            self.refuse("is there twice", member)
        self.taken.add(parts[1].lower())
        return parts[1]

    def write(self, name: str, content: "IO[bytes] | _Counted", promised: int) -> None:
        """Copy a member, no more of it than is allowed."""
        if promised > MAX_FILE_BYTES:
            self.refuse(f"has {promised} bytes, more than the {MAX_FILE_BYTES} that are allowed", name)
        self._files.write(self._folder / name, self._chunks(name, content, promised))

    def count(self, size: int) -> None:
        """Add to what has been unpacked."""
        self._unpacked += size
        if self._unpacked > MAX_UNPACKED_BYTES:
            self.refuse(f"unpacks to more than {MAX_UNPACKED_BYTES} bytes")
        if self._unpacked > max(RATIO_FROM_BYTES, MAX_RATIO * self._packed):
            self.refuse(f"unpacks to more than {MAX_RATIO} times its size")

    def _chunks(self, name: str, content: "IO[bytes] | _Counted", promised: int) -> Iterator[bytes]:
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
        raise BundleError(f"{archive}: no bundle: neither a folder nor an archive")
    return file


def _unpack_by_content(source: BinaryIO, target: _Target) -> None:
    head = source.read(512)
    source.seek(0)
    if head.startswith(b"PK\x03\x04"):
        _unpack_zip(source, target)
    elif head.startswith(b"\x1f\x8b"):
        with gzip.GzipFile(fileobj=source) as plain:
            _unpack_tar(_Counted(plain, target), target)
    elif head[257:262] == b"ustar":
        _unpack_tar(_Counted(source, target), target)
    else:
        target.refuse("no bundle: neither a folder nor a .tar, .tar.gz or .zip archive")


class _Counted(io.RawIOBase):
    """Bytes as they come out of the compression, counted, so that a bomb is seen while it goes off."""

    def __init__(self, source: IO[bytes] | gzip.GzipFile, target: _Target) -> None:
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
        """Refuses by the raw header, before tarfile reads what the header promises."""

        @classmethod
        def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
            found = super().frombuf(buf, encoding, errors)
            if found.type in _TAR_NOTES:
                if found.size > MAX_NOTE_BYTES:
                    target.refuse(f"a note of {found.size} bytes on the next file, which is no honest one", found.name)
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


def _unpack_zip(source: BinaryIO, target: _Target) -> None:
    _check_directory(source, target)
    with zipfile.ZipFile(source) as archive:
        for member in archive.infolist():
            kind = stat.S_IFMT(member.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                target.refuse("is a link or device; a bundle holds plain files only", member.orig_filename)
            if member.flag_bits & 1:
                target.refuse("is encrypted", member.orig_filename)
            if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                target.refuse("is packed by another method than deflate", member.orig_filename)
            # Not `filename`: zipfile cuts that at a NUL.
            name = target.name_of(member.orig_filename, is_folder=member.is_dir())
            if name:
                with archive.open(member) as content:
                    target.write(name, _Counted(content, target), member.file_size)


def _check_directory(source: BinaryIO, target: _Target) -> None:
    """Refuse a large list of members before zipfile makes objects of it (APPNOTE 4.3.16, end of central directory)."""
    size = source.seek(0, os.SEEK_END)
    source.seek(max(0, size - _ZIP_END_BYTES - 0xFFFF))
    tail = source.read()
    at = len(tail) - _ZIP_END_BYTES
    if not (tail[at:].startswith(_ZIP_END) and tail.endswith(b"\0\0")):
        at = tail.rfind(_ZIP_END)  # there is a comment behind it
    listed = int.from_bytes(tail[at + 12 : at + 16], "little")
    if at >= 0 and (listed > _ZIP_LIST_BYTES or tail[max(0, at - 20) : at].startswith(_ZIP64)):
        target.refuse(f"a list of files of more than {_ZIP_LIST_BYTES} bytes, which is no honest one")
