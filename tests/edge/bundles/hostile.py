# ruff: noqa: E501, C901  # tables: one trick a line
# mypy: disable-error-code="misc, func-returns-value, union-attr"
# (of the lambdas in these tables, whose results nobody looks at)
"""Hostile and broken bundles, made from a sound one, each with the name that its refusal must say."""

import base64
import gzip
import io
import os
import socket
import stat
import struct
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from tests.edge.bundles.conftest import KeyPair

FILES = ("manifest.json", "cnn.tflite", "manifest.sig")
ODD_NAMES = (
    "../cnn.tflite", "../../outside/x", "/etc/passwd", "{outside}/x", "..", ".", "", "a/../../x", "a/b/c", "./../x",
    "a\x00b", "a\nb", "a\rb", "a\x1b[2Jb", "\u202egpj.exe", "cnn\uff0ftflite", "cnn\u2215tflite", "\u0441nn.tflite", "C:\\x", "a\\b",
    "\\\\server\\x", ".hidden", "-rf", "x" * 65, "x" * 5000, "cnn.tflite ", "cnn.tflite\u200b", "caf\u00e9.tflite", "~root", "$HOME", "a:b",
    "a;b", "*",
)  # fmt: skip
SCHEMAS: tuple[Any, ...] = (-1, 0, 2, 3, 99, 1.5, "1", None, True, [], {}, 2**31, 2**64, "newest", [1])


@dataclass(frozen=True, slots=True)
class Sound:
    """What everything here is made from."""

    files: dict[str, bytes]
    keys: KeyPair
    outside: Path
    """must stay empty"""

    def signed(self, manifest: bytes) -> dict[str, bytes]:
        """The same bundle with another manifest, rightly signed: so that the manifest itself is what is refused."""
        from export.sign import load_signer

        return {**self.files, "manifest.json": manifest, "manifest.sig": load_signer(self.keys.private)(manifest)}

    def changed(self, change: Callable[[dict[str, Any]], object]) -> dict[str, bytes]:
        manifest = msgspec.json.decode(self.files["manifest.json"])
        change(manifest)
        return self.signed(msgspec.json.encode(manifest))


@dataclass(frozen=True, slots=True)
class Hostile:
    what: str
    make: Callable[[Path], Path]
    """Writes it into a folder and returns what to install."""
    names: str
    """must be in the message: the file that is at fault"""

    def __post_init__(self) -> None:
        assert self.names, f"{self.what}: say which file its refusal must name"


def folder_of(files: dict[str, bytes]) -> Callable[[Path], Path]:
    def make(place: Path) -> Path:
        for name, content in files.items():
            (place / name).write_bytes(content)
        return place

    return make


def all_hostile(sound: Sound) -> Iterator[Hostile]:
    yield from _manifests(sound)
    yield from _signatures(sound)
    yield from _folders(sound)
    yield from _tars(sound)
    yield from _zips(sound)
    yield from _others(sound)


def _manifests(sound: Sound) -> Iterator[Hostile]:
    def case(what: str, change: Callable[[dict[str, Any]], object], names: str = "manifest.json") -> Hostile:
        return Hostile(f"manifest: {what}", folder_of(sound.changed(change)), names)

    for schema in SCHEMAS:
        if schema is not True:
            yield case(f"schema {schema!r}", lambda m, schema=schema: m.update(schema=schema))
    for odd in ODD_NAMES:
        name = odd.format(outside=sound.outside) if "{" in odd else odd

        def rename(m: dict[str, Any], name: str = name) -> None:
            m["files"][name] = m["files"].pop("cnn.tflite")
            m["models"]["cnn"]["file"] = name

        yield case(f"a file named {name[:30]!a}", rename)
    swapped = "0" * 64
    yield case("hash of nothing", lambda m: m["files"]["cnn.tflite"].update(sha256=swapped), "cnn.tflite")
    yield case("a second file with the first one's hash", lambda m: m["files"].update({"b": m["files"]["cnn.tflite"]}))
    yield case(
        "names that differ in case",
        lambda m: m["files"].update({"CNN.tflite": m["files"]["cnn.tflite"]}),
        "manifest.json: 'cnn.tflite'",
    )
    yield case("bundle's name leads out", lambda m: m.update(name="../../outside"))
    yield case("a field with a line end", lambda m: m.update({"a\nb\x1b[31m": 1}))
    yield case("a value with a line end", lambda m: m["models"]["cnn"].update(quantization="a\nerror: b"))
    yield case("labels with a line end", lambda m: m.update(labels=["a\nb", "c", "d", "e", "f"]))
    for size in (0, -1, 1, 2**40, 2**63, "6000", None, 1.5):
        names = "cnn.tflite: has" if size == 1 else "manifest.json"
        yield case(f"{size!r} bytes", lambda m, size=size: m["files"]["cnn.tflite"].update(bytes=size), names)
    for key in ("schema", "name", "labels", "files", "models", "input", "versions", "landmark_features_version"):
        yield case(f"no {key}", lambda m, key=key: m.pop(key))
        yield case(f"{key} is null", lambda m, key=key: m.update({key: None}))
    raw = sound.files["manifest.json"]
    for what, text in {
        "empty": b"", "not JSON": b"schema = 1", "deep": b'{"schema":1,"name":' + b"[" * 30_000, "UTF-16": raw.decode().encode("utf-16"),
        "BOM": b"\xef\xbb\xbf" + raw, "twice": raw + raw, "large": raw + b" " * 70_000, "list": b"[" + raw + b"]",
        "NaN": raw.replace(b'"schema":1', b'"schema":NaN'), "bad UTF-8": raw.replace(b"small", b"sm\xff\xfel"),
        "pickle": b"\x80\x04cos\nsystem\n(S'touch x'\ntR.",
    }.items():  # fmt: skip
        yield Hostile(f"manifest: {what}", folder_of(sound.signed(text)), "manifest.json")


def _signatures(sound: Sound) -> Iterator[Hostile]:
    good = sound.files["manifest.sig"]
    odd = {"empty": b"", "zeros": bytes(64), "ones": b"\xff" * 64, "text": base64.b64encode(good), "hex": good.hex().encode(),
           "twice": good + good, "halves changed": good[32:] + good[:32], "PEM": b"-----BEGIN SIGNATURE-----\n"}  # fmt: skip
    odd |= {f"of {n} bytes": good[:n] for n in (1, 2, 31, 32, 48, 62, 63)}
    for what, content in odd.items():
        yield Hostile(f"signature: {what}", folder_of({**sound.files, "manifest.sig": content}), "manifest.sig")
    unsigned = {name: content for name, content in sound.files.items() if name != "manifest.sig"}
    yield Hostile("signature: none", folder_of(unsigned), "manifest.sig")


def _folders(sound: Sound) -> Iterator[Hostile]:
    elsewhere = sound.outside.parent / "elsewhere"

    def replaced(name: str, by: Callable[[Path], object]) -> Callable[[Path], Path]:
        def make(place: Path) -> Path:
            folder_of(sound.files)(place)
            (place / name).unlink()
            by(place / name)
            return place

        return make

    def link(path: Path) -> None:
        (elsewhere / path.name).write_bytes(sound.files[path.name])
        path.symlink_to(elsewhere / path.name)

    def socket_at(path: Path) -> None:
        with socket.socket(socket.AF_UNIX) as one:
            here = Path.cwd()
            os.chdir(path.parent)  # the path of a socket is short
            try:
                one.bind(path.name)
            finally:
                os.chdir(here)

    zero, disk = os.makedev(1, 5), os.makedev(7, 0)
    for name in FILES:
        yield Hostile(f"{name} is a link to the right content", replaced(name, link), name)
        yield Hostile(f"{name} is a dangling link", replaced(name, lambda path: path.symlink_to("nowhere")), name)
        yield Hostile(f"{name} is a link to itself", replaced(name, lambda path: path.symlink_to(path.name)), name)
        yield Hostile(f"{name} is a link to a device", replaced(name, lambda path: path.symlink_to("/dev/zero")), name)
        yield Hostile(f"{name} is a pipe", replaced(name, os.mkfifo), name)
        yield Hostile(f"{name} is a folder", replaced(name, lambda path: path.mkdir()), name)
        yield Hostile(f"{name} is a socket", replaced(name, socket_at), name)
        if os.geteuid() == 0:
            yield Hostile(
                f"{name} is /dev/zero", replaced(name, lambda p: os.mknod(p, stat.S_IFCHR | 0o600, zero)), name
            )
            yield Hostile(f"{name} is a disk", replaced(name, lambda p: os.mknod(p, stat.S_IFBLK | 0o600, disk)), name)
        content = sound.files[name]
        yield Hostile(f"{name} is missing", replaced(name, lambda path: None), name)
        yield Hostile(
            f"{name} has one byte more",
            folder_of({**sound.files, name: content + b"\0"}),
            "manifest." if name != "cnn.tflite" else name,
        )
        yield Hostile(f"{name} is huge", replaced(name, lambda path: os.truncate(_touch(path), 1 << 40)), name)
    for extra in (
        "CNN.TFLITE",
        "manifest.JSON",
        "run.sh",
        "cnn.tflite\n",
        "\u202egpj.exe",
        "a\x1b[2J",
        "__init__.py",
        ".hidden",
        "x" * 255,
    ):
        yield Hostile(f"extra file {extra[:20]!a}", folder_of({**sound.files, extra: b"x"}), repr(extra)[1:-1])
    swapped = {**sound.files, "cnn.tflite": sound.files["manifest.json"], "manifest.json": sound.files["cnn.tflite"]}
    yield Hostile("contents swapped", folder_of(swapped), "manifest.sig")


def _touch(path: Path) -> Path:
    path.touch()
    return path


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
    yield Hostile("folder: empty", lambda place: place, "manifest.json")
