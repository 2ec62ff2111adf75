"""How the service puts the daemon together, without a network or a camera."""

import os
import re
import signal
from pathlib import Path
from typing import Any

import pytest

from edge.daemon import service
from edge.daemon.opener import Opener
from edge.daemon.reload import Reloader
from edge.daemon.watchdog import SENDER_LIMIT_S, Pulse, Watchdog
from edge.mqtt.outbox.queue import Outbox
from edge.settings import Settings
from tests.edge.daemon.test_loop import FakePipeline, clip
from tests.fakes.broker import FakePublisher
from tests.fakes.clock import FakeClock

UNIT = Path(__file__).parents[3] / "systemd/emotion-edge.service"


def test_the_watchdog_hears_of_the_loop_and_of_the_sender(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publisher, pulses = FakePublisher(), dict[str, Pulse]()

    class NotedWatchdog(Watchdog):
        def pulse(self, name: str, limit_s: float) -> Pulse:
            pulses[name] = super().pulse(name, limit_s)
            return pulses[name]

    monkeypatch.setattr(service, "Watchdog", NotedWatchdog)
    monkeypatch.setattr(service, "Publisher", lambda *_, **__: publisher)
    monkeypatch.setattr(service, "load_pipeline", lambda *_, **__: FakePipeline())
    monkeypatch.setattr(service, "open_camera", lambda _, **__: clip(3))
    service.run_service(Settings(device="hallway", camera="file:clip.mp4", state_dir=str(tmp_path)))
    assert {"loop", "mqtt-sender"} <= set(pulses)
    assert pulses["mqtt-sender"].limit_s == SENDER_LIMIT_S
    assert publisher.pulse == pulses["mqtt-sender"].beat


@pytest.mark.parametrize("loop_s", [0.0, 2.0, 60.0])
def test_stop_keeps_to_one_budget_when_every_part_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loop_s: float
) -> None:
    """SIGTERM comes, and each part takes all the time that it is given, the loop ``loop_s`` to notice."""
    clock, order = FakeClock(), list[str]()

    class Silent(FakePublisher):
        def take_commands(self) -> Any:
            os.kill(os.getpid(), signal.SIGTERM)
            clock.pass_time(loop_s)
            return []

        def stop(self, timeout_s: float) -> bool:
            clock.pass_time(timeout_s + service.GOODBYE_S)
            order.append("broker")
            return False

    def wait(_: Opener, timeout_s: float) -> None:
        clock.pass_time(timeout_s)
        order.append("camera")

    def end_reload(reloader: Reloader, timeout_s: float) -> None:
        close(reloader, 10)
        clock.pass_time(timeout_s)

    def close_outbox(outbox: Outbox) -> None:
        order.append("outbox")
        really_close(outbox)

    close, really_close = Reloader.close, Outbox.close
    monkeypatch.setattr(Reloader, "close", end_reload)
    monkeypatch.setattr(Outbox, "close", close_outbox)
    monkeypatch.setattr(Opener, "wait", wait)
    monkeypatch.setattr(service, "SystemClock", lambda: clock)
    monkeypatch.setattr(service, "Publisher", lambda *_, **__: Silent())
    monkeypatch.setattr(service, "load_pipeline", lambda *_, **__: FakePipeline())
    monkeypatch.setattr(service, "open_camera", lambda _, **__: clip(3))
    began_s = clock.monotonic() + loop_s
    service.run_service(Settings(device="hallway", camera="file:clip.mp4", state_dir=str(tmp_path)))
    allowed = re.search(r"^TimeoutStopSec=(\d+)$", UNIT.read_text(), re.MULTILINE)
    assert allowed is not None
    assert order == ["camera", "broker", "outbox", "camera"]
    assert clock.monotonic() - began_s <= max(service.STOP_S - loop_s, service.GOODBYE_S)
    assert int(allowed[1]) > service.STOP_S
