"""A bundle: a folder with ``manifest.json`` and the files that it names, verified before anything is parsed."""

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import edge
from edge.errors import BundleError, printable
from edge.inference.manifest import MANIFEST_NAME, MAX_MANIFEST_BYTES, FileEntry, Manifest, decode_manifest
from edge.inference.signature import SIGNATURE_BYTES, SIGNATURE_NAME, TrustedKeys


@dataclass(frozen=True, slots=True)
class Bundle:
    """A verified bundle; `open_bundle` returns one."""

    folder: Path
    manifest: Manifest
    identity: str
    """name@hash, the first 8 hex digits of the manifest's sha256; ``model`` in every event"""
    raw_manifest: bytes
    """the bytes of ``manifest.json``: a signature signs these"""
    signature: bytes | None
    """``manifest.sig``, 64 bytes; None where the bundle has none"""

    def read(self, name: str) -> bytes:
        """Return one file's content, verified again, as it may have changed since.

        Raises `BundleError`: the bundle has no such file, or its content does not match the manifest.
        """
        entry = self.manifest.files.get(name)
        if entry is None:
            raise BundleError(f"{self.folder}: there is no {name} in this bundle")
        with _opened(self.folder) as folder:
            return _read_verified(folder, name, entry)


def open_bundle(folder: Path, keys: TrustedKeys | None = None) -> Bundle:
    """Open a bundle and verify every file in it.

    Only regular files are read, never through a link. Nothing is parsed before its hash is verified, and the manifest
    not before its signature is.

    ``keys``: one of them must have signed the bundle; None accepts any bundle and ignores its signature.
    Raises `BundleError`: the folder or a file is missing, too large, a link, damaged or not in the manifest; the bundle
    is not signed by one of the keys; or its schema, labels or versions are unknown here. The message names the file and
    says why.
    """
    with _opened(folder) as descriptor:
        raw = _read_regular(descriptor, MANIFEST_NAME, MAX_MANIFEST_BYTES)
        present = set(os.listdir(descriptor))  # noqa: PTH208  # pathlib lists no open descriptor
        signature = _read_signature(descriptor) if SIGNATURE_NAME in present else None
        if keys is not None:
            keys.check(raw, signature)
        manifest = decode_manifest(raw)
        extra = sorted(present - {MANIFEST_NAME, SIGNATURE_NAME, *manifest.files})
        if extra:
            raise BundleError(f"{extra[0]!r} is not in the manifest")
        for name, entry in manifest.files.items():
            _read_verified(descriptor, name, entry)
    return Bundle(folder, manifest, f"{manifest.name}@{hashlib.sha256(raw).hexdigest()[:8]}", raw, signature)


def shipped_bundle(name: str = "default") -> Path:
    """Return the folder of a bundle that ships: packaged in an installed wheel, ``models/NAME`` in a checkout.

    Raises `BundleError`: there is neither.
    """
    package = Path(edge.__file__).resolve().parent
    for folder in (package / "models" / name, package.parent / "models" / name):
        if (folder / MANIFEST_NAME).exists():
            return folder
    what = "model bundle" if name == "default" else f"{name} bundle"
    raise BundleError(
        f"no {what} ships with this installation; name one (--bundle DIR) or make one: python -m export --quantize"
    )


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    """Keep the folder open, so that all files come from one bundle even while bundles are switched."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise BundleError(f"{folder}: no model bundle: {error.strerror}") from None
    try:
        yield descriptor
    except BundleError as error:
        raise BundleError(f"{folder}: {printable(str(error))}") from None
    finally:
        os.close(descriptor)


def _read_signature(folder: int) -> bytes:
    signature = _read_regular(folder, SIGNATURE_NAME, SIGNATURE_BYTES)
    if len(signature) != SIGNATURE_BYTES:
        raise BundleError(f"{SIGNATURE_NAME}: has {len(signature)} bytes, a signature has {SIGNATURE_BYTES}")
    return signature


def _read_verified(folder: int, name: str, entry: FileEntry) -> bytes:
    content = _read_regular(folder, name, entry.bytes)
    if len(content) != entry.bytes:
        raise BundleError(f"{name}: has {len(content)} bytes, the manifest says {entry.bytes}")
    if hashlib.sha256(content).hexdigest() != entry.sha256:
        raise BundleError(f"{name}: damaged: its sha256 is not the one in the manifest")
    return content


def _read_regular(folder: int, name: str, limit: int) -> bytes:
    # O_NONBLOCK: opening a named pipe must not wait for a writer before fstat can refuse it.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        if stat.S_ISLNK(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            raise BundleError(f"{name}: is a link; a bundle holds plain files only")
        descriptor = os.open(name, flags, dir_fd=folder)
        try:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise BundleError(f"{name}: is not a plain file")
            if found.st_size > limit:
                raise BundleError(f"{name}: has {found.st_size} bytes, more than the {limit} allowed")
            with os.fdopen(descriptor, "rb", closefd=False) as file:
                return file.read(limit + 1)
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        raise BundleError(f"{name}: missing") from None
    except OSError as error:
        raise BundleError(f"{name}: cannot be read: {error.strerror}") from None
