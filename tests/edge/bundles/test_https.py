"""A bundle from an https address: a real server with a certificate, trusted or not."""

import json
import shutil
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from edge.cli import app
from edge.cli.support import run
from edge.errors import BundleError
from edge.inference import open_bundle
from tests.edge.bundles.conftest import Device
from tests.fakes.mosquitto import find, make_certificates


@dataclass
class Server:
    url: str
    ca_file: Path
    answers: dict[str, tuple[int, str, bytes]]
    """path to status, Location, content"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    if find("openssl") is None:
        pytest.skip("openssl, which makes the certificate, is not installed")
    folder = tmp_path / "tls"
    folder.mkdir()
    make_certificates(folder)
    answers: dict[str, tuple[int, str, bytes]] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, location, content = answers.get(self.path, (404, "", b""))
            self.send_response(status, "\x1b[2Jcleared" if status == 500 else None)
            if location:
                self.send_header("Location", location)
            cut = self.path == "/cut"
            self.send_header("Content-Length", str(len(content) * (2 if cut else 1)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    class Quiet(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """A client that does not trust us hangs up in the middle of the handshake."""

    with Quiet(("127.0.0.1", 0), Handler) as httpd:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "server.pem", folder / "server.key")
        httpd.socket = context.wrap_socket(httpd.socket, server_side=True, do_handshake_on_connect=False)
        thread = threading.Thread(target=httpd.serve_forever)
        thread.start()
        yield Server(f"https://localhost:{httpd.server_port}", folder / "ca.pem", answers)
        httpd.shutdown()
        thread.join()


@pytest.fixture
def archive(make_bundle: Callable[[str], Path], tmp_path: Path) -> bytes:
    return Path(shutil.make_archive(str(tmp_path / "packed"), "gztar", make_bundle("remote"))).read_bytes()


def test_a_bundle_comes_over_https_and_through_redirects(
    server: Server, archive: bytes, device: Device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setenv("SSL_CERT_FILE", str(server.ca_file))
    server.answers["/bundle.tar.gz"] = (200, "", archive)
    server.answers["/latest"] = (302, "/bundle.tar.gz", b"")
    words = ["bundle", "install", f"{server.url}/latest", "--state-dir", device.settings.state_dir, "--json"]
    assert run(app, words) == 0
    name = open_bundle(tmp_path / "made-remote").identity
    assert json.loads(capsys.readouterr().out)["current"] == name == device.runs()
    assert device.leftovers() == []


def test_install_from_a_wrong_address_changes_nothing(
    server: Server, archive: bytes, device: Device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edge.bundles import source

    monkeypatch.setenv("SSL_CERT_FILE", str(server.ca_file))
    monkeypatch.setattr(source, "MAX_ARCHIVE_BYTES", 2_000_000)
    port = server.url.rpartition(":")[2]
    server.answers.update(
        {
            "/bundle": (200, "", archive),
            "/cut": (200, "", archive),
            "/large": (200, "", bytes(2_000_001)),
            "/page": (200, "", b"<html>no bundle</html>"),
            "/http": (302, f"http://localhost:{port}/bundle", b""),
            "/file": (302, "file:///etc/passwd", b""),
            "/loop": (302, "/loop", b""),
            "/evil": (500, "", b""),
        }
    )
    for path, said in {
        "/none": "the server answered 404",
        "/cut": "broke off",
        "/large": "larger than 2 MB",
        "/page": "expected a folder or a .tar.gz archive",
        "/http": "redirected from https to http",
        "/file": "is not allowed",
        "/loop": "without an end",
        "/evil": "the server answered 500 \\x1b[2J",
    }.items():
        with pytest.raises(BundleError) as refused:
            device.install(server.url + path)  # type: ignore[arg-type]  # an address and no path
        assert said in str(refused.value)
        assert f"{server.url}{path}" in str(refused.value)
        assert str(refused.value).isprintable()
        assert device.store.selection() is None
        assert device.leftovers() == []
    with pytest.raises(BundleError, match=r"certificate is not valid for '127\.0\.0\.1'"):
        device.install(f"https://127.0.0.1:{port}/bundle")  # type: ignore[arg-type]
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(BundleError, match="CERTIFICATE_VERIFY_FAILED"):
        device.install(f"{server.url}/bundle")  # type: ignore[arg-type]
    assert device.store.selection() is None
    for url in ("ftp://x/y", "file:///etc/passwd", "https://[x", "http://localhost/x", "https://"):
        with pytest.raises(BundleError):
            device.install(url)  # type: ignore[arg-type]
