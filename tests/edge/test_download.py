import base64
import gzip
import struct
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar
from urllib.parse import parse_qs, quote, unquote, urlsplit

import pytest

from edge import download as module
from edge.download import download
from edge.errors import ImageError


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        answers = {
            "/face.png": (200, "image/png", b"not looked at here"),
            "/raw.mp4": (200, "application/octet-stream", b"clip"),
            "/page": (200, "text/html", b"<html>"),
            "/large.png": (200, "image/png", b"x" * 3000),
            "/file-url": (302, "file:///etc/passwd", b""),
            "/cut.png": (200, "image/png", b"x" * 500),
            "/moved": (302, "/face.png", b""),
            "/circle": (302, "/circle", b""),
            "/packed.png": (200, "image/png", gzip.compress(b"not looked at here")),
            "/bomb.png": (200, "image/png", gzip.compress(bytes(5000))),
            "/not-packed.png": (200, "image/png", b"not looked at here"),
        }
        status, kind, body = answers.get(self.path, (404, "text/plain", b"no"))
        self.send_response(status)
        self.send_header("Location" if status == 302 else "Content-Type", kind)
        if self.path in ("/packed.png", "/bomb.png", "/not-packed.png"):
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(body) * (2 if self.path == "/cut.png" else 1)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{httpd.server_port}"
        httpd.shutdown()
        thread.join()


@pytest.mark.parametrize(("path", "suffix"), [("/face.png", ".png"), ("/raw.mp4", ".mp4"), ("/moved", ".png")])
def test_a_picture_or_clip_arrives_under_its_kind(server: str, tmp_path: Path, path: str, suffix: str) -> None:
    assert download(server + path, tmp_path).suffix == suffix


def test_what_a_server_packs_unasked_is_unpacked(server: str, tmp_path: Path) -> None:
    assert download(server + "/packed.png", tmp_path).read_bytes() == b"not looked at here"


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/none", "404"),
        ("/page", "text/html"),
        ("/cut.png", "broke off after 500 of 1000 bytes"),
        ("/file-url", "not allowed"),
        ("/circle", "sends from one address to another without an end"),
        ("/not-packed.png", "packed it in a way that cannot be unpacked"),
    ],
)
def test_what_is_no_picture_is_refused_in_one_line(server: str, tmp_path: Path, path: str, said: str) -> None:
    with pytest.raises(ImageError, match=said) as caught:
        download(server + path, tmp_path)
    assert "\n" not in str(caught.value)
    assert server + path in str(caught.value)


def test_more_than_the_limit_is_refused(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_BYTES", 2000)
    for path in ("/large.png", "/bomb.png"):
        with pytest.raises(ImageError, match="larger than"):
            download(server + path, tmp_path)


class Strict(BaseHTTPRequestHandler):
    """A server that knows its visitors, names its files oddly and states wrong types."""

    seen: ClassVar[list[tuple[str, str]]] = []

    def do_GET(self) -> None:
        self.seen.append((self.path, self.headers.get("Authorization", "")))
        agent = self.headers.get("User-Agent", "")
        if self.path.startswith("/away"):
            self.answer(302, Location=f"http://localhost:{self.headers['Host'].rpartition(':')[2]}/target")
        elif self.path.startswith("/near"):
            self.answer(302, Location="/target")
        elif self.path.startswith("/login") and self.headers.get("Authorization") != LOGIN:
            self.answer(401)
        elif "Python" in agent or not agent.startswith("emotion-edge/"):
            self.answer(403)
        elif self.path.startswith("/type/"):
            kind = unquote(urlsplit(self.path).path.removeprefix("/type/"))
            content = CONTENT[parse_qs(urlsplit(self.path).query)["is"][0]]
            self.answer(200, content, **({"Content-Type": kind} if kind else {}))
        else:
            self.answer(200, PNG, **{"Content-Type": "image/png"})

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if self.path in ("/packed.png", "/bomb.png", "/not-packed.png"):
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


PNG = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", 4, 4) + bytes(9)
JPEG = b"\xff\xd8\xff\xc0\0\x0b\x08\0\x04\0\x04\x01\x01\x11\0\xff\xda\0\x02\0\xff\xd9"
CONTENT = {"png": PNG, "jpeg": JPEG, "clip": b"\0\0\x01\xba" + bytes(20), "page": b"<html>"}
SECRET = "p@ss/w:r#d"
LOGIN = "Basic " + base64.b64encode(f"me:{SECRET}".encode()).decode()


@pytest.fixture
def strict(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(Strict, "seen", [])
    with ThreadingHTTPServer(("127.0.0.1", 0), Strict) as httpd:
        thread = threading.Thread(target=httpd.serve_forever, args=(0.01,))
        thread.start()
        yield f"127.0.0.1:{httpd.server_port}"
        httpd.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("stated", "content", "suffix"),
    [
        ("image/jpg", "jpeg", ".jpg"),
        ("image/pjpeg", "jpeg", ".jpg"),
        ("image/png", "jpeg", ".jpg"),
        ("text/plain", "png", ".png"),
        ("application/octet-stream", "png", ".png"),
        ("", "png", ".png"),
        ("video/mpeg", "clip", ".mp4"),
        ("", "clip", ".mp4"),
    ],
)
def test_download_is_what_its_bytes_are(strict: str, tmp_path: Path, stated: str, content: str, suffix: str) -> None:
    assert download(f"http://{strict}/type/{stated}?is={content}", tmp_path).suffix == suffix


@pytest.mark.parametrize("stated", ["text/html", "", "application/octet-stream"])
def test_download_of_a_page_is_refused(strict: str, tmp_path: Path, stated: str) -> None:
    with pytest.raises(ImageError, match="which is no picture or clip"):
        download(f"http://{strict}/type/{stated}?is=page", tmp_path)


@pytest.mark.parametrize(
    ("written", "asked"),
    [
        ("/my photo.png", "/my%20photo.png"),
        ("/caf\u00e9.png", "/caf%C3%A9.png"),
        ("/100%.png", "/100%25.png"),
        ("/a%20b%C3%A9.png?q=\u65e5 x&r=%41", "/a%20b%C3%A9.png?q=%E6%97%A5%20x&r=%41"),
        ("/@me/a.png#top", "/@me/a.png"),
    ],
)
def test_download_address_is_percent_encoded(strict: str, tmp_path: Path, written: str, asked: str) -> None:
    download(f"http://{strict}{written}", tmp_path)

    assert [path for path, _ in Strict.seen] == [asked]


def test_download_logs_in_with_the_password_of_the_address(strict: str, tmp_path: Path) -> None:
    assert download(f"http://me:{quote(SECRET, safe='')}@{strict}/login/a.png", tmp_path).suffix == ".png"


@pytest.mark.parametrize(
    "address", ["me:hunter2@{}/login", "me:hun%2Fter2@{}/login", "me:hunter2@{}:x/login", "me:hunter2@{}x/"]
)
def test_download_shows_no_password(strict: str, tmp_path: Path, address: str) -> None:
    with pytest.raises(ImageError) as caught:
        download("http://" + address.format(strict), tmp_path)

    assert "hunter2" not in str(caught.value)
    assert "ter2" not in str(caught.value)


def test_download_takes_its_login_to_no_other_host(strict: str, tmp_path: Path) -> None:
    for path in ("/away", "/near"):
        download(f"http://me:{quote(SECRET, safe='')}@{strict}{path}", tmp_path)

    assert Strict.seen == [("/away", LOGIN), ("/target", ""), ("/near", LOGIN), ("/target", LOGIN)]


def test_download_names_an_address_with_an_at_in_its_path(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"http://localhost/@me/a\.png: cannot be fetched"):
        download("http://localhost/@me/a.png", tmp_path)


def test_nobody_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="cannot be fetched"):
        download("http://127.0.0.1:9/face.png", tmp_path)
