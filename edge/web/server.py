"""Serves the page with uvicorn, in a thread of its own, which sleeps while nobody looks."""

import asyncio
import contextlib
import errno
import logging
import os
import socket
import ssl
import threading
from concurrent.futures import Future
from ipaddress import ip_address
from pathlib import Path

from edge import __version__
from edge.clock import Clock
from edge.errors import ConfigError
from edge.settings import Settings, WebSettings, is_address, is_loopback, load_certificate, read_token
from edge.web.view import View

try:
    import uvicorn
    from uvicorn.protocols.http.h11_impl import H11Protocol

    from edge.web.aim import Aim
    from edge.web.app import Device, page_app
    from edge.web.examination import Examination
    from edge.web.streams import Audience
except ImportError as error:
    raise ConfigError(
        f"web.enabled: the page needs more packages ({error.name}): pip install 'emotion-edge[web]', "
        "or on a device: sudo systemd/install.sh --with web"
    ) from None

REQUEST_S = 10
"""Seconds within which a request must have arrived, headers and all; idle connections are closed after as many."""
STALLED_S = 10.0
"""Seconds for which a client may leave its answer unread."""
MOST_HEADER_BYTES = 16_384
MOST_CONNECTIONS = 50
"""Five viewers with two streams each, and some more for other requests."""
_UNREACHABLE_MS = 20_000
"""After this, a client that acknowledges nothing is gone (tcp(7), TCP_USER_TIMEOUT)."""

log = logging.getLogger(__name__)


class PageServer:
    """The page on its address. `start` returns once it answers.

    Raises `ConfigError`: the address is in use or not allowed; a token is needed and missing; a certificate cannot be
    used.
    """

    def __init__(self, settings: Settings, view: View, *, examination: Examination, clock: Clock) -> None:
        web = settings.web
        token = read_token(web)
        if token is None and not is_near(web.listen):
            raise ConfigError(
                f"web.listen: {web.listen} lets others reach the page: put a token of 16 characters or more into a "
                "file with mode 0600 and name it in web.token_file (docs/web.md)"
            )
        tls = _tls_context(web) if web.cert_file or web.key_file else None
        self._view = view
        view.is_served = True
        self._device = Device(settings, __version__, token, examination, Aim(settings))
        self._clock = clock
        self._tls = tls
        self._socket = _listen(web.listen)
        self._started: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, name="page", daemon=True)

    @property
    def address(self) -> str:
        """Where a browser finds the page."""
        listen = self._device.settings.web.listen
        if listen.startswith("unix:"):
            return listen
        host, port = self._socket.getsockname()[:2]
        if ip_address(host).is_unspecified:
            host = socket.gethostname()
        named = f"[{host}]" if ":" in host else host
        return f"{'https' if self._tls else 'http'}://{named}:{port}/"

    def start(self) -> None:
        """Start to answer."""
        self._thread.start()
        self._started.result(10.0)

    def close(self, timeout_s: float) -> None:
        """End all streams and the thread; wait for that no longer than ``timeout_s``."""
        self._view.on_change = lambda: None
        if self._thread.is_alive():
            with contextlib.suppress(RuntimeError):  # it has just ended
                self._loop.call_soon_threadsafe(self._stop)
            self._thread.join(timeout_s)
        self._socket.close()
        listen = self._device.settings.web.listen
        if listen.startswith("unix:"):
            Path(listen.removeprefix("unix:")).unlink(missing_ok=True)

    def _stop(self) -> None:
        self._audience.end()
        self._server.over.set()

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._audience = Audience(self._view)
        app = page_app(self._view, self._audience, self._device, self._clock)
        config = uvicorn.Config(
            app, http=_Protocol, ws="none", lifespan="off", log_config=None, log_level="error", access_log=False,
            proxy_headers=False, server_header=False, date_header=False, timeout_keep_alive=REQUEST_S,
            timeout_graceful_shutdown=1, h11_max_incomplete_event_size=MOST_HEADER_BYTES,
        )  # fmt: skip
        config.load()
        config.ssl = self._tls
        self._server = _Server(config)
        self._view.on_change = self._wake
        self._started.set_result(None)
        await self._server.serve([self._socket])
        for connection in list(self._server.server_state.connections):
            connection.transport.abort()
        await asyncio.sleep(0)  # in which the transports close their sockets

    def _wake(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._audience.wake_soon)


class _Server(uvicorn.Server):
    """Waits for its end instead of looking ten times a second."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.over = asyncio.Event()

    async def main_loop(self) -> None:
        await self.on_tick(0)
        await self.over.wait()


class _Protocol(H11Protocol):
    """A connection that is dropped when it is one too many, slow to ask, or slow to take its answer."""

    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > MOST_CONNECTIONS:
            transport.abort()
            return
        sock = transport.get_extra_info("socket")
        if sock is not None and sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNREACHABLE_MS)
        self._drop_in(REQUEST_S)

    def data_received(self, data: bytes) -> None:
        before = self.cycle
        super().data_received(data)
        if self.cycle is not before:
            self._keep()
        elif self._timer is None and (before is None or before.response_complete):  # another request begins
            self._drop_in(REQUEST_S)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._drop_in(STALLED_S)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._keep()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._keep()

    def _drop_in(self, seconds: float) -> None:
        self._keep()
        self._timer = self.loop.call_later(seconds, self.transport.abort)

    def _keep(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def is_near(listen: str) -> bool:
    """Return True if only this device reaches an address of `web.listen`: loopback, or a Unix socket."""
    return listen.startswith("unix:") or is_loopback(listen.rpartition(":")[0].strip("[]"))


def _listen(listen: str) -> socket.socket:
    try:
        return _listen_unix(Path(listen.removeprefix("unix:"))) if listen.startswith("unix:") else _listen_tcp(listen)
    except OSError as error:
        reason = "another program listens there" if error.errno == errno.EADDRINUSE else error.strerror
        raise ConfigError(f"web.listen: {listen}: {reason}") from error


def _listen_tcp(listen: str) -> socket.socket:
    host, _, port = listen.rpartition(":")
    host = "127.0.0.1" if host == "localhost" else host.strip("[]")
    if not is_address(host) or int(port) > 65_535:
        raise ConfigError(f"web.listen: found {listen!r}: not an address and a port")
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # An address that the network gives only later, as after a power cut, may be listened on now (ip(7)).
        sock.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)
        if sock.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind((host, int(port)))
        sock.listen(64)
    except OSError:
        sock.close()
        raise
    return sock


_IP_FREEBIND = 15


def _listen_unix(path: Path) -> socket.socket:
    """Listen on a Unix socket that the group may use; one that an earlier run has left is replaced."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if path.is_socket():
            if sock.connect_ex(str(path)) == 0:
                raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
            path.unlink()
            sock.close()
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.bind(str(path))
        path.chmod(0o660)
        sock.listen(64)
    except OSError:
        sock.close()
        raise
    return sock


def _tls_context(web: WebSettings) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    load_certificate(context, web, "web")
    return context
