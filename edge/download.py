"""One file from an http(s) address, bounded in size and time; certificates are always checked.

`download` takes pictures and clips, `download_secure` anything, but over https alone.
"""

import http.client
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from edge.errors import BundleError, EmotionEdgeError, ImageError, printable

MAX_BYTES = 200_000_000
TIMEOUT_S = 20.0
"""of each wait for the server, seconds"""
TOTAL_S = 300.0
"""for the whole of it, seconds"""
_CHUNK = 1 << 16

SUFFIX_OF_TYPE = {
    "image/bmp": ".bmp", "image/gif": ".gif", "image/jpeg": ".jpg", "image/png": ".png", "image/tiff": ".tiff",
    "image/webp": ".webp", "video/mp4": ".mp4", "video/quicktime": ".mov", "video/webm": ".webm",
    "video/x-matroska": ".mkv", "video/x-msvideo": ".avi",
}  # fmt: skip


def download(url: str, folder: Path) -> Path:
    """Fetch a picture or clip into ``folder`` and return its path; the suffix tells which it is.

    Raises
    ------
    ImageError
        The address cannot be reached, answers with an error, or holds no picture or clip, or too large a one.
    """
    return _fetch(url, lambda kind: folder / f"download{_suffix(url, kind)}", MAX_BYTES, ImageError)


def download_secure(url: str, path: Path, max_bytes: int) -> Path:
    """Fetch a file over https, redirects and all, and return ``path``.

    Raises
    ------
    BundleError
        The address is not https or holds a password, cannot be reached, has no certificate that this machine trusts,
        answers with an error, or holds too much.
    """
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise BundleError(f"{url}: no address: {error}") from None
    if parts.username is not None or parts.password is not None:
        raise BundleError(f"https://{parts.hostname}: an address with a password in it ends in logs; give one without")
    if parts.scheme != "https":
        raise BundleError(f"{url}: only https is allowed here")
    return _fetch(url, lambda _kind: path, max_bytes, BundleError)


class _NoDowngrade(urllib.request.HTTPRedirectHandler):
    """Follows redirects (to http and https alone, as the base class has it), but never from https down to http."""

    def redirect_request(self, *args: Any) -> urllib.request.Request | None:
        """Refuse to go on unencrypted where the address was encrypted."""
        request, new_url = args[0], args[-1]
        if request.full_url.startswith("https:") and not new_url.startswith("https:"):
            raise urllib.error.URLError("redirected from https to http, which is refused")
        return super().redirect_request(*args)


def _fetch(url: str, path_of: Callable[[str], Path], max_bytes: int, kind: type[EmotionEdgeError]) -> Path:
    """Fetch to the path that belongs to the answer's content type."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.HTTPHandler(), urllib.request.HTTPSHandler(context=ssl.create_default_context()),
        urllib.request.HTTPErrorProcessor(), urllib.request.HTTPDefaultErrorHandler(), _NoDowngrade(),
        urllib.request.ProxyHandler(),
    ):  # fmt: skip
        opener.add_handler(handler)
    try:
        with opener.open(url, timeout=TIMEOUT_S) as answer:
            path = path_of(answer.headers.get_content_type())
            _copy(answer, path, url, max_bytes, kind)
    except urllib.error.HTTPError as error:
        error.close()
        raise kind(f"{url}: the server answered {error.code} {printable(str(error.reason))}") from error
    except (urllib.error.URLError, OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise kind(f"{url}: cannot be fetched: {printable(str(reason))}") from error
    return path


def _suffix(url: str, content_type: str) -> str:
    if content_type in SUFFIX_OF_TYPE:
        return SUFFIX_OF_TYPE[content_type]
    named = PurePosixPath(unquote(urlsplit(url).path)).suffix.lower()
    if content_type in ("application/octet-stream", "binary/octet-stream") and named in SUFFIX_OF_TYPE.values():
        return named
    raise ImageError(f"{url}: holds {content_type}, which is no picture or clip")


def _copy(answer: http.client.HTTPResponse, path: Path, url: str, max_bytes: int, kind: type[EmotionEdgeError]) -> None:
    size = 0
    until_s = time.monotonic() + TOTAL_S
    with path.open("wb") as file:
        while chunk := answer.read1(_CHUNK):
            size += len(chunk)
            if time.monotonic() > until_s:
                raise kind(f"{url}: not here after {TOTAL_S:.0f} s, given up")
            if size > max_bytes:
                raise kind(f"{url}: larger than {max_bytes // 1_000_000} MB, which is refused")
            file.write(chunk)
    promised = answer.headers.get("Content-Length")
    if promised is not None and promised.isdigit() and size < int(promised):
        raise kind(f"{url}: broke off after {size} of {promised} bytes")
