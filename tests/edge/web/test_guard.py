"""Who is let in, and how much of anything is taken from whoever asks."""

import http.client
import shutil
import socket
import ssl
import stat
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.errors import ConfigError
from edge.settings import Settings, WebSettings
from edge.web import View, server
from edge.web.server import PageServer, is_near
from tests.edge.web.conftest import TOKEN, Events, FakeExamination, MakeSite, Site
from tests.fakes.clock import FakeClock
from tests.fakes.mosquitto import make_certificates

PATHS = ("/events", "/picture", "/settings", "/metrics", "/healthz")


def test_wrong_token_opens_nothing(locked: Site) -> None:
    assert locked.ask("/")[0] == 401
    assert b'name="token"' in locked.ask("/")[2]
    assert b"</main>" in locked.ask("/")[2]
    assert [locked.ask(path)[0] for path in PATHS] == [401] * len(PATHS)
    assert [locked.ask(path, "POST")[0] for path in ("/privacy", "/doctor", "/aim")] == [401] * 3
    status, headers, body = locked.ask("/login", "POST", "token=wrong")
    assert (status, "set-cookie" in headers) == (401, False)
    assert b"That is not the token." in body


def test_token_gives_a_cookie_that_opens_the_page(locked: Site) -> None:
    status, headers, _ = locked.ask("/login", "POST", f"token={TOKEN}")
    assert (status, headers["location"]) == (303, "/")
    cookie = headers["set-cookie"]
    assert {"HttpOnly", "SameSite=strict", "Path=/"} <= set(cookie.split("; "))
    assert TOKEN not in cookie
    value = cookie.partition(";")[0]
    assert b"What it sees" in locked.ask("/", cookie=value)[2]
    assert locked.ask("/settings", cookie=value)[0] == 200
    assert locked.ask("/settings", cookie=value[:-1] + ("0" if value[-1] != "0" else "1"))[0] == 401
    assert locked.ask("/settings", cookie="emotion-edge-hallway=.")[0] == 401


def test_bearer_opens_metrics(locked: Site) -> None:
    assert locked.ask("/metrics", authorization=f"Bearer {TOKEN}")[0] == 200
    assert locked.ask("/metrics", authorization=f"Basic {TOKEN}")[0] == 401
    assert locked.ask("/metrics", authorization="Bearer " + "é" * 20)[0] == 401


def test_sixth_wrong_try_within_a_minute_is_not_looked_at(locked: Site) -> None:
    codes = [locked.ask("/login", "POST", "token=wrong")[0] for _ in range(6)]
    assert codes == [401] * 5 + [429]
    status, headers, _ = locked.ask("/login", "POST", f"token={TOKEN}")
    assert status == 429
    assert 0 < int(headers["retry-after"]) <= 60
    assert locked.ask("/metrics", authorization=f"Bearer {TOKEN}")[0] == 429


def test_tries_are_counted_by_address_and_forgotten_in_a_minute() -> None:
    from edge.web.guard import Tries

    clock = FakeClock()
    tries = Tries(clock)
    for _ in range(5):
        tries.note_wrong("10.0.0.1")
    assert tries.wait_s("10.0.0.1") > 0
    assert tries.wait_s("10.0.0.2") == 0
    clock.pass_time(60.0)
    assert tries.wait_s("10.0.0.1") == 0


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8378", "localhost.evil.example", "", "127.0.0.1.evil.example", "[::1", "1e3"]
)
def test_foreign_host_is_refused(site: Site, host: str) -> None:
    status, _, body = site.ask("/", host=host)
    assert status == 421
    assert b"web.hosts" in body


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:9000", "192.168.1.7:8378", "[::1]:8378", "127.0.0.1"])
def test_own_names_are_answered(site: Site, host: str) -> None:
    assert site.ask("/", host=host)[0] == 200


def test_own_host_name_and_names_of_the_settings_are_answered(make_site: MakeSite) -> None:
    site = make_site(hosts="door.example Hall.example")
    own = socket.gethostname().split(".")[0]
    hosts = ("door.example", "hall.example:443", own, f"{own}.local:8378")
    assert [site.ask("/", host=host)[0] for host in hosts] == [200] * 4
    assert site.ask("/", host="other.example")[0] == 421


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://localhost:1"},
        {"sec_fetch_site": "cross-site", "sec_fetch_mode": "no-cors", "sec_fetch_dest": "image"},
        {"sec_fetch_site": "same-site", "sec_fetch_mode": "cors", "sec_fetch_dest": "empty"},
        {"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate", "sec_fetch_dest": "iframe"},
    ],
    ids=lambda headers: " ".join(headers.values()),
)
def test_request_of_another_page_is_refused(site: Site, headers: dict[str, str]) -> None:
    assert site.ask("/picture", host="localhost:8378", **headers)[0] == 403
    assert site.ask("/privacy", "POST", '{"paused": true}', host="localhost:8378", **headers)[0] == 403
    assert site.loop is not None
    assert site.loop.obeyed == []


def test_link_from_another_page_leads_to_the_page_alone(site: Site) -> None:
    link = {"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate", "sec_fetch_dest": "document"}
    assert site.ask("/", **link)[0] == 200
    assert site.ask("/picture", **link)[0] == 403


def test_answers_have_a_strict_policy_and_allow_no_other_page(locked: Site) -> None:
    for path in ("/", "/static/app.js", "/metrics", "/no-such"):
        headers = locked.ask(path)[1]
        assert headers["content-security-policy"].startswith("default-src 'none';")
        assert "unsafe" not in headers["content-security-policy"]
        assert "access-control-allow-origin" not in headers
        assert headers["cache-control"] == "no-store"
    assert locked.ask("/settings", "OPTIONS", origin=f"http://127.0.0.1:{locked.port}")[0] in {401, 405}


def read_all(sock: socket.socket) -> bytes:
    """Read until the server closes; a reset ends it too."""
    said = b""
    try:
        while part := sock.recv(65_536):
            said += part
    except ConnectionError:
        pass
    return said


def test_header_of_a_gigabyte_is_refused_after_some_kilobytes(site: Site) -> None:
    sent = 0
    with site.connect() as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ")
        try:
            while sent < 2**30:
                sent += sock.send(b"x" * 65_536)
        except ConnectionError:
            pass
        read_all(sock)
    assert sent < 2**24  # what the kernel holds for a socket at most
    assert site.ask("/")[0] == 200


@pytest.mark.parametrize("length", ["Content-Length: 1073741824", "Content-Length: 1025", "Transfer-Encoding: chunked"])
def test_body_of_more_than_a_kilobyte_is_refused_unread(site: Site, length: str) -> None:
    with site.connect() as sock:
        sock.sendall(f"POST /privacy HTTP/1.1\r\nHost: localhost\r\n{length}\r\n\r\n".encode())
        assert read_all(sock).startswith(b"HTTP/1.1 413")


def test_client_that_never_ends_its_request_is_dropped(monkeypatch: pytest.MonkeyPatch, make_site: MakeSite) -> None:
    monkeypatch.setattr(server, "REQUEST_S", 0.05)
    site = make_site()
    for beginning in (b"", b"GET / HTTP/1.1\r\nHost: local"):
        with site.connect() as sock:
            sock.sendall(beginning)
            assert read_all(sock) == b""
    with site.connect() as sock:  # nor one that asks again and stops halfway
        sock.sendall(b"GET /static/icon.svg HTTP/1.1\r\nHost: localhost\r\n\r\nGET ")
        assert read_all(sock).count(b"HTTP/1.1") == 1


def test_viewer_that_reads_nothing_is_dropped(monkeypatch: pytest.MonkeyPatch, make_site: MakeSite) -> None:
    monkeypatch.setattr(server, "STALLED_S", 0.05)
    monkeypatch.setattr("edge.web.view.SCENES_PER_S", 10_000.0)
    site = make_site(picture=True)
    assert site.loop is not None
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.settimeout(20)
        sock.connect(("127.0.0.1", site.port))
        sock.sendall(b"GET /picture HTTP/1.1\r\nHost: localhost\r\n\r\n")
        while not site.view.viewers:
            site.ask("/healthz")
        while site.view.viewers:
            site.ask("/healthz")


def test_connections_are_limited(site: Site) -> None:
    socks = [site.connect() for _ in range(server.MOST_CONNECTIONS)]
    try:
        with site.connect() as one_more:
            assert read_all(one_more) == b""
    finally:
        for sock in socks:
            sock.close()


@pytest.mark.parametrize(
    ("listen", "near"),
    [
        ("127.0.0.1:8378", True), ("127.9.9.9:1", True), ("[::1]:8378", True), ("localhost:8378", True),
        ("unix:/run/page.sock", True), ("0.0.0.0:8378", False), ("[::]:8378", False), ("192.168.1.7:8378", False),
        ("[::ffff:192.168.1.7]:8378", False),
    ],
)  # fmt: skip
def test_only_loopback_and_unix_sockets_are_near(listen: str, near: bool) -> None:
    assert is_near(listen) is near


def start(listen: str, token_file: str = "") -> PageServer:
    given = Settings(device="hallway", web=WebSettings(enabled=True, listen=listen, token_file=token_file))
    return PageServer(given, View(), examination=FakeExamination(), clock=FakeClock())


@pytest.mark.parametrize("listen", ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"])
def test_address_that_others_reach_needs_a_token(listen: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    with pytest.raises(ConfigError, match=r"web\.listen.*put a token"):
        start(listen=listen)


@pytest.mark.parametrize(
    ("token", "mode", "said"),
    [("short", 0o600, "16 or more"), (TOKEN, 0o644, "chmod 600"), ("", 0o600, "is empty"), ("ä" * 20, 0o600, "ASCII")],
    ids=["short", "open", "empty", "letters"],
)
def test_token_file_is_checked(tmp_path: Path, token: str, mode: int, said: str) -> None:
    path = tmp_path / "token"
    path.write_text(token, encoding="utf-8")
    path.chmod(mode)
    with pytest.raises(ConfigError, match=said):
        start(listen="127.0.0.1:0", token_file=str(path))


def test_token_comes_from_the_credential_of_the_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "web-token").write_text(TOKEN)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    page = start(listen="0.0.0.0:0")
    page.close(1.0)


def test_address_in_use_is_one_line(site: Site) -> None:
    with pytest.raises(ConfigError, match=rf"web\.listen: 127\.0\.0\.1:{site.port}: another program listens there"):
        start(listen=f"127.0.0.1:{site.port}")


def test_unix_socket_is_for_its_group_and_replaces_an_old_one(tmp_path: Path) -> None:
    path = tmp_path / "page.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    page = start(listen=f"unix:{path}")
    page.start()
    try:
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        with pytest.raises(ConfigError, match="another program listens there"):
            start(listen=f"unix:{path}")
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(20)
            sock.connect(str(path))
            sock.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            assert read_all(sock).startswith(b"HTTP/1.1 200")
    finally:
        page.close(5.0)
    assert not path.exists()


def test_stop_ends_the_streams(site: Site) -> None:
    events = Events(site)
    events.next("hello")
    site.server.close(10.0)
    assert events.next("bye") is None
    events.close()


@pytest.fixture
def certificates(tmp_path: Path) -> Path:
    """A folder with a certificate of localhost, its key, and the authority."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not on this machine")
    make_certificates(tmp_path)
    return tmp_path


def test_certificate_of_the_settings_makes_https(certificates: Path, make_site: MakeSite) -> None:
    key = certificates / "server.key"
    key.chmod(0o600)
    site = make_site(cert_file=str(certificates / "server.pem"), key_file=str(key))
    assert site.server.address.startswith("https://127.0.0.1:")
    context = ssl.create_default_context(cafile=str(certificates / "ca.pem"))
    connection = http.client.HTTPSConnection("localhost", site.port, context=context, timeout=20)
    connection.request("GET", "/healthz", headers={"Origin": f"https://localhost:{site.port}"})
    assert connection.getresponse().status == 200
    connection.close()
    with site.connect() as sock:  # no answer without TLS
        sock.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b"HTTP" not in read_all(sock)


def test_key_that_others_may_read_is_refused(certificates: Path) -> None:
    key = certificates / "server.key"
    key.chmod(0o644)
    web = WebSettings(listen="127.0.0.1:0", cert_file=str(certificates / "server.pem"), key_file=str(key))
    with pytest.raises(ConfigError, match=r"web\.key_file: .*others may read it: chmod 600"):
        PageServer(Settings(device="d", web=web), View(), examination=FakeExamination(), clock=FakeClock())


@pytest.mark.parametrize(
    ("cert", "key", "said"),
    [
        ("", "/no/key.pem", "a key but no certificate"),
        ("/no/cert.pem", "", "No such file"),
        ("/no/cert.pem", "/no/key.pem", "No such file"),
    ],
)
def test_certificate_that_is_missing_is_one_line(cert: str, key: str, said: str) -> None:
    web = WebSettings(listen="127.0.0.1:0", cert_file=cert, key_file=key)
    with pytest.raises(ConfigError, match=said):
        PageServer(Settings(device="d", web=web), View(), examination=FakeExamination(), clock=FakeClock())


NOISE = st.binary(max_size=300) | st.builds(
    lambda method, path, name, value: method + b" " + path + b" HTTP/1.1\r\n" + name + b": " + value + b"\r\n\r\n",
    st.sampled_from([b"GET", b"POST", b"PUT", b"OPTIONS", b"TRACE", b"\xff"]),
    st.sampled_from(
        [b"/", b"/login", b"/%00", b"/\xff", b"*", b"http://evil.example/", b"/static/..%2f", b"/?landmarks=\xff"]
    ),
    st.sampled_from([b"Host", b"Content-Length", b"Cookie", b"Authorization", b"Transfer-Encoding", b"Upgrade"]),
    st.binary(max_size=40)
    | st.sampled_from([b"localhost", b"-1", b"1e9", b"99999999999999999999", b"Bearer \xff", b"chunked"]),
)


def test_noise_is_answered_or_dropped_and_never_an_error(make_site: MakeSite, caplog: pytest.LogCaptureFixture) -> None:
    site = make_site()

    @given(noise=NOISE)
    @settings(max_examples=150)
    def send(noise: bytes) -> None:
        with site.connect() as sock:
            sock.sendall(noise)
            sock.shutdown(socket.SHUT_WR)
            said = read_all(sock)
        assert said == b"" or said.startswith(b"HTTP/1.1 ")
        assert not said.startswith(b"HTTP/1.1 5")

    send()
    assert caplog.messages == []
    assert site.ask("/")[0] == 200
