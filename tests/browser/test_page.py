"""The page in a real browser, on the real daemon and a real broker: opt-in, `scripts/test-browser`.

Screenshots go to the folder that EMOTION_EDGE_BROWSER_TEST names.
"""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edge.settings import WebSettings
from tests.fakes.mosquitto import Mosquitto, free_port, missing

ASKED_FOR = "EMOTION_EDGE_BROWSER_TEST"
TOKEN = "a-token-for-the-browser"
WIDTHS = {"wide": (1280, 900), "narrow": (390, 844)}
pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def shots() -> Path:
    """The folder for screenshots; skips unless the test is asked for and possible."""
    folder = os.environ.get(ASKED_FOR, "")
    if not folder:
        pytest.skip(f"starts a browser: scripts/test-browser, or {ASKED_FOR}=FOLDER for its screenshots")
    pytest.importorskip("playwright", reason="the browser extra is not installed: pip install '.[browser]'")
    if _chromium() is None:
        pytest.skip("chromium is not installed: sudo apt install chromium")
    if reason := missing():
        pytest.skip(reason)
    Path(folder).mkdir(parents=True, exist_ok=True)
    return Path(folder)


def _chromium() -> str | None:
    return shutil.which("chromium") or shutil.which("chromium-browser")


class Device:
    """The daemon on the demo clip, its broker, and its page."""

    def __init__(self, folder: Path) -> None:
        self.broker = Mosquitto(folder / "broker")
        self.broker.start()
        token = folder / "token"
        token.write_text(TOKEN)
        token.chmod(0o600)
        self.port = free_port()
        mqtt = self.broker.settings()
        self._settings = folder / "config.toml"
        self._settings.write_text(
            f'device = "hallway"\ncamera = "demo:?pace=realtime&loop=1"\nstate_dir = "{folder}/state"\n'
            f'[mqtt]\nurl = "{mqtt.url}"\nusername = "{mqtt.username}"\npassword_file = "{mqtt.password_file}"\n'
            f'[web]\nenabled = true\npicture = true\nlisten = "127.0.0.1:{self.port}"\ntoken_file = "{token}"\n'
        )
        self.daemon = self._start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def restart(self) -> None:
        self.daemon = self._start()

    def close(self) -> None:
        self.daemon.send_signal(signal.SIGTERM)
        self.daemon.wait(20)
        self.broker.kill()

    def _start(self) -> "subprocess.Popen[bytes]":
        return subprocess.Popen([sys.executable, "-m", "edge", "run", "--quiet", "--config", str(self._settings)])


@pytest.fixture(scope="module")
def device(shots: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Device]:
    device = Device(tmp_path_factory.mktemp("device"))
    try:
        yield device
    finally:
        device.close()


@pytest.fixture(scope="module")
def browser(shots: Path) -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_chromium(), args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser: Any, device: Device) -> Iterator[Any]:
    """Opens pages in a browser of their own, logged in unless told otherwise; no script may fail in them."""
    from playwright.sync_api import Error

    contexts, problems = [], []

    def open_page(size: str = "wide", *, scheme: str = "light", log_in: bool = True) -> Any:
        width, height = WIDTHS[size]
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
        context.set_default_timeout(30_000)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda said: problems.append(said.text) if "Content Security" in said.text else None)
        while True:
            with suppress(Error):  # the daemon is still starting
                page.goto(device.address)
                break
        if log_in:
            page.fill("#token", TOKEN)
            page.click("button")
            page.wait_for_selector("#canvas")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert problems == []


def wait_for_state(page: Any, name: str) -> None:
    page.wait_for_selector(f"#condition[data-name={name}]", timeout=60_000)


def wait_for_face(page: Any) -> None:
    """Wait until the face of the clip is large and in the middle."""
    page.wait_for_selector(".person", timeout=60_000)
    page.wait_for_function(
        "() => { const said = document.querySelector('.person small')?.textContent.match(/for (\\d+) s/);"
        " return said && said[1] >= 3 && said[1] <= 5; }",
        timeout=60_000,
    )


def test_wrong_token_is_told_and_the_right_one_opens_the_page(open_page: Any, shots: Path) -> None:
    page = open_page(log_in=False)
    page.fill("#token", "not-the-right-token")
    page.click("button")
    assert page.inner_text("[role=alert]") == "That is not the token."
    page.screenshot(path=shots / "login.png")
    page.fill("#token", TOKEN)
    page.keyboard.press("Enter")
    page.wait_for_selector("#canvas")
    cookie = page.context.cookies()[0]
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    page.click("#logout")
    page.wait_for_selector("#token")


@pytest.mark.parametrize("size", WIDTHS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_clip_plays_with_its_face(open_page: Any, shots: Path, size: str, scheme: str) -> None:
    page = open_page(size, scheme=scheme)
    page.check("#show-landmarks")
    page.locator("[name=span][value='300']").check(force=True)
    wait_for_face(page)
    assert page.inner_text(".person strong").startswith("happy")
    before = page.evaluate("document.getElementById('canvas').toDataURL()")
    page.wait_for_function("(before) => document.getElementById('canvas').toDataURL() !== before", arg=before)
    assert page.get_attribute("#canvas", "aria-label").endswith(": happy")
    assert page.locator("#timeline rect[fill='var(--happy)']").count() > 0
    page.screenshot(path=shots / f"page-{size}-{scheme}.png", full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_switch_pauses_and_opens_again(open_page: Any, shots: Path) -> None:
    page = open_page()
    wait_for_face(page)
    page.select_option("#pause-for", "300")
    page.click("#pause")
    wait_for_state(page, "paused")
    assert "closed until" in page.inner_text("#condition-detail")
    assert page.inner_text("#cover") == "The camera is closed"
    assert page.locator(".person").count() == 0
    page.wait_for_function(  # the last picture is gone
        "() => { const canvas = document.getElementById('canvas');"
        " const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;"
        " return pixels.every((value, index) => index % 4 === 3 || value < 80); }"
    )
    page.screenshot(path=shots / "paused.png", full_page=True)
    page.click("#pause")
    wait_for_face(page)


def test_broker_that_goes_away_is_told_and_so_is_its_return(open_page: Any, device: Device, shots: Path) -> None:
    page = open_page()
    page.wait_for_selector(".person", timeout=60_000)
    device.broker.kill()
    wait_for_state(page, "no_broker")
    page.screenshot(path=shots / "no-broker.png", full_page=True)
    device.broker.start()
    page.wait_for_function(
        "() => !['no_broker', 'starting'].includes(document.getElementById('condition').dataset.name)"
    )


STATES: dict[str, dict[str, Any]] = {
    "starting": {"camera": "starting"},
    "paused": {"camera": "paused", "paused": True},
    "no_camera": {"camera": "failed", "camera_fault": "/dev/video0: no such device", "frames": 0},
    "camera_failed": {"camera": "failed", "camera_fault": "/dev/video0: no picture for 10 s"},
    "dark": {"camera": "black"},
    "no_broker": {},
    "hot": {"limited_by": "temperature", "limit_fps": 3.0, "temperature_c": 81.4},
    "nobody": {},
}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", STATES)
def test_each_state_is_said_in_words(browser: Any, shots: Path, name: str, scheme: str) -> None:
    from tests.edge.web.conftest import DELIVERY, HEALTH, FakeLoop, Site

    site = Site(WebSettings(enabled=True, listen="127.0.0.1:0", picture=True), loop=False)
    loop = FakeLoop(site.view)
    loop.frame = loop.frame if name in {"no_broker", "hot"} else None
    loop.health = msgspec.structs.replace(HEALTH, **STATES[name])
    loop.delivery = replace(DELIVERY, connected=name != "no_broker")
    width, height = WIDTHS["narrow"]
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
    try:
        page = context.new_page()
        page.goto(site.server.address)
        wait_for_state(page, name)
        assert len(page.inner_text("#condition-detail")) > 10
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        page.screenshot(path=shots / f"state-{name}-{scheme}.png")
    finally:
        context.close()
        loop.close()
        site.close()


def test_sixth_page_is_told_that_there_are_too_many(open_page: Any, shots: Path) -> None:
    for _ in range(5):
        open_page("narrow").wait_for_function("() => document.getElementById('version').textContent.includes('.')")
    page = open_page("narrow")
    wait_for_state(page, "full")
    page.screenshot(path=shots / "full.png")


def test_aim_doctor_and_settings_show_what_they_find(open_page: Any, shots: Path) -> None:
    page = open_page()
    wait_for_face(page)
    page.click("#aim")
    page.wait_for_selector("#aim-points .ok")
    page.click("#doctor")
    page.wait_for_selector("#findings li strong", timeout=90_000)
    page.click("#settings summary")
    page.fill("#settings-filter", "web.")
    page.wait_for_selector("text=web.picture")
    assert page.locator("#settings-rows tr").count() == 7
    page.screenshot(path=shots / "tools.png", full_page=True)


def test_keyboard_reaches_everything(open_page: Any) -> None:
    page = open_page()
    page.wait_for_selector("#pause:enabled", timeout=60_000)
    wanted = {"pause", "pause-for", "logout", "show-scores", "show-landmarks", "aim", "aim-again", "doctor"}
    reached = set()
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id || document.activeElement.tagName"))
    assert wanted <= reached
    assert "SUMMARY" in reached


@pytest.mark.parametrize("size", WIDTHS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(open_page: Any, size: str, scheme: str) -> None:
    axe = os.environ.get("AXE", "")
    if not axe:
        pytest.skip("AXE does not name axe.min.js of axe-core (npm)")
    page = open_page(size, scheme=scheme, log_in=False)
    assert serious(page, Path(axe)) == []
    page.fill("#token", TOKEN)
    page.click("button")
    wait_for_face(page)
    page.click("#aim")
    page.wait_for_selector("#aim-points li")
    for summary in page.locator("summary").all():
        summary.click()
    page.wait_for_selector("#settings-rows tr")
    assert serious(page, Path(axe)) == []


def serious(page: Any, axe: Path) -> list[str]:
    page.evaluate(axe.read_text())
    found = page.evaluate("axe.run()")["violations"]
    return [f"{one['id']}: {one['nodes'][0]['html']}" for one in found if one["impact"] in {"serious", "critical"}]


def test_device_that_ends_is_told_and_so_is_its_return(open_page: Any, device: Device, shots: Path) -> None:
    page = open_page("narrow")
    page.wait_for_selector(".person", timeout=60_000)
    device.daemon.send_signal(signal.SIGTERM)
    device.daemon.wait(20)
    wait_for_state(page, "lost")
    page.screenshot(path=shots / "lost.png")
    device.restart()
    page.wait_for_selector(".person", timeout=60_000)
