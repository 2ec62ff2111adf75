"""How the service puts the daemon together, without a network or a camera."""

from pathlib import Path
from typing import Any

import pytest

from edge.daemon import service
from edge.daemon.watchdog import SENDER_LIMIT_S, Watchdog
from edge.settings import Settings
from tests.edge.daemon.test_loop import FakePipeline, clip
from tests.fakes.broker import FakePublisher


def test_the_watchdog_hears_of_the_loop_and_of_the_sender(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publisher, watchdogs = FakePublisher(), list[Watchdog]()

    def watchdog(*given: Any) -> Watchdog:
        watchdogs.append(Watchdog(*given))
        return watchdogs[-1]

    monkeypatch.setattr(service, "Watchdog", watchdog)
    monkeypatch.setattr(service, "Publisher", lambda *_, **__: publisher)
    monkeypatch.setattr(service, "load_pipeline", lambda *_, **__: FakePipeline())
    monkeypatch.setattr(service, "open_camera", lambda _: clip(3))
    service.run_service(Settings(device="hallway", camera="file:clip.mp4", state_dir=str(tmp_path)))
    (made,) = watchdogs
    pulses = {pulse.name: pulse for pulse in made._pulses}
    assert {"loop", "mqtt-sender"} <= set(pulses)
    assert pulses["mqtt-sender"].limit_s == SENDER_LIMIT_S
    assert publisher.pulse is not None
    pulses["mqtt-sender"]._beat_s -= 1000
    publisher.pulse()
    assert pulses["mqtt-sender"].silent_s() < 1000
