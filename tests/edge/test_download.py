import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

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
        }
        status, kind, body = answers.get(self.path, (404, "text/plain", b"no"))
        self.send_response(status)
        self.send_header("Location" if status == 302 else "Content-Type", kind)
        self.send_header("Content-Length", str(len(body) * (2 if self.path == "/cut.png" else 1)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{httpd.server_port}"
        httpd.shutdown()
        thread.join()


@pytest.mark.parametrize(("path", "suffix"), [("/face.png", ".png"), ("/raw.mp4", ".mp4"), ("/moved", ".png")])
def test_a_picture_or_clip_arrives_under_its_kind(server: str, tmp_path: Path, path: str, suffix: str) -> None:
    assert download(server + path, tmp_path).suffix == suffix


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/none", "404"),
        ("/page", "text/html"),
        ("/cut.png", "broke off after 500 of 1000 bytes"),
        ("/file-url", "not allowed"),
    ],
)
def test_what_is_no_picture_is_refused_in_one_line(server: str, tmp_path: Path, path: str, said: str) -> None:
    with pytest.raises(ImageError, match=said) as caught:
        download(server + path, tmp_path)
    assert "\n" not in str(caught.value)
    assert server + path in str(caught.value)


def test_more_than_the_limit_is_refused(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_BYTES", 2000)
    with pytest.raises(ImageError, match="larger than"):
        download(server + "/large.png", tmp_path)


def test_nobody_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="cannot be fetched"):
        download("http://127.0.0.1:9/face.png", tmp_path)
