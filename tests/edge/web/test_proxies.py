"""The page behind a real proxy, with the configurations of docs/web.md: a Unix socket below, https above."""

import http.client
import os
import re
import shutil
import socket
import ssl
import subprocess
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest

from edge.clock import SystemClock
from edge.settings import Settings, WebSettings
from edge.web import View
from edge.web.server import PageServer
from tests.edge.web.conftest import DELIVERY, FakeExamination, FakeLoop
from tests.fakes.mosquitto import free_port

NAME = "hallway.example.org"
PASSWORD = "only-the-proxy-knows"
HASHED = "$2b$04$abcdefghijklmnopqrstuuEMM8rXFUXkyAfejPuAu7bVILfbZXYbm"
"""bcrypt of it, of the least cost"""
LOGIN = {"Authorization": f"Basic {b64encode(f'me:{PASSWORD}'.encode()).decode()}"}
PAGE = Path(__file__).resolve().parents[3] / "docs/web.md"


def documented(language: str, changes: dict[str, str]) -> str:
    """Return the configuration that the documentation has, with its paths and port replaced."""
    found = re.search(rf"(?ms)^```{language}\n(.*?)^```", PAGE.read_text())
    assert found is not None
    text = found[1]
    for old, new in changes.items():
        assert old in text, old
        text = text.replace(old, new)
    return text


def caddy(folder: Path, port: int) -> list[str]:
    site = documented("caddy", {
        f"{NAME} {{": f"https://{NAME}:{port} {{\n    tls {folder}/page.pem {folder}/page.key",
        "$2a$14$…": HASHED,
        "/run/emotion-edge/page.sock": f"{folder}/page.sock",
    })  # fmt: skip
    (folder / "Caddyfile").write_text(f"{{\n    admin off\n    auto_https disable_redirects\n}}\n{site}")
    return ["caddy", "run", "--config", str(folder / "Caddyfile")]


def nginx(folder: Path, port: int) -> list[str]:
    (folder / "users").write_text(f"me:{{PLAIN}}{PASSWORD}\n")
    site = documented("nginx", {
        "listen 443 ssl;": f"listen 127.0.0.1:{port} ssl;",
        "/etc/ssl/hallway.pem": f"{folder}/page.pem",
        "/etc/ssl/hallway.key": f"{folder}/page.key",
        "/etc/nginx/hallway.htpasswd": f"{folder}/users",
        "/run/emotion-edge/page.sock": f"{folder}/page.sock",
    })  # fmt: skip
    own = "".join(f"{kind}_temp_path {folder}/temp;\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    user = "user root;\n" if os.getuid() == 0 else ""
    (folder / "nginx.conf").write_text(
        f"{user}daemon off;\npid {folder}/pid;\nerror_log stderr;\nevents {{}}\n"
        f"http {{\naccess_log off;\n{own}{site}}}\n"
    )
    return ["nginx", "-p", str(folder), "-e", "stderr", "-c", str(folder / "nginx.conf")]


class Proxied:
    """A page on a Unix socket, a proxy before it, and ways to ask through the proxy."""

    def __init__(self, folder: Path, loop: FakeLoop, port: int) -> None:
        self.loop, self.port = loop, port
        self._context = ssl.create_default_context(cafile=str(folder / "page.pem"))

    @contextmanager
    def ask(
        self, path: str, method: str = "GET", body: str | None = None, **headers: str
    ) -> Iterator[http.client.HTTPResponse]:
        raw = socket.create_connection(("127.0.0.1", self.port), timeout=20)
        connection = http.client.HTTPConnection(NAME, self.port)
        connection.sock = self._context.wrap_socket(raw, server_hostname=NAME)
        connection.request(method, path, body, headers)
        with closing(connection), connection.getresponse() as answer:
            yield answer

    def status(self, path: str, method: str = "GET", body: str | None = None, **headers: str) -> int:
        with self.ask(path, method, body, **headers) as answer:
            return answer.status


def is_listening(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except ConnectionRefusedError:
        return False
    return True


@pytest.fixture(params=[caddy, nginx], ids=["caddy", "nginx"])
def proxied(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Proxied]:
    prepare: Callable[[Path, int], list[str]] = request.param
    for program in (prepare.__name__, "openssl"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not on this machine (Debian: sudo apt install {program})")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-keyout", tmp_path / "page.key", "-out", tmp_path / "page.pem", "-subj", f"/CN={NAME}",
         "-addext", f"subjectAltName=DNS:{NAME}"],
        check=True, capture_output=True,
    )  # fmt: skip
    view, port = View(), free_port()
    web = WebSettings(enabled=True, listen=f"unix:{tmp_path}/page.sock", hosts=NAME, picture=True)
    server = PageServer(Settings(device="hallway", web=web), view, examination=FakeExamination(), clock=SystemClock())
    with ExitStack() as stack:
        server.start()
        stack.callback(server.close, 5.0)
        loop = FakeLoop(view)
        stack.callback(loop.close)
        with (tmp_path / "log").open("wb") as log:
            home = {"HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
            process = subprocess.Popen(prepare(tmp_path, port), stdout=log, stderr=log, env=os.environ | home)
        stack.callback(process.wait, 20)
        stack.callback(process.terminate)
        deadline = time.monotonic() + 60
        while not is_listening(port):
            assert process.poll() is None, (tmp_path / "log").read_text()
            assert time.monotonic() < deadline, (tmp_path / "log").read_text()
            time.sleep(0.02)  # another program's start cannot be waited for otherwise
        yield Proxied(tmp_path, loop, port)


@pytest.mark.slow("starts a proxy")
def test_proxy_of_the_documentation_lets_in_by_https_and_password(proxied: Proxied) -> None:
    assert proxied.status("/") == 401
    assert proxied.status("/", **LOGIN) == 200
    assert proxied.status("/static/app.js", **LOGIN) == 200
    own = {"Origin": f"https://{NAME}:{proxied.port}", "Sec-Fetch-Site": "same-origin"}
    assert proxied.status("/privacy", "POST", '{"paused": true, "for_s": 60}', **LOGIN, **own) == 200
    assert [command.for_s for command in proxied.loop.obeyed] == [60]


@pytest.mark.slow("starts a proxy")
def test_proxy_of_the_documentation_passes_events_on_at_once(proxied: Proxied) -> None:
    with proxied.ask("/picture", **LOGIN) as parts:
        assert [line for line in islice(parts, 20) if line.startswith(b"X-Scene")]
    with proxied.ask("/events", **LOGIN) as events:
        assert any(b'"connected":true' in line for line in events)
        proxied.loop.frame = None
        proxied.loop.delivery = replace(DELIVERY, connected=False)
        while proxied.loop.view.status.connected:
            pass
        proxied.loop.is_stuck = True  # no further event pushes this one through
        assert any(b'"connected":false' in line for line in events)  # where it is held back, the timeout ends this


@pytest.mark.slow("starts a proxy")
def test_proxy_of_the_documentation_refuses_other_names_and_pages(proxied: Proxied) -> None:
    foreign = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
    assert proxied.status("/privacy", "POST", '{"paused": true}', **LOGIN, **foreign) == 403
    assert proxied.status("/settings", **LOGIN, **foreign) == 403
    assert proxied.loop.obeyed == []
    # Caddy knows no such site; nginx passes it on, and the page refuses it
    with proxied.ask("/settings", **LOGIN, Host="evil.example") as answer:
        assert answer.status == 421 or not answer.read()
