"""Downloads one file from an http(s) address, bounded in size and time; certificates are always checked.

`download` takes pictures and clips, with a login in the address if need be; `download_secure` anything over https.
"""

import base64
import http.client
import re
import ssl
import tempfile
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from edge import __version__
from edge.content import suffix_of
from edge.errors import BundleError, EmotionEdgeError, ImageError, printable, redacted

MAX_BYTES = 200_000_000
TIMEOUT_S = 20.0
"""Seconds for each wait for the server."""
TOTAL_S = 300.0
"""Seconds for the whole download."""
_CHUNK = 1 << 16
_ANY_HEADER = 47
"""For zlib: a window of 32 kB, with the header of gzip or of zlib."""

USER_AGENT = f"emotion-edge/{__version__}"
"""Many servers refuse the one of Python's library."""
_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_ADDRESS_LETTERS = "/%:@!$&'()*+,;=~?"

SUFFIX_OF_TYPE = {
    "image/bmp": ".bmp", "image/gif": ".gif", "image/jpeg": ".jpg", "image/png": ".png", "image/tiff": ".tiff",
    "image/webp": ".webp", "video/mp4": ".mp4", "video/quicktime": ".mov", "video/webm": ".webm",
    "video/x-matroska": ".mkv", "video/x-msvideo": ".avi",
}  # fmt: skip


def download(url: str, folder: Path) -> Path:
    """Fetch a picture or clip into ``folder`` and return its path.

    What it is, its bytes decide; only if they are unknown, the server's content type, then the address. The suffix of
    the path says what was found. ``user:password@`` in the address is sent as Basic authentication.

    Raises `ImageError`: the address cannot be reached, answers with an error, or holds no picture or clip, or too large
    a one. Its message holds no password.
    """
    path = folder / "download"
    content_type = _fetch(url, path, MAX_BYTES, ImageError)
    suffix = suffix_of(path) or _stated_suffix(url, content_type)
    if not suffix:
        raise ImageError(f"{redacted(url)}: holds {content_type}, which is no picture or clip")
    return path.rename(path.with_suffix(suffix))


def is_web_address(text: str) -> bool:
    """Tell an http(s) address from a path."""
    return text.lower().startswith(("http://", "https://"))


@contextmanager
def downloaded(url: str) -> Iterator[Path]:
    """Fetch a picture or clip as `download` does; the file is there until the ``with`` block ends."""
    try:
        folder = tempfile.TemporaryDirectory(prefix="emotion-edge-")
    except OSError as error:
        raise ImageError(f"{redacted(url)}: there is no folder to fetch it to: {error.strerror}") from error
    with folder as name:
        yield download(url, Path(name))


def download_secure(url: str, path: Path, max_bytes: int) -> Path:
    """Fetch a file over https, redirects included, and return ``path``.

    Raises `BundleError`: the address is not https or holds a password, cannot be reached, has no certificate that this
    machine trusts, answers with an error, or holds too much.
    """
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise BundleError(f"{url}: no address: {error}") from None
    if parts.username is not None or parts.password is not None:
        raise BundleError(f"https://{parts.hostname}: an address with a password in it ends in logs; give one without")
    if parts.scheme != "https":
        raise BundleError(f"{url}: only https is allowed here")
    _fetch(url, path, max_bytes, BundleError)
    return path


class Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to http and https, but never from https to http, and takes a login only to the same host."""

    def redirect_request(self, *args: Any) -> urllib.request.Request | None:
        """Return the request for the new address."""
        request, new_url = args[0], args[-1]
        if request.full_url.startswith("https:") and not new_url.startswith("https:"):
            raise urllib.error.URLError("redirected from https to http, which is refused")
        new = super().redirect_request(*args)
        login = request.unredirected_hdrs.get("Authorization")
        if new is not None and login and (new.type, new.host) == (request.type, request.host):
            new.add_unredirected_header("Authorization", login)
        return new


def _fetch(url: str, path: Path, max_bytes: int, kind: type[EmotionEdgeError]) -> str:
    """Fetch to a path and return the content type that the server states."""
    shown = redacted(url)
    try:
        with web_opener(urllib.request.ProxyHandler()).open(web_request(url), timeout=TIMEOUT_S) as answer:
            _copy(answer, path, shown, max_bytes, kind)
            return str((answer.headers.get("Content-Type") and answer.headers.get_content_type()) or "no content type")
    except urllib.error.HTTPError as error:
        error.close()
        advice = ""
        if error.code == 401:
            advice = "; give user and password as http://USER:PASSWORD@HOST/, with %40 for an @ and %2F for a /"
        if "infinite loop" in str(error.reason):
            raise kind(f"{shown}: the server sends from one address to another without an end") from None
        raise kind(f"{shown}: the server answered {error.code} {printable(str(error.reason))}{advice}") from None
    except (urllib.error.URLError, OSError, http.client.HTTPException, ValueError) as error:
        raise kind(f"{shown}: cannot be fetched: {reason_of(error)}") from None


def web_opener(*more: urllib.request.BaseHandler) -> urllib.request.OpenerDirector:
    """Return an opener for http and https alone, with certificates checked; ``more`` handlers go after the usual."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.HTTPHandler(), urllib.request.HTTPSHandler(context=ssl.create_default_context()),
        urllib.request.HTTPErrorProcessor(), urllib.request.HTTPDefaultErrorHandler(), Redirects(), *more,
    ):  # fmt: skip
        opener.add_handler(handler)
    return opener


def reason_of(error: Exception) -> str:
    """Return why an address cannot be reached, in words that are safe to show."""
    reason = getattr(error, "reason", None) or error
    return printable(redacted(str(getattr(reason, "strerror", None) or reason)))


def web_request(url: str) -> urllib.request.Request:
    """Return the request for an http(s) address as people write it.

    Blanks, letters beyond ASCII and a lone ``%`` are percent-encoded, a host name beyond ASCII becomes its IDNA form,
    and ``user:password@`` becomes Basic authentication.

    Raises `ValueError`: it is no address.
    """
    parts = urlsplit(url)
    host = (
        (parts.hostname or "").encode("idna").decode() if ":" not in (parts.hostname or "") else f"[{parts.hostname}]"
    )
    address = host if parts.port is None else f"{host}:{parts.port}"
    path, query = (
        quote(_PERCENT.sub("%25", text), safe=_ADDRESS_LETTERS, errors="surrogateescape")
        for text in (parts.path, parts.query)
    )
    request = urllib.request.Request(  # noqa: S310  # the opener knows no scheme but http and https
        urlunsplit((parts.scheme, address, path, query, "")), headers={"User-Agent": USER_AGENT}
    )
    if parts.username is not None or parts.password is not None:
        login = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
        request.add_unredirected_header("Authorization", "Basic " + base64.b64encode(login.encode()).decode())
    return request


def _stated_suffix(url: str, content_type: str) -> str:
    if content_type in SUFFIX_OF_TYPE:
        return SUFFIX_OF_TYPE[content_type]
    named = PurePosixPath(unquote(urlsplit(url).path)).suffix.lower()
    unstated = content_type in ("application/octet-stream", "binary/octet-stream", "no content type")
    return named if unstated and named in SUFFIX_OF_TYPE.values() else ""


def _copy(
    answer: http.client.HTTPResponse, path: Path, shown: str, max_bytes: int, kind: type[EmotionEdgeError]
) -> None:
    size = 0
    until_s = time.monotonic() + TOTAL_S
    # Not asked for, but some servers pack everything.
    packed = answer.headers.get("Content-Encoding", "").strip().lower() in ("gzip", "x-gzip", "deflate")
    unpack = zlib.decompressobj(_ANY_HEADER) if packed and kind is ImageError else None
    with path.open("wb") as file:
        while chunk := answer.read1(_CHUNK):
            size += len(chunk)
            if time.monotonic() > until_s:
                raise kind(f"{shown}: not complete after {TOTAL_S:.0f} s, given up")
            try:
                file.write(chunk if unpack is None else unpack.decompress(chunk, max_bytes + 1))
            except zlib.error:
                raise kind(f"{shown}: the server packed it in a way that cannot be unpacked") from None
            if file.tell() > max_bytes:
                raise kind(f"{shown}: larger than {max_bytes // 1_000_000} MB, which is refused")
    promised = answer.headers.get("Content-Length")
    if promised is not None and promised.isdigit() and size < int(promised):
        raise kind(f"{shown}: broke off after {size} of {promised} bytes")
