"""What the page says: its streams, its switches, its figures."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from edge.web.streams import MOST_VIEWERS
from tests.edge.web.conftest import DELIVERY, HEALTH, Events, FakeLoop, MakeSite, Site

Look = Callable[..., Events]


def test_page_and_its_parts_are_served(site: Site) -> None:
    status, headers, body = site.ask("/")
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert b"<h1>hallway</h1>" in body
    for part, kind in (("app.js", "text/javascript"), ("app.css", "text/css"), ("icon.svg", "image/svg+xml")):
        assert site.ask(f"/static/{part}")[1]["content-type"].startswith(kind)
    assert [site.ask(path)[0] for path in ("/static/page.html", "/static/../app.py", "/no-such")] == [404, 404, 404]


def test_page_asks_for_nothing_outside(site: Site) -> None:
    for path in ("/", "/static/app.js", "/static/app.css"):
        text = site.ask(path)[2].replace(b"http://www.w3.org/2000/svg", b"")
        assert b"http:" not in text
        assert b"https:" not in text
        assert b"//" not in text.replace(b"// ", b"") or path == "/static/app.js"


def test_events_tell_device_status_history_and_faces(site: Site, look: Look) -> None:
    events = look()
    hello = events.next("hello")
    assert hello == {"device": "hallway", "version": hello["version"], "picture": True, "has_token": False}
    status = events.next("status", where=lambda said: said["health"] is not None)
    assert status["health"]["frames_per_s"] == 15.0
    assert (status["connected"], status["privacy"]["paused"]) == (True, False)
    scene = events.next("scene", where=bool)
    assert (scene["width"], scene["height"]) == (640, 480)
    assert (scene["faces"][0]["emotion"], scene["faces"][0]["box"]) == ("happy", [10, 20, 100, 100])
    assert scene["faces"][0]["landmarks"] is None


def test_landmarks_come_when_they_are_wanted(look: Look) -> None:
    scene = look("/events?landmarks=1").next("scene", where=bool)
    assert scene["faces"][0]["landmarks"] == [[50, 50]] * 68


def test_picture_is_a_stream_of_jpegs_that_name_their_scene(look: Look) -> None:
    answer = look("/picture").answer
    assert answer.getheader("content-type") == "multipart/x-mixed-replace; boundary=frame"
    numbers = []
    for _ in range(3):
        head = dict(line.strip().split(b": ") for line in iter(answer.readline, b"\r\n") if b": " in line)
        numbers.append(int(head[b"X-Scene"]))
        picture = cv2.imdecode(np.frombuffer(answer.read(int(head[b"Content-Length"])), np.uint8), cv2.IMREAD_UNCHANGED)
        assert picture is not None
        assert picture.shape == (480, 640)
        assert answer.readline() == b"\r\n"
    assert numbers == sorted(set(numbers))


def test_picture_is_refused_unless_it_is_turned_on(make_site: MakeSite) -> None:
    status, _, body = make_site().ask("/picture")
    assert (status, body) == (403, b"web.picture = false: this device shows no picture")


def test_nobody_looking_makes_no_scenes(site: Site) -> None:
    assert site.loop is not None
    events = Events(site)
    events.next("scene", where=bool)
    events.close()
    with site.connect():  # a connection alone is nobody
        site.ask("/metrics")
        while site.view.viewers:
            site.ask("/healthz")
        before = site.loop.shown
        for _ in range(3):
            site.ask("/metrics")
        assert site.loop.shown == before
        assert site.view.scene is None


def test_sixth_viewer_is_told_so_and_may_come_when_one_leaves(look: Look) -> None:
    streams = [look() for _ in range(MOST_VIEWERS)]
    assert {events.status for events in streams} == {200}
    sixth = look()
    assert sixth.status == 503
    assert sixth.answer.read() == b"5 are looking already; close one of the other pages"
    streams[0].close()
    while look().status != 200:
        pass


def test_privacy_switch_is_obeyed_and_forgets_the_picture(site: Site, look: Look) -> None:
    assert site.loop is not None
    events = look()
    events.next("scene", where=bool)
    status, _, body = site.ask("/privacy", "POST", '{"paused": true, "for_s": 300}')
    assert status == 200
    assert msgspec.json.decode(body)["paused"] is True
    assert [(one.paused, one.for_s) for one in site.loop.obeyed] == [(True, 300.0)]
    assert events.next("status", where=lambda said: said["condition"]["name"] == "paused")
    assert events.next("scene", where=lambda scene: scene is None) is None
    assert site.view.scene is None
    assert site.ask("/privacy", "POST", '{"paused": false}')[0] == 200
    assert events.next("scene", where=bool)


@pytest.mark.parametrize(
    "body", ["", "nonsense", "{}", '{"paused": 1}', '{"paused": true, "for_s": -1}', '{"paused": false, "for_s": 5}',
             '{"paused": true, "for_s": 99999999}', '{"paused": true, "more": 1}', "[" * 900]
)  # fmt: skip
def test_privacy_refuses_what_is_no_command(site: Site, body: str) -> None:
    assert site.ask("/privacy", "POST", body)[0] == 400
    assert site.loop is not None
    assert site.loop.obeyed == []


def test_metrics_parse_and_hold_the_figures_of_health(site: Site) -> None:
    status, headers, body = site.ask("/metrics")
    assert status == 200
    assert headers["content-type"].startswith("text/plain; version=")
    families = {family.name: family for family in text_string_to_metric_families(body.decode())}
    values = {name: family.samples[0].value for name, family in families.items()}
    assert values["emotion_edge_frames"] == HEALTH.frames
    assert values["emotion_edge_memory_bytes"] == HEALTH.memory_mb * 1e6
    assert values["emotion_edge_temperature_celsius"] == HEALTH.temperature_c
    assert values["emotion_edge_broker_connected"] == 1
    assert "emotion_edge_disk_bytes_per_hour" not in values  # it is not known
    states = {sample.labels["state"]: sample.value for sample in families["emotion_edge_camera_state"].samples}
    assert [state for state, value in states.items() if value] == ["ok"]
    assert families["emotion_edge_frames"].type == "counter"
    assert all(family.documentation for family in families.values())


@pytest.mark.parametrize(
    ("health", "connected", "code", "name"),
    [
        ({}, True, 200, "nobody"),
        ({"camera": "paused", "paused": True}, True, 200, "paused"),
        ({"camera": "starting"}, True, 503, "starting"),
        ({"camera": "failed", "camera_fault": "gone", "frames": 0}, True, 503, "no_camera"),
        ({"camera": "failed", "camera_fault": "gone"}, True, 503, "camera_failed"),
        ({"camera": "black"}, True, 200, "dark"),
        ({}, False, 200, "no_broker"),
        ({"limited_by": "temperature", "limit_fps": 3.0}, True, 200, "hot"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_healthz_says_what_the_device_does(
    make_site: MakeSite, health: dict[str, object], connected: bool, code: int, name: str
) -> None:
    site = make_site(loop=False)
    loop = FakeLoop(site.view)
    loop.health = msgspec.structs.replace(HEALTH, **health)
    loop.delivery = replace(DELIVERY, connected=connected)
    try:
        status, _, body = site.ask("/healthz")
    finally:
        loop.close()
    said = msgspec.json.decode(body)
    assert (status, said["status"]) == (code, name)
    if name == "hot":
        text = "The processor is hot (51 °C): fewer frames are processed until it is cooler."
        assert said["detail"] == text


def test_healthz_notices_a_loop_that_is_stuck(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.web.app.ANSWER_S", 0.05)
    monkeypatch.setattr("edge.web.app.FRESH_S", -1.0)  # no status is fresh
    assert site.loop is not None
    site.ask("/metrics")
    site.loop.is_stuck = True
    status, _, body = site.ask("/healthz")
    assert (status, msgspec.json.decode(body)["status"]) == (503, "stuck")


def test_settings_are_shown_without_secrets(site: Site) -> None:
    body = site.ask("/settings")[2]
    shown = {one["key"]: one for one in msgspec.json.decode(body)}
    assert shown["camera"]["value"] == "rtsp://***@door.local/1"
    assert b"secret" not in body
    assert (shown["web.enabled"]["is_default"], shown["mqtt.url"]["is_default"]) == (False, True)


def test_doctor_is_asked(site: Site) -> None:
    found = msgspec.json.decode(site.ask("/doctor", "POST")[2])["findings"]
    assert found == [{"check": "disk", "status": "ok", "found": "plenty of room", "advice": "", "symptom": None}]


def test_page_writes_nothing_to_disk(make_site: MakeSite, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    site = make_site(picture=True)
    written: list[str] = []

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        if event == "open" and isinstance(arguments[1], str) and set("wax+") & set(arguments[1]):
            written.append(str(arguments[0]))

    import sys

    sys.addaudithook(watch)
    events, picture = Events(site), Events(site, "/picture")
    events.next("scene", where=bool)
    picture.answer.read(20_000)
    site.ask("/aim", "POST")
    events.close()
    picture.close()
    assert written == []
    assert list(tmp_path.iterdir()) == []
