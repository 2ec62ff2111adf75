"""chronyd and ntpd are asked in their own words; what they say here is what chrony 4.3 and ntpsec 1.2.2 said."""

import socket
import threading
from collections.abc import Iterator

import pytest

from edge import time_service
from tests.fakes.mosquitto import free_port

CHRONY_SYNCED = bytes.fromhex(
    "060200000021000500000000000000000000000100000000000000007f7f01010000000000000000000000000000000000000000000a0000"
).ljust(104, b"\0")
CHRONY_LOST = bytes.fromhex(
    "0602000000210005000000000000000000000001000000000000000000000000000000000000000000000000000000000000000000000003"
).ljust(104, b"\0")
NTP_LOST = bytes.fromhex("e40000e9").ljust(48, b"\0")
NTP_SYNCED = bytes.fromhex("240200e9").ljust(48, b"\0")  # of RFC 5905: leap indicator 0, stratum 2


class Answerer:
    """Answers whatever comes with the same bytes."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self.answer = b""
        self.asked: list[bytes] = []
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def close(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ender:
            ender.sendto(b"end", ("127.0.0.1", self.port))
        self._thread.join()
        self._socket.close()

    def _run(self) -> None:
        while True:
            request, asker = self._socket.recvfrom(1024)
            if request == b"end":
                return
            self.asked.append(request)
            self._socket.sendto(self.answer, asker)


@pytest.fixture
def answerer() -> Iterator[Answerer]:
    answerer = Answerer()
    yield answerer
    answerer.close()


@pytest.mark.parametrize(
    ("answer", "synced"),
    [(CHRONY_SYNCED, True), (CHRONY_LOST, False), (CHRONY_SYNCED[:40], False), (b"\x05" + CHRONY_SYNCED[1:], False)],
)
def test_chronyd_is_believed(answerer: Answerer, answer: bytes, synced: bool) -> None:
    answerer.answer = answer
    assert time_service.ask(chrony_port=answerer.port, ntp_port=free_port()) is synced
    assert answerer.asked[0][:6] == bytes([6, 1, 0, 0, 0, 33])
    assert len(answerer.asked[0]) == 104, "chronyd answers no shorter one"


@pytest.mark.parametrize(("answer", "synced"), [(NTP_SYNCED, True), (NTP_LOST, False), (b"", False)])
def test_ntpd_is_believed(answerer: Answerer, answer: bytes, synced: bool) -> None:
    answerer.answer = answer
    assert time_service.ask(chrony_port=free_port(), ntp_port=answerer.port) is synced
    assert answerer.asked == [b"\x23".ljust(48, b"\0")]


def test_where_there_is_no_service_nothing_is_known() -> None:
    assert not time_service.ask(chrony_port=free_port(), ntp_port=free_port())


def test_answer_holds_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [True, False]
    monkeypatch.setattr(time_service, "ask", lambda: answers.pop(0))
    assert [time_service.synced(at_s) for at_s in (1e9, 1e9 + 9, 1e9 + 10)] == [True, True, False]
