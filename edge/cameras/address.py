"""Parses and checks camera addresses: ``scheme:target?option=value&option=value``.

Paths are never percent-decoded, so ``file:/clips/100%#1.mp4`` is that file. If the whole text after the scheme is an
existing path, it has no options. Otherwise what follows the last ``?`` is read as options if it looks like
``key=value``.
"""

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from edge.errors import ConfigError, redacted

_LOOKS_LIKE_OPTIONS = re.compile(r"[A-Za-z_]+=[^&=]*(&[A-Za-z_]+=[^&=]*)*")


@dataclass(frozen=True, slots=True)
class Address:
    """A camera address, parsed and checked."""

    scheme: str
    target: str
    """path, number or, for a network camera, the whole URL"""
    options: Mapping[str, str]
    """all options of the scheme, with defaults filled in"""

    @property
    def size(self) -> tuple[int, int]:
        """Requested width and height, pixels."""
        return int(self.options["width"]), int(self.options["height"])


@dataclass(frozen=True, slots=True)
class _Option:
    allowed: tuple[str, ...] | range
    default: str

    def accepts(self, text: str) -> bool:
        if isinstance(self.allowed, range):
            return text.isascii() and text.isdecimal() and len(text) < 6 and int(text) in self.allowed
        return text in self.allowed

    def __str__(self) -> str:
        if not isinstance(self.allowed, range):
            return " or ".join(self.allowed)
        kind = "even numbers" if self.allowed.step == 2 else "whole numbers"
        return f"{kind} from {self.allowed[0]} to {self.allowed[-1]}"


@dataclass(frozen=True, slots=True)
class _Scheme:
    form: str
    options: Mapping[str, _Option]


_PACE = ("realtime", "fast")
_LOOP = _Option(("0", "1"), "0")
# 640x480 at 15 frames a second is what the detector manages on a Pi. YUV420 halves its planes, hence even numbers.
_STREAM = {
    "width": _Option(range(160, 1921, 2), "640"),
    "height": _Option(range(120, 1081, 2), "480"),
    "fps": _Option(range(1, 121), "15"),
}
SCHEMES: Mapping[str, _Scheme] = {
    "picamera2": _Scheme("picamera2:0", _STREAM),
    "v4l2": _Scheme("v4l2:/dev/video0", _STREAM | {"format": _Option(("auto", "mjpg", "yuyv"), "auto")}),
    "rtsp": _Scheme("rtsp://HOST/PATH", {}),
    "http": _Scheme("http://HOST/PATH", {}),
    "https": _Scheme("https://HOST/PATH", {}),
    "file": _Scheme("file:CLIP", {"pace": _Option(_PACE, "fast"), "loop": _LOOP}),
    "photos": _Scheme("photos:FOLDER", {}),
    "demo": _Scheme("demo:", {"pace": _Option(_PACE, "realtime"), "loop": _LOOP}),
}

_NETWORK = ("rtsp", "http", "https")
_CAMERAS = frozenset({"picamera2", "v4l2", *_NETWORK})


def parse_address(uri: str) -> Address:
    """Parse and check a camera address.

    Raises `ConfigError`: unknown scheme, option or value. The message names what was found, what is allowed and the
    closest match, and never holds a password.
    """
    name, colon, rest = uri.partition(":")
    if not colon or name not in SCHEMES:
        raise ConfigError(f"camera: found {redacted(uri)!r}: {_advice(uri, name)}")
    if name in _NETWORK:
        _check_network(uri)
        return Address(name, uri, {})
    scheme = SCHEMES[name]
    target, given = _split(rest)
    options = {key: option.default for key, option in scheme.options.items()}
    options |= _checked(uri, name, given)
    _check_target(uri, name, target)
    return Address(name, str(Path(target).expanduser()) if target.startswith("~/") else target, options)


def is_camera(uri: str) -> bool:
    """True for a camera, which should never end; False for a clip or a folder."""
    return uri.partition(":")[0] in _CAMERAS


def _split(rest: str) -> tuple[str, list[str]]:
    target, mark, tail = rest.rpartition("?")
    if not mark or not _LOOKS_LIKE_OPTIONS.fullmatch(tail) or (target and Path(rest).expanduser().exists()):
        return rest, []
    return target, tail.split("&")


def _checked(uri: str, name: str, given: list[str]) -> dict[str, str]:
    known = SCHEMES[name].options
    checked: dict[str, str] = {}
    for pair in _without_size(given) if "width" in known else given:
        key, _, value = pair.partition("=")
        if not known:
            raise ConfigError(f"camera: found {uri!r}: {name}: takes no options, found {key!r}")
        if key not in known:
            raise ConfigError(
                f"camera: found {uri!r}: there is no option {key!r}; there are {', '.join(known)}{_closest(key, known)}"
            )
        if key in checked:
            raise ConfigError(f"camera: found {uri!r}: the option {key} is given twice")
        if not known[key].accepts(value):
            words = known[key].allowed
            near = "" if isinstance(words, range) else _closest(value, words)
            raise ConfigError(f"camera: found {uri!r}: {key} is {value!r}; allowed: {known[key]}{near}")
        checked[key] = value
    return checked


def _without_size(given: list[str]) -> list[str]:
    """Replace ``size=640x480`` by width and height."""
    pairs: list[str] = []
    for pair in given:
        key, _, value = pair.partition("=")
        width, cross, height = value.partition("x")
        pairs += [f"width={width}", f"height={height}"] if key == "size" and cross else [pair]
    return pairs


def _check_target(uri: str, name: str, target: str) -> None:
    form = SCHEMES[name].form
    if name == "demo" and target:
        raise ConfigError(f"camera: found {uri!r}: demo: takes no name, only options: demo:?loop=1")
    if name != "demo" and not target:
        raise ConfigError(f"camera: found {uri!r}: what follows {name}: is missing; allowed is {form}")
    if "\0" in target:
        raise ConfigError(f"camera: found {uri!r}: a path cannot hold a zero byte")
    if name == "picamera2" and not re.fullmatch(r"[0-9]{1,2}", target):
        raise ConfigError(f"camera: found {uri!r}: a camera is named by its number; allowed is {form}")


def _check_network(uri: str) -> None:
    scheme = uri.partition(":")[0]
    try:
        parts = urlsplit(uri)
        complete = uri.startswith(f"{scheme}://") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        complete = False
    login, at, _ = uri.partition("://")[2].rpartition("@")
    _, colon, password = login.partition(":")
    # A / # or ? would end host and port; then what was meant as a password is part of a path, and the @ stands there.
    codes = {letter: f"%{ord(letter):02X}" for letter in "#/?@:[] %" if at and colon and letter in password}
    if "%" in codes and not re.search(r"%(?![0-9A-Fa-f]{2})", password):
        del codes["%"]
    if codes and (not complete or set(codes) & set("#/?")):
        advice = ", ".join(f"{code} for {'a blank' if letter == ' ' else letter}" for letter, code in codes.items())
        raise ConfigError(f"camera: found {redacted(uri)!r}: in the password, write {advice}") from None
    # FFmpeg would take blanks and control characters into its request.
    if not complete or not uri.isprintable() or " " in uri:
        raise ConfigError(
            f"camera: found {redacted(uri)!r}: allowed is {scheme}://[user:password@]host[:port]/path, "
            "with %40 for an @ and %3A for a : in a password"
        ) from None


def _advice(uri: str, name: str) -> str:
    forms = ", ".join(scheme.form for scheme in SCHEMES.values())
    path = Path(uri).expanduser()
    guess = ""
    if uri.startswith("/dev/video"):
        guess = f"v4l2:{uri}"
    elif uri and "\0" not in uri and len(uri) < 1000 and path.exists():
        guess = f"photos:{uri}" if path.is_dir() else f"file:{uri}"
    elif uri.isdecimal():
        guess = f"picamera2:{uri}"
    elif near := difflib.get_close_matches(name.lower(), SCHEMES, n=1, cutoff=0.5):
        guess = SCHEMES[near[0]].form
    return f"allowed are {forms}" + (f"; did you mean {guess}?" if guess else "")


def _closest(word: str, known: Mapping[str, _Option] | tuple[str, ...]) -> str:
    near = difflib.get_close_matches(word.lower(), list(known), n=1, cutoff=0.5)
    return f"; did you mean {near[0]}?" if near else ""
