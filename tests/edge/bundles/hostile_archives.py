# ruff: noqa: E501, C901  # tables: one trick a line
# mypy: disable-error-code="misc, func-returns-value, union-attr"
# (of the lambdas in these tables, whose results nobody looks at)
"""Hostile and broken archives, and files that are none, each with the name that its refusal must say."""

import gzip
import io
import os
import stat
import struct
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.edge.bundles.hostile import ODD_NAMES, Hostile, Sound


def hostile_archives(sound: Sound) -> Iterator[Hostile]:
    yield from _tars(sound)
    yield from _zips(sound)
    yield from _others(sound)


def _tars(sound: Sound) -> Iterator[Hostile]:
    def tar(
        what: str, build: Callable[[tarfile.TarFile], object], names: str = "", form: int = tarfile.PAX_FORMAT
    ) -> Iterator[Hostile]:
        for suffix, mode in ((".tar", "w"), (".tar.gz", "w:gz")):

            def make(place: Path, mode: Any = mode, suffix: str = suffix) -> Path:
                with tarfile.open(place / f"hostile{suffix}", mode, format=form) as archive:
                    build(archive)
                return place / f"hostile{suffix}"

            yield Hostile(f"{suffix}: {what}", make, names or f"hostile{suffix}")

    def add(archive: tarfile.TarFile, name: str, content: bytes = b"x", **more: Any) -> Any:
        info = tarfile.TarInfo(name)
        info.size = len(content)
        for key, value in more.items():
            setattr(info, key, value)
        archive.addfile(info, io.BytesIO(content) if info.isreg() else None)

    def add_sound(archive: tarfile.TarFile, prefix: str = "") -> Any:
        for name, content in sound.files.items():
            add(archive, prefix + name, content)

    for odd in ODD_NAMES:
        name = odd.format(outside=sound.outside) if "{" in odd else odd
        if "\x00" not in name and name not in ("", ".") and not name.startswith("x" * 5000):
            shown = ascii(name)[1:-1]
            yield from tar(
                f"member {name[:30]!a}",
                lambda a, name=name: (add_sound(a), add(a, name)),
                shown if len(name) < 60 else "xxx",
            )
    for kind, label in {
        tarfile.SYMTYPE: "link", tarfile.LNKTYPE: "hard link", tarfile.CHRTYPE: "character device", tarfile.BLKTYPE: "disk",
        tarfile.FIFOTYPE: "pipe", tarfile.CONTTYPE: "contiguous", b"Z": "unknown", tarfile.GNUTYPE_SPARSE: "sparse", b"K": "long link",
    }.items():  # fmt: skip
        for target in ("cnn.tflite", "/etc/passwd", "../../outside/x"):
            yield from tar(
                f"{label} to {target}",
                lambda a, kind=kind, target=target: (add_sound(a), add(a, "evil", b"", type=kind, linkname=target)),
                "evil",
            )
    yield from tar(
        "a link, then a file through it",
        lambda a: (add(a, "evil", b"", type=tarfile.SYMTYPE, linkname=str(sound.outside)), add(a, "evil/x")),
        "evil",
    )
    yield from tar("a file twice", lambda a: (add_sound(a), add_sound(a)), "'manifest.json': is there twice")
    yield from tar(
        "names that differ in case", lambda a: (add_sound(a), add(a, "CNN.tflite")), "'CNN.tflite': is there twice"
    )
    yield from tar("two folders", lambda a: (add_sound(a, "one/"), add(a, "two/x")), "two/x")
    yield from tar("a file beside the folder", lambda a: (add_sound(a, "one/"), add(a, "x")), "'x'")
    yield from tar("many files", lambda a: [add(a, f"f{i}") for i in range(40)], "f19")
    yield from tar("many folders", lambda a: [add(a, f"d{i}", b"", type=tarfile.DIRTYPE) for i in range(40)], "d19")
    bomb, _ = reversed([*tar("a bomb of zeros", lambda a: add(a, "cnn.tflite", bytes(8 << 20)))])
    yield bomb  # without compression it is none
    yield from tar("a long name of 5000 bytes", lambda a: add(a, "x" * 5000), "", tarfile.GNU_FORMAT)
    yield from tar(
        "a note with another path",
        lambda a: (add_sound(a), add(a, "y", pax_headers={"path": "../../outside/x"})),
        "../../outside/x",
    )
    yield from tar("a note with a huge size", lambda a: (add_sound(a), add(a, "y", pax_headers={"size": str(1 << 50)})))
    yield from tar("a note with a negative size", lambda a: (add_sound(a), add(a, "y", pax_headers={"size": "-5"})))
    yield from tar(
        "a note of a sparse file",
        lambda a: (add_sound(a), add(a, "y", pax_headers={"GNU.sparse.map": "0,1", "GNU.sparse.size": "9"})),
    )
    yield from tar("a note of 10 kB", lambda a: (add_sound(a), add(a, "y", pax_headers={"comment": "x" * 10_000})))
    yield from tar("notes without end", lambda a: a.fileobj.write(_pax_chain(3000)))
    yield from tar("nothing", lambda a: None)
    yield from tar(
        "a header that promises 10 GB", lambda a: a.fileobj.write(_header("cnn.tflite", 10 << 30)), "cnn.tflite"
    )
    yield from tar(
        "a header that promises more than there is", lambda a: a.fileobj.write(_header("cnn.tflite", 500_000))
    )


def _header(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    return info.tobuf(tarfile.GNU_FORMAT)


def _pax_chain(n: int) -> bytes:
    return (_header("note", 10, tarfile.XHDTYPE) + b"10 a=bcde\n".ljust(512, b"\0")) * n


def _zips(sound: Sound) -> Iterator[Hostile]:
    def zipped(
        what: str,
        build: Callable[[zipfile.ZipFile], object],
        names: str = "hostile.zip",
        after: Callable[[bytes], bytes] = bytes,
    ) -> Hostile:
        def make(place: Path) -> Path:
            path = place / "hostile.zip"
            with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
                build(archive)
            path.write_bytes(after(path.read_bytes()))
            return path

        return Hostile(f".zip: {what}", make, names)

    def add_sound(archive: zipfile.ZipFile, prefix: str = "") -> Any:
        for name, content in sound.files.items():
            archive.writestr(prefix + name, content)

    def add(archive: zipfile.ZipFile, name: str, content: bytes = b"x", mode: int = 0) -> Any:
        info = zipfile.ZipInfo(name)
        info.external_attr = mode << 16
        info.orig_filename = name
        archive.writestr(info, content)

    for odd in ODD_NAMES:
        name = odd.format(outside=sound.outside) if "{" in odd else odd
        if "\x00" not in name and name not in ("", ".") and len(name) < 5000:
            yield zipped(
                f"member {name[:30]!a}",
                lambda a, name=name: (add_sound(a), add(a, name)),
                ascii(name)[1:-1] if len(name) < 60 else "xxx",
            )
    for mode, label in (
        (stat.S_IFLNK, "link"),
        (stat.S_IFCHR, "device"),
        (stat.S_IFBLK, "disk"),
        (stat.S_IFIFO, "pipe"),
        (stat.S_IFSOCK, "socket"),
    ):
        for target in (b"cnn.tflite", b"/etc/passwd", b"../../outside/x"):
            yield zipped(
                f"{label} to {target!r}",
                lambda a, mode=mode, target=target: (add_sound(a), add(a, "evil", target, mode | 0o777)),
                "evil",
            )
    yield zipped(
        "a NUL in a name",
        lambda a: (add_sound(a), add(a, "cnn2_tflite")),
        "cnn2\\x00tflite",
        lambda raw: raw.replace(b"cnn2_tflite", b"cnn2\0tflite"),
    )
    yield zipped(
        "names that differ in case", lambda a: (add_sound(a), add(a, "CNN.tflite")), "'CNN.tflite': is there twice"
    )
    yield zipped(
        "a file twice",
        lambda a: (add_sound(a), add(a, "cnn.tflitf")),
        "cnn.tflite",
        lambda raw: raw.replace(b"cnn.tflitf", b"cnn.tflite"),
    )
    yield zipped(
        "two names for one file", add_sound, "cnn.tflite", lambda raw: raw.replace(b"cnn.tflite", b"cnn.tflitX", 1)
    )
    yield zipped("two folders", lambda a: (add_sound(a, "one/"), add(a, "two/x")), "two/x")
    yield zipped("many files", lambda a: [add(a, f"f{i}") for i in range(40)], "f19")
    yield zipped("a list of 100 kB", lambda a: [add(a, f"f{i}") for i in range(2000)])
    yield zipped("a bomb of zeros", lambda a: a.writestr("cnn.tflite", bytes(8 << 20)))
    yield zipped("nothing", lambda a: None)
    yield zipped("ten bombs of 1 MB", lambda a: [a.writestr(f"f{i}", bytes(1 << 20)) for i in range(10)])
    for method in (1, 6, 9, 12, 14, 93, 95, 99):
        yield zipped(
            f"method {method}",
            add_sound,
            after=lambda raw, method=method: _zip_patch(raw, 10, 8, struct.pack("<H", method)),
        )
    yield zipped("encrypted", add_sound, after=lambda raw: _zip_patch(raw, 8, 6, b"\x01\x00"))
    yield zipped("wrong checksum", add_sound, after=lambda raw: _zip_patch(raw, 16, 14, b"\0\0\0\0"))
    yield zipped("promises 4 GB", add_sound, after=lambda raw: _zip_patch(raw, 24, 22, b"\xff\xff\xff\x7f"))
    yield zipped("promises one byte", add_sound, after=lambda raw: _zip_patch(raw, 24, 22, b"\x01\0\0\0"))
    yield zipped(
        "leads beyond its end",
        add_sound,
        after=lambda raw: _zip_patch(raw, 42, 42, b"\xff\xff\xff\x7f", local=False),
    )


def _zip_patch(raw: bytes, central: int, local_at: int, value: bytes, *, local: bool = True) -> bytes:
    """Write a value into every entry of the central directory, and into the local headers (APPNOTE 4.3.7, 4.3.12)."""
    out = bytearray(raw)
    for magic, offset in ((b"PK\x01\x02", central), *([(b"PK\x03\x04", local_at)] if local else [])):
        at = out.find(magic)
        while at >= 0:
            out[at + offset : at + offset + len(value)] = value
            at = out.find(magic, at + 4)
    return bytes(out)


def _others(sound: Sound) -> Iterator[Hostile]:
    def file(content: bytes, name: str = "hostile.bin") -> Callable[[Path], Path]:
        def make(place: Path) -> Path:
            (place / name).write_bytes(content)
            return place / name

        return make

    for what, content in {
        "empty": b"", "text": b"hello", "a model": sound.files["cnn.tflite"], "a script": b"#!/bin/sh\nrm -rf /\n", "zeros": bytes(10_000),
        "gzip of text": gzip.compress(b"hello"), "gzip of gzip": gzip.compress(gzip.compress(b"hello")), "gzip of nothing": gzip.compress(b""),
        "half a gzip header": b"\x1f\x8b", "zip's magic": b"PK\x03\x04", "zip's end alone": b"PK\x05\x06" + bytes(18), "7z": b"7z\xbc\xaf\x27\x1c" + bytes(100),
        "xz": b"\xfd7zXZ\x00" + bytes(100), "bzip2": b"BZh91AY" + bytes(100), "zstd": b"\x28\xb5\x2f\xfd" + bytes(100), "pickle": b"\x80\x04cos\nsystem\n.",
        "gzip bomb": gzip.compress(bytes(16 << 20)), "a tar's magic alone": bytes(257) + b"ustar" + bytes(250),
    }.items():  # fmt: skip
        yield Hostile(f"file: {what}", file(content), "hostile.bin")

    def pipe(place: Path) -> Path:
        os.mkfifo(place / "hostile.pipe")
        return place / "hostile.pipe"

    def huge(place: Path) -> Path:
        with (place / "hostile.tar").open("wb") as archive:
            archive.write(_header("cnn.tflite", 1 << 30))
            archive.truncate(1 << 30)
        return place / "hostile.tar"

    yield Hostile("file: a pipe", pipe, "hostile.pipe")
    yield Hostile("file: 1 GB of tar", huge, "hostile.tar")
    yield Hostile("file: /dev/zero", lambda place: Path("/dev/zero"), "/dev/zero")
