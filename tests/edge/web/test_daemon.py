"""The page on the real loop, and the whole program with its page."""

import http.client
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from edge.clock import SystemClock
from edge.daemon import service
from edge.daemon.camera import WatchedCamera
from edge.daemon.loop import Daemon
from edge.daemon.privacy import PrivacyPause
from edge.daemon.watchdog import Watchdog
from edge.errors import CameraError
from edge.frames import Frame
from edge.mqtt.interface import PublisherStats
from edge.settings import CameraWatchSettings, MqttSettings, Settings, WebSettings
from edge.web.view import View
from tests.edge.daemon.test_loop import HAPPY, IDENTITY, FakePipeline, a_face
from tests.edge.web.conftest import Events, MakeSite, Site
from tests.fakes.broker import FakePublisher
from tests.fakes.camera import make_frame
from tests.fakes.mosquitto import free_port


class SteadyCamera:
    """A camera that goes on and on, with somebody in its frames."""

    live = True

    def __init__(self) -> None:
        self.closed = threading.Event()
        self.frames = 0

    def read(self, timeout_s: float) -> Frame | None:
        if self.closed.wait(0.01):
            return None
        self.frames += 1
        return make_frame(self.frames)

    def close(self) -> None:
        self.closed.set()


class Seeing(FakePipeline):
    def follow(self, frame: Frame) -> list[object]:  # type: ignore[override]
        return [a_face(HAPPY)]


@pytest.fixture
def cameras() -> list[SteadyCamera]:
    """The cameras that the daemon has opened, in order."""
    return []


@pytest.fixture
def publisher() -> FakePublisher:
    return FakePublisher()


@pytest.fixture
def site(make_site: MakeSite, cameras: list[SteadyCamera], publisher: FakePublisher, tmp_path: Path) -> Iterator[Site]:
    """A page on the real loop."""
    site = make_site(loop=False, picture=True)
    clock = SystemClock()

    def open_camera() -> SteadyCamera:
        cameras.append(SteadyCamera())
        return cameras[-1]

    camera = WatchedCamera(open_camera, settings=CameraWatchSettings(), endless=True, clock=clock)
    camera.open()
    publisher.start()
    daemon = Daemon(
        site.settings, IDENTITY, camera=camera, pipeline=Seeing(), publisher=publisher,  # type: ignore[arg-type]
        privacy=PrivacyPause(tmp_path, clock), watchdog=Watchdog(clock), clock=clock, view=site.view,
    )  # fmt: skip
    thread = threading.Thread(target=daemon.run)
    thread.start()
    yield site
    daemon.stop()
    thread.join()
    camera.close()


def test_privacy_switch_closes_the_camera_and_opens_it_again(
    site: Site, cameras: list[SteadyCamera], publisher: FakePublisher
) -> None:
    events = Events(site)
    assert events.next("scene", where=bool)["faces"][0]["emotion"] == "happy"
    answer = msgspec.json.decode(site.ask("/privacy", "POST", '{"paused": true, "for_s": 600}')[2])
    assert (answer["paused"], answer["for_s"]) == (True, 600.0)
    assert answer["until"] > answer["time"]
    assert cameras[0].closed.wait(10)
    assert publisher.privacies[-1].paused
    assert publisher.events[-1].event_type == "face_left"
    assert events.next("status", where=lambda said: said["condition"]["name"] == "paused")["privacy"]["until"]
    assert site.ask("/aim", "POST")[0] == 409
    site.ask("/privacy", "POST", '{"paused": false}')
    events.next("scene", where=bool)
    assert len(cameras) == 2
    events.close()


def test_page_shows_people_and_a_broker_that_goes_away(site: Site, publisher: FakePublisher) -> None:
    events = Events(site)
    spans = events.next("history", where=lambda spans: any(span["face"] for span in spans))
    assert {"happy"} == {span["what"] for span in spans if span["face"]}
    assert events.next("status", where=lambda said: said["condition"]["name"] == "ok")["people"] == 1
    publisher.acknowledges = False
    assert events.next("status", where=lambda said: said["condition"]["name"] == "no_broker")
    events.close()


def test_disk_that_fails_does_not_end_the_loop_for_the_page(
    site: Site, publisher: FakePublisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edge.errors import DeliveryError

    monkeypatch.setattr("edge.web.app.ANSWER_S", 0.1)
    monkeypatch.setattr("edge.web.app.FRESH_S", -1.0)
    site.ask("/healthz")
    whole = publisher.stats

    def fail() -> PublisherStats:
        raise DeliveryError("the card does not answer")

    publisher.stats = fail  # type: ignore[method-assign]
    assert site.ask("/healthz")[0] == 503
    publisher.stats = whole  # type: ignore[method-assign]
    monkeypatch.undo()
    assert site.ask("/healthz")[0] == 200


def test_start_without_a_camera_is_shown_until_the_program_ends(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(service, "load_pipeline", lambda *_, **__: FakePipeline())
    view = View()
    monkeypatch.setattr(service, "View", lambda _: view)
    monkeypatch.setattr(service, "LAST_CHANCE_S", 0.0)
    settings = Settings(
        device="hallway", camera="v4l2:/dev/no-such", state_dir=str(tmp_path),
        mqtt=MqttSettings(url=f"mqtt://127.0.0.1:{free_port()}"), web=WebSettings(enabled=True, listen="127.0.0.1:0"),
    )  # fmt: skip
    with pytest.raises(CameraError, match="no such device"):
        service.run_service(settings)
    condition = view.status.condition
    assert (condition.name, condition.title) == ("no_camera", "No camera")
    assert "no such device" in condition.detail


@pytest.mark.slow("starts the whole program")
def test_stop_is_in_order_while_somebody_looks_at_the_page(tmp_path: Path) -> None:
    pytest.importorskip("skimage", reason="the demo extra is not installed: pip install '.[demo]'")
    settings = tmp_path / "config.toml"
    settings.write_text(
        f'camera = "demo:?pace=realtime&loop=1"\nstate_dir = "{tmp_path}/state"\n'
        f'[mqtt]\nurl = "mqtt://127.0.0.1:{free_port()}"\n[web]\nenabled = true\nlisten = "127.0.0.1:0"\n'
    )
    command = [sys.executable, "-m", "edge", "run", "--config", str(settings)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as program:
        assert program.stderr is not None
        found = next(filter(None, (re.search(r"http://127\.0\.0\.1:(\d+)/", line) for line in program.stderr)))
        connection = http.client.HTTPConnection("127.0.0.1", int(found[1]), timeout=30)
        connection.request("GET", "/events")
        answer = connection.getresponse()
        while b'"camera":"ok"' not in answer.readline():
            pass
        program.send_signal(signal.SIGTERM)
        said = answer.read()
        rest = program.stderr.read()
        assert program.wait(20) == 0, rest
        connection.close()
    assert said.endswith(b"event: bye\ndata: null\n\n")
    assert "Traceback" not in rest


@pytest.mark.slow("starts the whole demo")
def test_demo_prints_the_address_of_its_page_and_ends_on_ctrl_c() -> None:
    pytest.importorskip("amqtt", reason="the demo extra is not installed: pip install '.[demo]'")
    command = [sys.executable, "-m", "edge", "demo", "--web"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        found = re.search(r"http://127\.0\.0\.1:(\d+)/", program.stdout.readline())
        assert found is not None
        connection = http.client.HTTPConnection("127.0.0.1", int(found[1]), timeout=30)
        connection.request("GET", "/healthz")
        assert connection.getresponse().status == 200
        connection.close()
        program.send_signal(signal.SIGINT)
        _, errors = program.communicate(timeout=30)
        assert (program.returncode, errors) == (0, "")
