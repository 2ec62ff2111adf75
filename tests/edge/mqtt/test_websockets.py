"""MQTT over WebSockets: addresses, a real mosquitto with and without TLS, and what is no such broker."""

import re
import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue

import pytest
from paho.mqtt.enums import MQTTProtocolVersion

from edge.cli.watch import Seen, listening, read
from edge.doctor.broker import check_broker
from edge.errors import ConfigError
from edge.mqtt.address import broker_address
from edge.mqtt.connection import Connected, Connection, Ended, Notice
from edge.mqtt.outbox import Outbox
from edge.settings import MqttSettings, Settings
from tests.edge.mqtt.test_publisher import publishing
from tests.fakes.mosquitto import Mosquitto, make_certificates, missing
from tests.fakes.payloads import EVENT
from tests.fakes.waiting import wait_for


@pytest.mark.parametrize(
    ("url", "port", "path", "shown"),
    [
        ("ws://broker.lan", 80, "/mqtt", "ws://broker.lan:80"),
        ("ws://broker.lan/", 80, "/mqtt", "ws://broker.lan:80"),
        ("wss://broker.lan", 443, "/mqtt", "wss://broker.lan:443"),
        ("ws://me@broker.lan:9001/a/b?token=x", 9001, "/a/b?token=x", "ws://broker.lan:9001"),
        ("wss://[::1]:9001/caf\u00e9", 9001, "/caf%C3%A9", "wss://[::1]:9001"),
        ("mqtt://broker.lan/", 1883, None, "mqtt://broker.lan:1883"),
    ],
)
def test_websocket_address_is_read(url: str, port: int, path: str | None, shown: str) -> None:
    address = broker_address(MqttSettings(url=url))

    assert (address.port, address.websocket_path, address.shown) == (port, path, shown)
    assert address.transport == ("tcp" if path is None else "websockets")
    assert (address.tls is not None) == url.startswith("wss")
    if address.tls is not None:
        assert address.tls.verify_mode is ssl.CERT_REQUIRED
        assert address.tls.check_hostname
    assert (address.websocket_headers or {}).get("Host") == ("[::1]:9001" if "::1" in url else None)


def test_client_certificate_needs_tls_over_websockets_too() -> None:
    with pytest.raises(ConfigError, match="write mqtts:// or wss://"):
        broker_address(MqttSettings(url="ws://b", cert_file="/x"))


@pytest.fixture(params=[False, True], ids=["ws", "wss"])
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Mosquitto]:
    if reason := missing():
        pytest.skip(reason)
    with Mosquitto(tmp_path / "broker", tls=request.param, websockets=True) as broker:
        yield broker


@pytest.mark.broker
def test_events_arrive_over_websockets_and_after_an_outage(broker: Mosquitto, outbox: Outbox) -> None:
    settings = broker.settings(url=f"{broker.websocket_url}/some/path")
    with listening(settings, "dev-1") as watching, publishing(settings, outbox) as publisher:
        publisher.publish_events([EVENT])
        assert publisher.drain(30)
        arrived: list[Seen] = []
        while not any(seen.row.table == "event" for seen in arrived):
            arrived += read(watching, timeout_s=1)
        assert any(seen.row.table == "state" for seen in arrived)
        broker.kill()
        publisher.publish_events([EVENT] * 30)
        broker.start()
        assert publisher.drain(30)
        assert publisher.stats().reconnects == 1
        assert publisher.stop(10)
    values = [seen.row.values for seen in arrived if seen.row.table == "event"]
    assert [(one["seq"], one["emotion"]) for one in values] == [(1, "happy")]


@pytest.mark.broker
def test_websocket_login_is_checked(broker: Mosquitto) -> None:
    right = broker.settings(url=broker.websocket_url)
    assert check_broker(Settings(mqtt=right)).status == "ok"
    wrong = broker.settings(url=broker.websocket_url, password_file=str(broker.password_file("other")))
    finding = check_broker(Settings(mqtt=wrong))
    assert (finding.status, "not authorised" in finding.found) == ("problem", True)


# paho leaves the socket of a failed handshake to the garbage collector.
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.broker
@pytest.mark.parametrize("fault", ["wrong authority", "wrong host name", "no TLS there"])
def test_wss_that_cannot_be_trusted_is_refused(fault: str, tmp_path: Path) -> None:
    if reason := missing():
        pytest.skip(reason)
    with Mosquitto(tmp_path / "broker", tls=fault != "no TLS there", websockets=True) as broker:
        (tmp_path / "other").mkdir()
        make_certificates(tmp_path / "other")
        host = "127.0.0.1" if fault == "wrong host name" else "localhost"
        authority = tmp_path / "other" if fault != "wrong host name" else broker.folder
        settings = broker.settings(url=f"wss://{host}:{broker.websocket_port}", ca_file=str(authority / "ca.pem"))
        finding = check_broker(Settings(mqtt=settings))
    said = {
        "wrong authority": "its certificate is not accepted: .*set mqtt.ca_file",
        "wrong host name": "its certificate is not accepted: IP address mismatch",
        "no TLS there": "TLS failed|connection|hung up",
    }
    assert finding.status == "problem"
    assert re.search(said[fault], finding.found), finding.found


@contextmanager
def server(answer: bytes, *, then_hang: bool = False) -> Iterator[int]:
    """Answers every connection with the same bytes; gives its port."""
    done = threading.Event()

    class Server(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(4096)
            self.request.sendall(answer)
            if then_hang:
                done.wait(30)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Server) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        try:
            yield listening.server_address[1]
        finally:
            done.set()
            listening.shutdown()
            thread.join()


def connection(port: int, notices: SimpleQueue[Notice]) -> Connection:
    address = broker_address(MqttSettings(url=f"ws://127.0.0.1:{port}/x"))
    link = Connection(address, client_id="c", will=None, protocol=MQTTProtocolVersion.MQTTv5, report=notices.put)
    link.open()
    return link


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n<html>",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: bm8=\r\n\r\n",
        b"\x20\x03\0\0\0",
        bytes(500),
    ],
    ids=["silence", "not found", "page", "wrong key", "plain broker", "zeros"],
)
def test_server_without_websockets_is_named(answer: bytes) -> None:
    notices: SimpleQueue[Notice] = SimpleQueue()
    with server(answer) as port:
        link = connection(port, notices)
        ended = notices.get(timeout=30)
        assert link.abandon(30)
    assert isinstance(ended, Ended)
    assert ended.ending.reason == "no MQTT over WebSockets there: check port and path of mqtt.url"


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_websocket_handshake_that_hangs_can_be_abandoned() -> None:
    notices: SimpleQueue[Notice] = SimpleQueue()
    with server(b"HTTP/1.1 101 Switching", then_hang=True) as port:
        link = connection(port, notices)
        wait_for(lambda: link.abandon(0.1))
    assert isinstance(notices.get(timeout=30), Ended)


@pytest.mark.broker
def test_websocket_connection_can_be_cut(tmp_path: Path) -> None:
    if reason := missing():
        pytest.skip(reason)
    notices: SimpleQueue[Notice] = SimpleQueue()
    with Mosquitto(tmp_path / "broker", websockets=True, anonymous=True) as broker:
        link = connection(broker.websocket_port, notices)
        while not isinstance(notices.get(timeout=30), Connected):
            pass
        assert link.abandon(30)
        assert link.has_ended()
