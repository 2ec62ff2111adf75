"""Who may see the page: checks host names, origins, the token and wrong tries, and sets the headers of every answer.

- A request must name this device: an address, ``localhost``, the device's own name, or one of `web.hosts`. Otherwise a
  foreign page could reach this one through a name that it points here (DNS rebinding).
- A request that a browser sends on behalf of another page is refused (``Origin``, ``Sec-Fetch-Site``).
- Where there is a token, all but the form that asks for it needs a cookie made from it, or the token itself as a
  bearer. The cookie is a random number signed with the token, so a new token ends all sessions.
"""

import hashlib
import hmac
import secrets
import socket
from collections import OrderedDict, deque
from collections.abc import Iterable
from http.cookies import CookieError, SimpleCookie

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edge.clock import Clock
from edge.errors import printable
from edge.settings import is_address

COOKIE_DAYS = 30
MOST_TRIES, TRIES_WITHIN_S = 5, 60.0
MOST_BODY_BYTES = 1024
"""The largest that the page sends is a token."""
_MOST_ADDRESSES = 1000
_OPEN_PATHS = ("/login", "/static/")
"""Paths that need no token: the form, its style and script."""
_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",  # with no-referrer, browsers send the form with `Origin: null`
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
    "cache-control": "no-store",
}


class Tries:
    """Counts wrong tokens of each address: `MOST_TRIES` within `TRIES_WITHIN_S`, then none is checked."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._wrong: OrderedDict[str, deque[float]] = OrderedDict()

    def wait_s(self, address: str) -> float:
        """Return the seconds until this address may try again; 0 means now."""
        wrong, now_s = self._wrong.get(address), self._clock.monotonic()
        if wrong is None or len(wrong) < MOST_TRIES:
            return 0.0
        return max(0.0, wrong[0] + TRIES_WITHIN_S - now_s)

    def note_wrong(self, address: str) -> None:
        """Count a wrong token."""
        self._wrong.setdefault(address, deque(maxlen=MOST_TRIES)).append(self._clock.monotonic())
        self._wrong.move_to_end(address)
        if len(self._wrong) > _MOST_ADDRESSES:
            self._wrong.popitem(last=False)


class Lock:
    """Knows the token. Without one, everybody who reaches the page may see it.

    ``device`` is part of the cookie's name: a browser sends cookies of one host to all its ports, and behind a tunnel
    all devices are at ``localhost``.
    """

    def __init__(self, token: str | None, device: str, clock: Clock) -> None:
        self.tries = Tries(clock)
        self.cookie_name = f"emotion-edge-{device}"
        self._token = token

    @property
    def is_open(self) -> bool:
        """True if there is no token."""
        return self._token is None

    def fits(self, given: str) -> bool:
        """Compare a token, in constant time."""
        return self._token is not None and hmac.compare_digest(given.encode(), self._token.encode())

    def new_cookie(self) -> str:
        """Return the value of a cookie that opens the page."""
        nonce = secrets.token_hex(16)
        return f"{nonce}.{self._sign(nonce)}"

    def admits(self, headers: Headers, address: str) -> bool:
        """Return True if a request brings a cookie or, as a bearer, the token; a wrong bearer counts as a try."""
        if self.is_open:
            return True
        nonce, _, signature = _cookie(headers, self.cookie_name).partition(".")
        if nonce and hmac.compare_digest(signature.encode(), self._sign(nonce).encode()):
            return True
        kind, _, given = headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer" or self.tries.wait_s(address):
            return False
        if self.fits(given.strip()):
            return True
        self.tries.note_wrong(address)
        return False

    def _sign(self, nonce: str) -> str:
        assert self._token is not None
        return hmac.new(self._token.encode(), b"page:" + nonce.encode(), hashlib.sha256).hexdigest()


class Guard:
    """ASGI middleware that lets through what is addressed to this device, comes from its own page, and is admitted.

    ``hosts``: names of this device besides addresses, ``localhost`` and its host name.
    """

    def __init__(self, app: ASGIApp, lock: Lock, hosts: Iterable[str]) -> None:
        own = socket.gethostname().lower().split(".")[0]
        self._hosts = {"localhost", own, f"{own}.local", *(host.lower() for host in hosts)}
        self._app = app
        self._lock = lock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
            await send(message)

        headers = Headers(scope=scope)
        answer = self._refuse_foreign(scope, headers) or self._refuse_stranger(scope, headers) or self._app
        await answer(scope, receive, send_guarded)

    def _refuse_foreign(self, scope: Scope, headers: Headers) -> PlainTextResponse | None:
        length = headers.get("content-length", "0")
        if "transfer-encoding" in headers or len(length) > 9 or int(length) > MOST_BODY_BYTES:
            return PlainTextResponse(f"a body is at most {MOST_BODY_BYTES} bytes", 413, {"connection": "close"})
        host = headers.get("host", "")
        if len(headers.getlist("host")) != 1 or not self._is_own(host):
            text = f"{printable(host[:100])!r} is not a name of this device; web.hosts in its settings takes more names"
            return PlainTextResponse(text, 421)
        if not _is_own_origin(scope, headers, host):
            return PlainTextResponse("this request comes from another page", 403)
        return None

    def _refuse_stranger(self, scope: Scope, headers: Headers) -> PlainTextResponse | None:
        path = scope["path"]
        if path.startswith(_OPEN_PATHS) or self._lock.admits(headers, client_of(scope)):
            return None
        if path == "/":
            scope["path"] = "/login"
            return None
        if wait_s := self._lock.tries.wait_s(client_of(scope)):
            return PlainTextResponse("too many wrong tokens", 429, {"retry-after": f"{wait_s:.0f}"})
        return PlainTextResponse("this needs the token", 401, {"www-authenticate": "Bearer"})

    def _is_own(self, host: str) -> bool:
        name = _without_port(host).lower().rstrip(".")
        return name in self._hosts or is_address(name[1:-1] if name.startswith("[") and name.endswith("]") else name)


def client_of(scope: Scope) -> str:
    """Return the address that a request comes from, of IPv6 its network; the same for all behind a Unix socket."""
    client = scope.get("client")
    if not client:
        return ""
    address = str(client[0])
    return ":".join(address.split(":")[:4]) if ":" in address and "." not in address else address


def _is_own_origin(scope: Scope, headers: Headers, host: str) -> bool:
    origin = headers.get("origin")
    if origin is not None and origin.partition("://")[2].lower() != host.lower():
        return False
    if headers.get("sec-fetch-site", "none") in {"none", "same-origin"}:
        return True
    # A link or a bookmark service may lead here; a picture, a script or a form of another page may not.
    is_link = headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
    return is_link and scope["method"] == "GET" and scope["path"] in {"/", "/login"}


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdecimal() else host


def _cookie(headers: Headers, name: str) -> str:
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(name)
    except CookieError:
        return ""
    return found.value if found is not None else ""
