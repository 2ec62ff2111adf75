"""A start whose camera is not there: what waits is sent all the same, then the program ends for systemd to retry."""

import os
import signal
import threading
from contextlib import closing
from pathlib import Path

import pytest

from edge.daemon import service
from edge.errors import CameraError, ConfigError
from edge.frames import FrameSource
from edge.settings import MqttSettings, Settings
from tests.edge.daemon.test_loop import FakePipeline
from tests.fakes.broker import FakePublisher
from tests.fakes.mosquitto import Mosquitto, free_port
from tests.fakes.outbox import EVENT
from tests.fakes.subscriber import Subscriber


@pytest.fixture(autouse=True)
def _no_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "load_pipeline", lambda *_, **__: FakePipeline())


def put_into_outbox(settings: Settings, count: int) -> None:
    with closing(service.open_outbox(settings)) as outbox:
        outbox.append([EVENT] * count)


def left_in_outbox(settings: Settings) -> int:
    with closing(service.open_outbox(settings)) as outbox:
        return outbox.depth


@pytest.mark.broker
def test_events_of_before_are_sent_though_the_camera_is_missing(mosquitto: Mosquitto, tmp_path: Path) -> None:
    mosquitto.start()
    camera = "v4l2:/dev/no-such"
    settings = Settings(device="hallway", camera=camera, state_dir=str(tmp_path), mqtt=mosquitto.settings())
    put_into_outbox(settings, 3)
    with Subscriber(mosquitto.port, username=mosquitto.username, password=mosquitto.password) as subscriber:
        with pytest.raises(CameraError, match="no such device") as told:
            service.run_service(settings)
        assert told.value.exit_code == 69
        subscriber.wait(lambda _: [status["state"] for status in subscriber.of("status")] == ["online", "stopped"])
        assert [event["seq"] for event in subscriber.of("event")] == [1, 2, 3]
        assert subscriber.of("state")[-1]["camera"] == "failed"
        health = subscriber.of("health")[-1]
        assert health["camera"] == "failed"
        assert "no such device" in health["camera_fault"]
    assert left_in_outbox(settings) == 0


@pytest.mark.broker
def test_pause_of_the_last_run_is_corrected_before_online(mosquitto: Mosquitto, tmp_path: Path) -> None:
    mosquitto.start()
    settings = Settings(
        device="hallway", camera="v4l2:/dev/no-such", state_dir=str(tmp_path), mqtt=mosquitto.settings()
    )
    with Subscriber(mosquitto.port, username=mosquitto.username, password=mosquitto.password) as home:
        home.publish("emotion/1/hallway/privacy/state", b'{"paused": true}', retain=True)
        home.wait(lambda messages: messages)
        with pytest.raises(CameraError):
            service.run_service(settings)
        messages = home.wait(lambda _: "stopped" in [status["state"] for status in home.of("status")])
    told = [message.channel for message in messages[1:]]
    assert told.index("privacy/state") < told.index("status")
    assert home.of("privacy/state")[-1]["paused"] is False


def test_a_broker_that_is_missing_too_is_waited_for_only_so_long(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(service, "LAST_CHANCE_S", 0.3)
    mqtt = MqttSettings(url=f"mqtt://127.0.0.1:{free_port()}")
    settings = Settings(device="hallway", camera="v4l2:/dev/no-such", state_dir=str(tmp_path), mqtt=mqtt)
    put_into_outbox(settings, 2)
    with pytest.raises(CameraError, match="no such device"):
        service.run_service(settings)
    assert left_in_outbox(settings) == 2


@pytest.mark.parametrize(("camera", "error"), [("file:/nonexistent.mp4", CameraError), ("tape:/dev/st0", ConfigError)])
def test_nobody_who_types_a_wrong_address_waits(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, camera: str, error: type[Exception]
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: pytest.fail("waited"))
    mqtt = MqttSettings(url=f"mqtt://127.0.0.1:{free_port()}")
    with pytest.raises(error):
        service.run_service(Settings(device="hallway", camera=camera, state_dir=str(tmp_path), mqtt=mqtt))


def test_sending_begins_before_the_camera_is_opened(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    publisher = FakePublisher()

    def opens(_uri: str, **_turns: object) -> FrameSource:
        assert publisher.started
        raise CameraError("gone")

    monkeypatch.setattr(service, "Publisher", lambda *_, **__: publisher)
    monkeypatch.setattr(service, "open_camera", opens)
    with pytest.raises(CameraError, match="gone"):
        service.run_service(Settings(device="hallway", camera="file:clip.mp4", state_dir=str(tmp_path)))
    assert publisher.stopped
    assert [state.camera for state in publisher.states] == ["failed"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("during", ["load_pipeline", "open_camera"])
def test_stop_during_the_start_closes_what_is_open(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, during: str, number: int
) -> None:
    publisher = FakePublisher()

    def stop(*_: object, **__: object) -> None:
        os.kill(os.getpid(), number)
        threading.Event().wait(30)

    monkeypatch.setattr(service, "Publisher", lambda *_, **__: publisher)
    monkeypatch.setattr(service, during, stop)
    handler = signal.getsignal(number)
    with pytest.raises(SystemExit) as ended:
        service.run_service(Settings(device="hallway", camera="file:clip.mp4", state_dir=str(tmp_path)))
    assert (ended.value.code, publisher.stopped) == (0, during == "open_camera")
    assert signal.getsignal(number) is handler
