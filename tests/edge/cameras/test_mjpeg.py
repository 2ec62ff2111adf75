"""Motion JPEG over HTTP, from a server of the test's own that stalls, ends, sends rubbish and asks for a login."""

import base64
import hashlib
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress

import cv2
import numpy as np
import pytest

from edge.cameras import is_camera, mjpeg, open_camera, opencv
from edge.clock import SystemClock
from edge.daemon.camera import WatchedCamera
from edge.errors import CameraError
from edge.frames import Frame
from edge.settings import CameraWatchSettings

TIMEOUT_S = 20.0
SECRET = "hunter2"


def jpeg(gray: int, *, thumbnail: bool = False) -> bytes:
    data = cv2.imencode(".jpg", np.full((48, 64), gray, np.uint8))[1].tobytes()
    if thumbnail:
        small = cv2.imencode(".jpg", np.zeros((8, 8), np.uint8))[1].tobytes()
        data = data[:2] + b"\xff\xe1" + (len(small) + 2).to_bytes(2) + small + data[2:]
    return data


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=frame\r\n\r\n"


def part(data: bytes, *, length: bool = True) -> bytes:
    stated = f"Content-Length: {len(data)}\r\n".encode() if length else b""
    return b"--frame\r\nContent-Type: image/jpeg\r\n" + stated + b"\r\n" + data + b"\r\n"


class Server:
    """Answers each connection with the next script: bytes are sent, an event is waited for, then it hangs up."""

    def __init__(self) -> None:
        self.scripts: list[Callable[[str], list[bytes | threading.Event]]] = []
        self.requests: list[str] = []
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._socket.getsockname()[1]}"
        self._open: list[socket.socket] = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def always(self, *steps: bytes | threading.Event) -> None:
        self.scripts.append(lambda _request: list(steps))

    def close(self) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            request = connection.recv(65536).decode()
            self.requests.append(request)
            script = self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0]
            for step in script(request):
                if isinstance(step, threading.Event):
                    step.wait(TIMEOUT_S)
                else:
                    connection.sendall(step)


@pytest.fixture
def server() -> Iterator[Server]:
    before = set(threading.enumerate())
    server = Server()
    yield server
    server.close()
    for thread in set(threading.enumerate()) - before:
        if thread.name.startswith("camera "):
            thread.join(TIMEOUT_S)
            assert not thread.is_alive(), f"{thread.name} was left running"


def gray_of(frame: Frame | None) -> int:
    assert frame is not None
    return round(float(frame.luma.mean()))


@pytest.mark.parametrize("thumbnail", [False, True])
@pytest.mark.parametrize("length", [False, True])
def test_pictures_of_a_stream_come_one_by_one(server: Server, length: bool, thumbnail: bool) -> None:
    data = HEAD + b"".join(part(jpeg(gray, thumbnail=thumbnail), length=length) for gray in (10, 50, 90))
    server.always(*(data[at : at + 100] for at in range(0, len(data), 100)))
    source = open_camera(f"http://{server.address}/stream")

    assert source.live
    frames = [source.read(TIMEOUT_S) for _ in range(3)]

    assert [gray_of(frame) for frame in frames] == pytest.approx([10, 50, 90], abs=2)
    assert [frame.index for frame in frames if frame] == [0, 1, 2]
    with pytest.raises(CameraError, match="the stream has ended"):
        source.read(TIMEOUT_S)
    source.close()
    assert "User-Agent: emotion-edge/" in server.requests[0]


def test_stream_without_headers_or_boundaries_is_read(server: Server) -> None:
    server.always(b"HTTP/1.0 200 OK\r\n\r\n" + jpeg(40) + jpeg(80))
    source = open_camera(f"http://{server.address}/")

    assert [gray_of(source.read(TIMEOUT_S)) for _ in range(2)] == pytest.approx([40, 80], abs=2)
    source.close()


def test_damaged_picture_is_passed_over(server: Server) -> None:
    no_segment = b"\xff\xd8\xff\xe0\0\x02rubbish"
    no_size = b"\xff\xd8\xff\xe0\0\x02\xff\xda\0\x02rubbish\xff\xd9"
    server.always(HEAD + part(no_segment) + part(no_size) + part(jpeg(70)))
    source = open_camera(f"http://{server.address}/")

    assert gray_of(source.read(TIMEOUT_S)) == pytest.approx(70, abs=2)
    source.close()


def test_endless_rubbish_is_an_error(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mjpeg, "MAX_PICTURE_BYTES", 1_000_000)
    server.always(HEAD, b"no picture\xff\xd8\xff" * 200_000)
    source = open_camera(f"http://{server.address}/")

    with pytest.raises(CameraError, match=r"sent 1 MB without a JPEG|stopped giving frames"):
        source.read(TIMEOUT_S)
    source.close()


def test_stalled_stream_is_an_error(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mjpeg, "READ_TIMEOUT_S", 0.2)
    hold = threading.Event()
    server.always(HEAD + part(jpeg(10)), hold)
    source = open_camera(f"http://{server.address}/")

    assert source.read(TIMEOUT_S) is not None
    with pytest.raises(CameraError, match=r"sent nothing for 0\.2 s"):
        source.read(TIMEOUT_S)
    source.close()
    hold.set()


def test_closing_wakes_a_stream_that_stalls(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opencv, "CLOSE_TIMEOUT_S", TIMEOUT_S)
    monkeypatch.setattr(mjpeg, "READ_TIMEOUT_S", 10 * TIMEOUT_S)
    hold = threading.Event()
    server.always(HEAD, hold)
    source = open_camera(f"http://{server.address}/")
    with pytest.raises(CameraError, match="no frame within"):
        source.read(0.01)

    source.close()

    assert not getattr(source, "left_behind", True)
    hold.set()


def needs_login(request: str) -> list[bytes | threading.Event]:
    expected = "Basic " + base64.b64encode(f"me:{SECRET}".encode()).decode()
    if f"Authorization: {expected}" in request:
        return [HEAD + part(jpeg(60))]
    return [b'HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm="cam"\r\nContent-Length: 0\r\n\r\n']


def needs_digest(request: str) -> list[bytes | threading.Event]:
    found = dict(re.findall(r'(\w+)="?([^",]+)"?', request.partition("Authorization: Digest ")[2]))
    known = hashlib.md5(f"me:cam:{SECRET}".encode()).hexdigest()
    asked = hashlib.md5(f"GET:{found.get('uri')}".encode()).hexdigest()
    parts = [known, found.get("nonce", ""), found.get("nc", ""), found.get("cnonce", ""), "auth", asked]
    if found.get("response") == hashlib.md5(":".join(parts).encode()).hexdigest():
        return [HEAD + part(jpeg(60))]
    challenge = b'WWW-Authenticate: Digest realm="cam", nonce="abc", qop="auth"\r\n'
    return [b"HTTP/1.1 401 Unauthorized\r\n" + challenge + b"Content-Length: 0\r\n\r\n"]


@pytest.mark.parametrize("script", [needs_login, needs_digest])
def test_camera_that_asks_for_a_login(
    server: Server, script: Callable[[str], list[bytes | threading.Event]], caplog: pytest.LogCaptureFixture
) -> None:
    server.scripts.append(script)

    source = open_camera(f"http://me:{SECRET}@{server.address}/stream")
    assert gray_of(source.read(TIMEOUT_S)) == pytest.approx(60, abs=2)
    source.close()
    for login in ("", f"me:not-{SECRET}@"):
        with pytest.raises(
            CameraError, match=r"answered 401 .*; it wants user and password: http://USER:PASSWORD@"
        ) as caught:
            open_camera(f"http://{login}{server.address}/stream")
        assert SECRET not in str(caught.value)
    assert SECRET not in caplog.text


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "answered 404 Not Found"),
        (b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html>", "gives text/html, no MJPEG stream"),
        (b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\n\r\n", "gives image/jpeg, no MJPEG stream"),
        (b"rubbish\r\n\r\n", "cannot be reached"),
        (b"", "cannot be reached"),
    ],
)
def test_what_is_no_stream_is_one_line(server: Server, answer: bytes, words: str) -> None:
    server.always(answer)

    with pytest.raises(CameraError, match=words) as caught:
        open_camera(f"http://me:{SECRET}@{server.address}/")
    assert "\n" not in str(caught.value)
    assert SECRET not in str(caught.value)


def test_nobody_there_is_one_line() -> None:
    with pytest.raises(CameraError, match=r"http://\*\*\*@127.0.0.1:9/: cannot be reached: .*refused"):
        open_camera(f"http://me:{SECRET}@127.0.0.1:9/")


def test_stream_that_ends_is_watched_and_opened_again(server: Server) -> None:
    server.always(HEAD + part(jpeg(30)))
    server.always(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")
    server.always(HEAD + part(jpeg(120)), threading.Event())
    address = f"http://{server.address}/stream"
    watched = WatchedCamera(
        lambda: open_camera(address), settings=CameraWatchSettings(), endless=is_camera(address), clock=SystemClock()
    )
    watched.open()

    frame = watched.next(TIMEOUT_S)
    assert gray_of(frame) == pytest.approx(30, abs=2)
    pause = threading.Event()
    for _ in range(2000):
        if (frame := watched.next(0.01)) is not None:
            break
        pause.wait(0.01)
    failures = watched.failures
    watched.close()

    assert gray_of(frame) == pytest.approx(120, abs=2)
    assert failures == 2
