"""The parts of a message about a wrong setting: key, what was found, what is allowed. Never a password."""

import difflib
from collections.abc import Mapping
from typing import Any, Literal, get_args, get_origin
from urllib.parse import urlsplit

from edge.errors import ConfigError, redacted

URL_FORM = "mqtt://[user@]host[:port] or mqtts://[user@]host[:port], or ws:// or wss:// with [/path]"
URL_SCHEMES = {"mqtt": 1883, "mqtts": 8883, "ws": 80, "wss": 443}
"""what `mqtt.url` may begin with, and the port of each"""


def closest(key: str, known: Mapping[str, Any], prefix: str = "") -> str:
    """Suggest the known key that is most similar, or list all of them."""
    near = difflib.get_close_matches(key, list(known), n=1, cutoff=0.5)
    return f"; did you mean {prefix}{near[0]}?" if near else f"; there are {', '.join(known)}"


def allowed(kind: Any, message: str) -> str:
    """Return what a setting takes, from its type and msgspec's message (``Expected `int` <= 2 - at …``)."""
    bare = kind.__origin__ if hasattr(kind, "__metadata__") else kind
    if get_origin(bare) is Literal:
        return f"allowed is {' or '.join(map(str, get_args(bare)))}"
    if bare is bool:
        return "allowed is true or false"
    text = message.partition(" - at ")[0]
    if "[a-z0-9-]{1,64}" in text:
        return "allowed are a-z, 0-9 and -, at most 64 characters, or @serial"
    if "unix:/" in text:
        return "allowed is ADDRESS:PORT, such as 127.0.0.1:8378 or [::1]:8378, or unix:/PATH"
    return text[0].lower() + text[1:]


def shown(value: Any) -> str:
    """Return a value as text for a message: at most 120 characters, and without passwords."""
    if isinstance(value, bool):
        return str(value).lower()
    text = repr(redacted(value)) if isinstance(value, str) else redacted(repr(value))
    return text if len(text) <= 120 else text[:117] + "…"


def check_url(url: str) -> None:
    """Check the address of a broker. Raises ``ConfigError``."""
    try:
        parts = urlsplit(url)
        wrong = parts.scheme not in URL_SCHEMES or not parts.hostname or parts.port == 0 or bool(parts.fragment)
        if parts.scheme in ("ws", "wss"):
            wrong = wrong or " " in url or not url.isprintable()
        else:
            wrong = wrong or parts.path not in {"", "/"} or bool(parts.query)
    except ValueError:  # its text may hold part of a password
        wrong, parts = True, None
    if parts is not None and parts.password is not None and not wrong:
        raise ConfigError(
            "mqtt.url: a password does not belong in an address; put it into mqtt.password_file (mode 0600)"
        )
    if wrong:
        raise ConfigError(f"mqtt.url: found {shown(url)}: allowed is {URL_FORM}")


def is_one_line(text: str) -> bool:
    """True for a text without line breaks and other control characters."""
    return not any(ord(letter) < 32 or ord(letter) == 127 for letter in text)


def check_one_line(values: Mapping[str, Any], prefix: str = "") -> None:
    """Check that no text holds line breaks or other control characters. Raises ``ConfigError``."""
    for name, value in values.items():  # texts in lists are one of a few words
        if isinstance(value, Mapping):
            check_one_line(value, f"{prefix}{name}.")
        elif isinstance(value, str) and not is_one_line(value):
            raise ConfigError(f"{prefix}{name}: found {shown(value)}: allowed is one line of text")
