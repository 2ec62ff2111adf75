"""A real page on loopback, with a thread that stands for the daemon's loop."""

import http.client
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import msgspec
import numpy as np
import pytest

from edge.clock import SystemClock
from edge.events.payloads import FaceReading, Health, Privacy, PrivacyCommand
from edge.faces.types import Box, TrackedFace
from edge.frames import Frame
from edge.mqtt.interface import PublisherStats
from edge.settings import Settings, WebSettings
from edge.web import View
from edge.web.examination import Examination, Findings, FindingShown

pytest.importorskip("uvicorn", reason="the web extra is not installed: pip install '.[web]'")

TOKEN = "a-long-enough-token"
SCORES = {"angry": 0.0, "happy": 0.9, "sad": 0.0, "surprise": 0.0, "neutral": 0.1}
READING = FaceReading(face=1, box=(10, 20, 100, 100), emotion="happy", confidence=0.9, scores=SCORES, duration_s=1.5)
FACE = TrackedFace(
    1, Box(10, 20, 100, 100), np.full((68, 2), 50, np.float32), np.zeros((48, 48), np.uint8), np.zeros(5, np.float32)
)
HEALTH = Health(
    time="2026-11-27T08:00:00.000Z", uptime_s=10.0, frame_age_s=0.02, frames=100, frames_per_s=15.0, limit_fps=None,
    limited_by=None, frames_dropped=3, stages=None, memory_mb=140.0, temperature_c=51.2, outbox_depth=0,
    outbox_dropped=0, outbox_on_disk=True, outbox_damaged=0, disk_commits_per_hour=1.5, disk_mb_per_hour=None,
    reconnects=2, bundle="net@01234567", time_synced=True, paused=False, camera="ok", camera_fault=None,
    camera_failures=0, commands_refused=0,
)  # fmt: skip
DELIVERY = PublisherStats(
    connected=True, reconnects=2, depth=0, dropped=0, in_flight=0, last_refusal=None, on_disk=True, set_aside=0,
    commits=0, commands_refused=0,
)  # fmt: skip


class FakeExamination(Examination):
    async def run(self) -> Findings:
        return Findings(ok=True, findings=[FindingShown(check="disk", status="ok", found="plenty of room")])


class FakeLoop:
    """Does what the daemon's loop does with a view, until it is closed."""

    def __init__(self, view: View) -> None:
        self.view = view
        self.health, self.delivery = HEALTH, DELIVERY
        self.frame: Frame | None = Frame(np.full((480, 640), 90, np.uint8), 0.0, 0)
        self.shown = 0
        """frames that were given to the view"""
        self.obeyed: list[PrivacyCommand] = []
        self.is_stuck = False
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def close(self) -> None:
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._end.wait(0.002):
            if not self.is_stuck:
                self._step()

    def _step(self) -> None:
        for command in self.view.take_commands():
            self.obeyed.append(command)
            camera = "paused" if command.paused else "ok"
            self.health = msgspec.structs.replace(self.health, paused=command.paused, camera=camera)
            self.view.lose_sight()
        if self.frame is not None and not self.health.paused and self.view.wants_scene():
            self.shown += 1
            self.view.show(self.frame, [FACE], [READING])
        if self.view.wants_status():
            paused = self.health.paused
            privacy = Privacy(paused=paused, for_s=None, until=None, time=self.health.time)
            self.view.tell(self.health, privacy, self.delivery)


class Site:
    """A page and ways to ask it."""

    def __init__(self, web: WebSettings, *, loop: bool = True) -> None:
        from edge.web.server import PageServer

        self.view = View()
        self.settings = Settings(device="hallway", web=web, camera="rtsp://me:secret@door.local/1")
        self.server = PageServer(self.settings, self.view, examination=FakeExamination(), clock=SystemClock())
        self.server.start()
        self.port = int(self.server.address.rpartition(":")[2].rstrip("/"))
        self.loop = FakeLoop(self.view) if loop else None

    def close(self) -> None:
        if self.loop is not None:
            self.loop.close()
        self.server.close(5.0)

    def ask(
        self, path: str, method: str = "GET", body: str | None = None, **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers and body of an answer; underscores in names of headers stand for hyphens."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)


class Events:
    """Reads server-sent events."""

    def __init__(self, site: Site, path: str = "/events", **headers: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=20)
        self._connection.request("GET", path, headers=headers)
        self.answer = self._connection.getresponse()
        self.status = self.answer.status

    def next(self, name: str, *, where: Callable[[Any], bool] = lambda _: True) -> Any:
        """Return the data of the next event of this name for which ``where`` holds."""
        while line := self.answer.readline():
            if line.strip() != f"event: {name}".encode():
                continue
            data = msgspec.json.decode(self.answer.readline().removeprefix(b"data: "))
            if where(data):
                return data
        raise AssertionError(f"the stream ended without {name}")

    def close(self) -> None:
        self._connection.sock.shutdown(socket.SHUT_RDWR) if self._connection.sock else None
        self.answer.close()
        self._connection.close()


MakeSite = Callable[..., Site]


@pytest.fixture
def make_site() -> Iterator[MakeSite]:
    """Makes pages; they end with the test."""
    with ExitStack() as sites:

        def make(*, loop: bool = True, **web: Any) -> Site:
            site = Site(WebSettings(enabled=True, listen="127.0.0.1:0", **web), loop=loop)
            sites.callback(site.close)
            return site

        yield make


@pytest.fixture
def site(make_site: MakeSite) -> Site:
    """A page without a token, with the picture."""
    return make_site(picture=True)


@pytest.fixture
def locked(make_site: MakeSite, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A page with a token."""
    path = tmp_path_factory.mktemp("token") / "token"
    path.write_text(TOKEN + "\n")
    path.chmod(0o600)
    return make_site(token_file=str(path))


@pytest.fixture
def look(site: Site) -> Iterator[Callable[..., Events]]:
    """Opens streams of events of `site`; they end with the test."""
    with ExitStack() as streams:

        def open_stream(path: str = "/events", **headers: str) -> Events:
            events = Events(site, path, **headers)
            streams.callback(events.close)
            return events

        yield open_stream
