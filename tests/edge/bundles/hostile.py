# ruff: noqa: E501  # tables: one trick a line
# mypy: disable-error-code="misc, func-returns-value, union-attr"
# (of the lambdas in these tables, whose results nobody looks at)
"""Hostile and broken bundles in folders, made from a sound one, each with the name that its refusal must say."""

import base64
import os
import socket
import stat
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
        from export.bundle import load_signer

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


def hostile_folders(sound: Sound) -> Iterator[Hostile]:
    yield from _manifests(sound)
    yield from _signatures(sound)
    yield from _folders(sound)
    yield Hostile("folder: empty", lambda place: place, "manifest.json")


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
