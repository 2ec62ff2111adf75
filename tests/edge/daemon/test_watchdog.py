"""Systemd hears that all is well only while every thread gets something done."""

import socket
import threading
from pathlib import Path

import pytest

from edge.daemon.machine import notify_systemd
from edge.daemon.watchdog import Watchdog, _interval_s
from tests.fakes.clock import FakeClock


def test_all_is_well_while_every_thread_beats(caplog: pytest.LogCaptureFixture) -> None:
    clock, told = FakeClock(), list[str]()
    watchdog = Watchdog(clock, notify=told.append)
    pulses = [watchdog.pulse("loop", 25), watchdog.pulse("mqtt-sender", 40)]
    for _ in range(20):
        clock.pass_time(10)
        for pulse in pulses:
            pulse.beat()
        assert watchdog.check() == []
    assert told == ["WATCHDOG=1"] * 20
    assert not caplog.records


def test_stuck_thread_is_named_once_with_its_place(caplog: pytest.LogCaptureFixture) -> None:
    clock, told = FakeClock(), list[str]()
    watchdog = Watchdog(clock, notify=told.append)
    pulse, other = watchdog.pulse("loop", 25), watchdog.pulse("mqtt-sender", 40)
    let_go, beaten = threading.Event(), threading.Event()

    def waits_for_ever() -> None:
        pulse.beat()
        beaten.set()
        let_go.wait(60)

    thread = threading.Thread(target=waits_for_ever)
    thread.start()
    assert beaten.wait(10)
    for _ in range(4):
        clock.pass_time(13)
        other.beat()
        watchdog.check()
    assert told == ["WATCHDOG=1"]
    (record,) = caplog.records
    assert "thread loop has made no progress for 26 s" in record.message
    assert "waits_for_ever" in record.message
    pulse.beat()
    let_go.set()
    thread.join()
    assert watchdog.check() == []
    assert told == ["WATCHDOG=1"] * 2
    assert "thread loop makes progress again" in caplog.text


def test_it_tells_systemd_in_a_thread_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    address = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(address))
        systemd.settimeout(20)
        monkeypatch.setenv("NOTIFY_SOCKET", str(address))
        monkeypatch.setenv("WATCHDOG_USEC", "200000")
        watchdog = Watchdog(FakeClock())
        watchdog.pulse("loop", 25)
        watchdog.start()
        assert [systemd.recv(100) for _ in range(3)] == [b"WATCHDOG=1"] * 3
        watchdog.stop()
    assert not notify_systemd("WATCHDOG=1")


@pytest.mark.parametrize(("allowed", "interval_s"), [("60000000", 5.0), ("8000000", 2.0), ("", 5.0), ("x", 5.0)])
def test_it_looks_four_times_as_often_as_systemd_asks(
    monkeypatch: pytest.MonkeyPatch, allowed: str, interval_s: float
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", allowed)
    assert _interval_s() == interval_s
