# ruff: noqa: E501, C901  # tables: one trick a line
# mypy: disable-error-code="misc, func-returns-value, union-attr"
# (of the lambdas in these tables, whose results nobody looks at)
"""Hostile and broken archives, and files that are none, each with the name that its refusal must say."""

import gzip
import io
import os
import shutil
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.edge.bundles.hostile import ODD_NAMES, Hostile, Sound


def hostile_archives(sound: Sound) -> Iterator[Hostile]:
    yield from _tars(sound)
    yield from _others(sound)


def _tars(sound: Sound) -> Iterator[Hostile]:
    def tar(
        what: str, build: Callable[[tarfile.TarFile], object], names: str = "", form: int = tarfile.PAX_FORMAT
    ) -> Iterator[Hostile]:
        def make(place: Path) -> Path:
            with tarfile.open(place / "hostile.tar.gz", "w:gz", format=form) as archive:
                build(archive)
            return place / "hostile.tar.gz"

        yield Hostile(what, make, names or "hostile.tar.gz")

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
    yield from tar("a file twice", lambda a: (add_sound(a), add_sound(a)), "'manifest.json': is in the archive twice")
    yield from tar(
        "names that differ in case",
        lambda a: (add_sound(a), add(a, "CNN.tflite")),
        "'CNN.tflite': is in the archive twice",
    )
    yield from tar("two folders", lambda a: (add_sound(a, "one/"), add(a, "two/x")), "two/x")
    yield from tar("a file beside the folder", lambda a: (add_sound(a, "one/"), add(a, "x")), "'x'")
    yield from tar("many files", lambda a: [add(a, f"f{i}") for i in range(40)], "f19")
    yield from tar("many folders", lambda a: [add(a, f"d{i}", b"", type=tarfile.DIRTYPE) for i in range(40)], "d19")
    yield from tar("a bomb of zeros", lambda a: add(a, "cnn.tflite", bytes(8 << 20)))
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

    def packed(form: str) -> Callable[[Path], Path]:
        def make(place: Path) -> Path:
            (place / "in").mkdir()
            for name, content in sound.files.items():
                (place / "in" / name).write_bytes(content)
            return Path(shutil.make_archive(str(place / "hostile"), form, place / "in"))

        return make

    advice = "expected a folder or a .tar.gz archive; pack it with: tar czf bundle.tar.gz FOLDER"
    yield Hostile("file: a sound bundle as .zip", packed("zip"), f"hostile.zip: {advice}")
    yield Hostile("file: a sound bundle as .tar", packed("tar"), f"hostile.tar: {advice}")
    yield Hostile("file: a pipe", pipe, "hostile.pipe")
    yield Hostile("file: 1 GB of tar", huge, "hostile.tar")
    yield Hostile("file: /dev/zero", lambda place: Path("/dev/zero"), "/dev/zero")
