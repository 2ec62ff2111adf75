"""Another bundle while the daemon runs: camera, connection, visits and numbering go on."""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
import pytest

from edge.daemon.reload import Reloader
from edge.errors import BundleError
from edge.inference import open_bundle, shipped_bundle
from edge.inference.manifest import LogScores
from edge.settings import Settings, SmoothingSettings
from tests.edge.bundles.conftest import Device, copy_of_shipped, make_key_pair
from tests.edge.daemon.test_loop import HAPPY, SAD, Run, a_face, clip
from tests.fakes.broker import FakePublisher
from tests.fakes.mosquitto import Mosquitto
from tests.fakes.subscriber import Subscriber


class Stub:
    population: LogScores | None = None

    def __init__(self, name: str) -> None:
        self.name = name

    def scores(self, chips: Any, points: Any) -> Any:
        return np.zeros((0, 5), np.float32)


def reload_once(load: Callable[[], Any]) -> list[str]:
    """Names of what was taken."""
    taken: list[str] = []
    reloader = Reloader(load, lambda classifier: taken.append(classifier.name))
    reloader.start()
    reloader.request()
    reloader.close(10)
    return taken


def test_what_loads_is_taken() -> None:
    assert reload_once(lambda: Stub("new@1")) == ["new@1"]


@pytest.mark.parametrize("error", [BundleError("cnn.tflite: damaged"), MemoryError("no more")])
def test_what_fails_changes_nothing_and_is_said(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    def load() -> Stub:
        raise error

    assert reload_once(load) == []
    assert "reload failed, nothing has changed" in caplog.text
    assert str(error) in caplog.text


def test_baseline_without_a_population_is_said_at_start_and_reload(caplog: pytest.LogCaptureFixture) -> None:
    run = Run(clip(3), {}, FakePublisher(), settings=Settings(smoothing=SmoothingSettings(baseline=True)))
    run.daemon.run()
    run.daemon.take_classifier(Stub("older@1"))
    measured = Stub("newer@1")
    measured.population = (-3.0, -3.0, -3.0, -3.0, -0.5)
    run.daemon.take_classifier(measured)
    told = [record.message for record in caplog.records if "baseline" in record.message]
    assert [line.partition(" with ")[2].partition(":")[0] for line in told] == ["test@00000000", "older@1"]
    assert all("\n" not in line for line in told)


def test_an_end_does_not_wait_for_a_reload_that_hangs() -> None:
    loads, let_go = threading.Event(), threading.Event()

    def hang() -> Any:
        loads.set()
        let_go.wait(60)
        return Stub("late@1")

    reloader = Reloader(hang, lambda _: None)
    reloader.start()
    reloader.request()
    assert loads.wait(30)
    closing = threading.Thread(target=reloader.close, args=(0.01,))
    closing.start()
    closing.join(30)
    still_closing = closing.is_alive()
    let_go.set()
    closing.join(30)
    assert not still_closing


def test_a_reload_in_the_middle_of_a_visit_goes_on_with_it() -> None:
    script = {index: [a_face(HAPPY if index < 30 else SAD)] for index in range(60)}
    run = Run(clip(60), script, FakePublisher())
    process = run.daemon.process

    def process_and_reload(frame: Any) -> Any:
        if frame.index == 15:
            run.daemon.take_classifier(Stub("new@1"))
        return process(frame)

    run.daemon.process = process_and_reload  # type: ignore[method-assign]
    run.daemon.run()
    told = [(event.event_type, event.model, event.face, event.seq) for event in run.publisher.events]
    assert told == [
        ("face_appeared", "test@00000000", 1, 1),
        ("emotion_changed", "new@1", 1, 2),
        ("face_left", "new@1", 1, 3),
    ]
    assert run.publisher.statuses == 1
    assert [health.bundle for health in run.publisher.healths] == ["test@00000000", "new@1", "new@1"]


class Systemd:
    """The other end of ``NOTIFY_SOCKET``; it reads all the time, for a full socket would hold the daemon up."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._told: SimpleQueue[str] = SimpleQueue()
        self._thread = threading.Thread(target=self._listen)

    def __enter__(self) -> "Systemd":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
            end.sendto(b"END", self._socket.getsockname())
        self._thread.join()
        self._socket.close()

    def next(self) -> str:
        """The next that is no sign of life."""
        return self._told.get(timeout=60)

    def _listen(self) -> None:
        while (told := self._socket.recv(4096)) != b"END":
            if told != b"WATCHDOG=1":
                self._told.put(told.decode())


@pytest.mark.broker
def test_a_running_daemon_takes_a_bundle_and_refuses_another(mosquitto: Mosquitto, tmp_path: Path) -> None:
    mosquitto.start()
    keys = make_key_pair(tmp_path)
    old, new = (keys.sign(copy_of_shipped(tmp_path / name, name)) for name in ("old", "new"))
    config = tmp_path / "config.toml"
    config.write_text(
        f'device = "hallway"\ncamera = "demo:?loop=1"\nstate_dir = "{tmp_path}/state"\nbundle_key = "{keys.public}"\n'
        f'[mqtt]\nurl = "mqtt://127.0.0.1:{mosquitto.port}"\nusername = "{mosquitto.username}"\n'
        f'password_file = "{mosquitto.password_file(mosquitto.password)}"\n'
    )

    def appeared(after: int) -> list[Any]:
        return [event for event in subscriber.of("event")[after:] if event["event_type"] == "face_appeared"]

    def edge(*words: str) -> list[str]:
        return [sys.executable, "-m", "edge", *words, "--config", str(config)]

    subprocess.run(edge("bundle", "install", str(old)), check=True, capture_output=True)
    environment = {**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify")}
    with (
        (tmp_path / "log").open("w") as log,
        Systemd(tmp_path / "notify") as systemd,
        Subscriber(mosquitto.port, username=mosquitto.username, password=mosquitto.password) as subscriber,
        subprocess.Popen(edge("run"), env=environment, stderr=log) as daemon,
    ):
        try:
            assert systemd.next() == "READY=1"
            subprocess.run(edge("bundle", "install", str(new)), check=True, capture_output=True)
            seen = len(subscriber.of("event"))
            subscriber.wait(lambda _: appeared(seen), timeout_s=60)  # somebody is in view, for ten seconds more
            daemon.send_signal(signal.SIGHUP)
            began, ended = systemd.next(), systemd.next()
            assert began.startswith("RELOADING=1\nMONOTONIC_USEC=")
            assert ended == f"READY=1\nSTATUS=reloaded: now running {open_bundle(new).identity}"

            # The file of the chosen bundle breaks: the next reload fails, and what runs goes on.
            (tmp_path / "state/bundles" / open_bundle(new).identity / "manifest.sig").write_bytes(bytes(64))
            daemon.send_signal(signal.SIGHUP)
            began, ended = systemd.next(), systemd.next()
            assert ended.startswith("READY=1\nSTATUS=reload failed, nothing has changed: ")
            assert "manifest.sig: no signature" in ended

            face = appeared(seen)[0]["face"]
            subscriber.wait(
                lambda _: ("face_left", face) in [(e["event_type"], e["face"]) for e in subscriber.of("event")]
            )
            daemon.send_signal(signal.SIGTERM)
            assert daemon.wait(30) == 0
            subscriber.wait(lambda _: subscriber.of("status")[-1]["state"] == "stopped")
        finally:
            daemon.kill()
    events, statuses = subscriber.of("event"), subscriber.of("status")
    first, last = open_bundle(old).identity, open_bundle(new).identity
    visit = [event for event in events if event["face"] == face]
    assert [event["event_type"] for event in (visit[0], visit[-1])] == ["face_appeared", "face_left"]
    assert (visit[0]["model"], visit[-1]["model"]) == (first, last)
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert len({event["boot"] for event in events}) == 1
    assert [(status["state"], status["model"]) for status in statuses] == [
        ("online", first), ("online", last), ("stopped", last),
    ]  # fmt: skip
    healths = subscriber.of("health")
    assert healths[-1]["bundle"] == last
    assert healths[-1]["reconnects"] == 0
    assert mosquitto.log.read_text().count("as emotion-edge-hallway-") == 1
    assert "reload failed, nothing has changed" in (tmp_path / "log").read_text()


def test_a_closed_terminal_ends_the_daemon_and_is_no_reload(tmp_path: Path) -> None:
    """As closing an SSH session does: the daemon's terminal goes away.

    SIGHUP is not ignored in it, though it is in these tests when they run under nohup.
    """
    command = [sys.executable, "-m", "edge", "run", "--camera", "demo:?loop=1", "--state-dir", str(tmp_path)]
    leader, follower = os.openpty()
    code = (
        "import fcntl, os, signal, sys, termios; signal.signal(signal.SIGHUP, signal.SIG_DFL); "
        "os.setsid(); fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
        "os.execv(sys.argv[1], sys.argv[1:])"
    )
    with (
        (tmp_path / "log").open("w") as log,
        Systemd(tmp_path / "notify") as systemd,
        subprocess.Popen(
            [sys.executable, "-c", code, *command], stdin=follower, stdout=log, stderr=log,
            env={**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify")},
        ) as daemon,
    ):  # fmt: skip
        os.close(follower)
        try:
            assert systemd.next() == "READY=1"
            os.close(leader)
            assert systemd.next() == "STOPPING=1"
            assert daemon.wait(30) == 0
        finally:
            daemon.kill()
    assert "reload" not in (tmp_path / "log").read_text()


def test_the_store_and_the_daemon_mean_the_same_bundle(tmp_path: Path) -> None:
    from edge.bundles.choice import load_chosen
    from edge.settings import Settings

    device = Device(Settings(state_dir=str(tmp_path)))
    assert load_chosen(device.settings).name == open_bundle(shipped_bundle()).identity
    name = device.install(copy_of_shipped(tmp_path / "source", "new"))
    taken: list[str] = []
    reloader = Reloader(lambda: load_chosen(device.settings), lambda classifier: taken.append(classifier.name))
    reloader.start()
    reloader.request()
    reloader.close(60)
    assert taken == [name]
