"""The addresses of the page, as an ASGI application."""

import asyncio
import html
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from urllib.parse import parse_qs

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from edge.clock import Clock
from edge.errors import EmotionEdgeError
from edge.events.payloads import PrivacyCommand
from edge.mqtt.commands import CommandError, read_command
from edge.settings import Settings
from edge.settings.show import shown_values
from edge.web.aim import Aim
from edge.web.condition import STUCK
from edge.web.examination import Examination
from edge.web.guard import COOKIE_DAYS, Guard, Lock, client_of
from edge.web.metrics import CONTENT_TYPE, metrics
from edge.web.streams import BOUNDARY, MOST_VIEWERS, Audience, FullError
from edge.web.view import FRESH_S, View

BODY_S = 10.0
"""Seconds within which the body of a request must be there."""
ANSWER_S = 2.0
"""Seconds within which the loop must answer to be called alive; a step without a frame takes a quarter of one."""
_STATIC = {"app.js": "text/javascript", "app.css": "text/css", "icon.svg": "image/svg+xml"}
_UNHEALTHY = {"starting", "stuck", "no_camera", "camera_failed"}
"""Conditions that `/healthz` answers with 503. Without a broker, events wait and nothing is lost: that is healthy."""


class Hello(msgspec.Struct, frozen=True, kw_only=True):
    """What the page is told once, at its start."""

    device: str
    version: str
    picture: bool
    has_token: bool


@dataclass(frozen=True, slots=True)
class Device:
    """What the page knows of its device besides the view."""

    settings: Settings
    version: str
    token: str | None
    examine: Examination
    aim: Aim


def page_app(view: View, audience: Audience, device: Device, clock: Clock) -> Starlette:
    """Return the application; it belongs to one event loop."""
    lock = Lock(device.token, device.settings.device, clock)
    pages = _Pages(view, audience, device, lock)
    routes = [
        Route("/", pages.page),
        Route("/login", pages.login, methods=["GET", "POST"]),
        Route("/logout", pages.logout, methods=["POST"]),
        Route("/static/{name}", pages.static),
        Route("/events", pages.events),
        Route("/picture", pages.picture),
        Route("/privacy", pages.privacy, methods=["POST"]),
        Route("/settings", pages.settings),
        Route("/doctor", pages.doctor, methods=["POST"]),
        Route("/aim", pages.aim, methods=["POST"]),
        Route("/metrics", pages.metrics),
        Route("/healthz", pages.healthz),
    ]
    guard = Middleware(Guard, lock=lock, hosts=device.settings.web.hosts.split())
    return Starlette(routes=routes, middleware=[guard])


class _Pages:
    def __init__(self, view: View, audience: Audience, device: Device, lock: Lock) -> None:
        self._view, self._audience, self._device, self._lock = view, audience, device, lock
        self._busy = asyncio.Lock()
        settings = device.settings
        self._hello = Hello(
            device=settings.device, version=device.version, picture=settings.web.picture,
            has_token=not lock.is_open,
        )  # fmt: skip

    async def page(self, _: Request) -> Response:
        return _html("page.html", device=html.escape(self._device.settings.device))

    async def static(self, request: Request) -> Response:
        kind = _STATIC.get(request.path_params["name"])
        if kind is None:
            return PlainTextResponse("not found", 404)
        return Response(_static(request.path_params["name"]), media_type=kind)

    async def login(self, request: Request) -> Response:
        if self._lock.is_open:
            return RedirectResponse("/", 303)
        if request.method == "GET":
            return self._form("", 401)
        form = parse_qs((await _body(request)).decode("utf-8", "replace"))
        address = client_of(request.scope)
        if wait_s := self._lock.tries.wait_s(address):
            text = f"Too many wrong tokens. Try again in {wait_s:.0f} seconds."
            return self._form(text, 429, {"retry-after": f"{wait_s:.0f}"})
        if not self._lock.fits(form.get("token", [""])[0].strip()):
            self._lock.tries.note_wrong(address)
            return self._form("That is not the token.", 401)
        answer = RedirectResponse("/", 303)
        answer.set_cookie(
            self._lock.cookie_name, self._lock.new_cookie(),
            max_age=COOKIE_DAYS * 86_400, httponly=True, samesite="strict",
            # Behind a proxy that speaks https, only the browser's Origin tells so.
            secure=request.url.scheme == "https" or request.headers.get("origin", "").startswith("https:"),
        )  # fmt: skip
        return answer

    async def logout(self, _: Request) -> Response:
        answer = Response(status_code=204)
        answer.delete_cookie(self._lock.cookie_name, httponly=True, samesite="strict")
        return answer

    async def events(self, request: Request) -> Response:
        landmarks = request.query_params.get("landmarks") == "1"
        return _Stream(
            self._audience.look("events"),
            lambda news: self._audience.events(news, self._hello, landmarks=landmarks),
            "text/event-stream",
        )

    async def picture(self, _: Request) -> Response:
        if not self._device.settings.web.picture:
            return PlainTextResponse("web.picture = false: this device shows no picture", 403)
        kind = f"multipart/x-mixed-replace; boundary={BOUNDARY}"
        return _Stream(self._audience.look("picture"), self._audience.picture, kind)

    async def privacy(self, request: Request) -> Response:
        try:
            command = read_command(await _body(request), retained=False)
        except CommandError as error:
            return PlainTextResponse(str(error), 400)
        before = self._view.statuses
        self._view.command(command)
        if not await self._audience.wait_for(lambda: self._has_obeyed(command, before), ANSWER_S):
            return PlainTextResponse("the daemon does not answer; it obeys as soon as it can", 504)
        return _json(self._view.status.privacy)

    async def settings(self, _: Request) -> Response:
        rows = shown_values(self._device.settings)
        return _json([{"key": key, "value": value, "is_default": is_default} for key, value, is_default in rows])

    async def doctor(self, _: Request) -> Response:
        return await self._one_at_a_time(self._device.examine.run)

    async def aim(self, _: Request) -> Response:
        before = self._view.scenes
        self._view.enter()
        try:
            await self._audience.wait_for(
                lambda: self._view.scene is not None and self._view.scenes != before, ANSWER_S
            )
            scene = self._view.scene
        finally:
            self._view.leave()
        if scene is None:
            return PlainTextResponse("there is no picture to look at", 409)
        return await self._one_at_a_time(lambda: self._device.aim.judge(scene))

    async def metrics(self, _: Request) -> Response:
        await self._ask()
        device = self._device
        body = metrics(
            self._view.status, device=device.settings.device, version=device.version, viewers=self._audience.count()
        )
        return Response(body, media_type=CONTENT_TYPE)

    async def healthz(self, _: Request) -> Response:
        is_alive, condition = await self._ask(), self._view.status.condition
        if not is_alive and self._view.statuses:
            condition = STUCK
        body = {"status": condition.name, "detail": condition.detail}
        return _json(body, 503 if condition.name in _UNHEALTHY else 200)

    async def _ask(self) -> bool:
        """Have the loop make a status; return False if it does not."""
        self._view.ask()
        return await self._audience.wait_for(lambda: self._view.age_s() < FRESH_S, ANSWER_S)

    def _has_obeyed(self, command: PrivacyCommand, before: int) -> bool:
        privacy = self._view.status.privacy
        return self._view.statuses != before and privacy is not None and privacy.paused == command.paused

    async def _one_at_a_time(self, work: Callable[[], Awaitable[msgspec.Struct]]) -> Response:
        if self._busy.locked():
            return PlainTextResponse("another examination is under way", 409)
        async with self._busy:
            try:
                return _json(await work())
            except EmotionEdgeError as error:
                return PlainTextResponse(str(error), 500)

    def _form(self, problem: str, status: int, headers: dict[str, str] | None = None) -> Response:
        shown = f'<p class="problem" role="alert">{html.escape(problem)}</p>' if problem else ""
        return _html("login.html", status, headers, device=html.escape(self._device.settings.device), problem=shown)


class _Stream(StreamingResponse):
    """An answer that lasts as long as its viewer; 503 if there are too many viewers."""

    def __init__(
        self,
        look: AbstractContextManager[asyncio.Event],
        parts: Callable[[asyncio.Event], AsyncIterator[bytes]],
        media_type: str,
    ) -> None:
        super().__init__(iter(()), media_type=media_type)
        self._look, self._parts = look, parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            with self._look as news:
                self.body_iterator = self._parts(news)
                await super().__call__(scope, receive, send)
        except FullError:
            text = f"{MOST_VIEWERS} are looking already; close one of the other pages"
            await PlainTextResponse(text, 503, {"retry-after": "10"})(scope, receive, send)


async def _body(request: Request) -> bytes:
    """Return the body of a request, whose length the guard has checked; raise ``HTTPException`` if it is too slow."""
    try:
        async with asyncio.timeout(BODY_S):
            return await request.body()
    except TimeoutError:
        raise HTTPException(408, "too slow", {"connection": "close"}) from None


def _json(value: object, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, media_type="application/json")


def _html(name: str, status: int = 200, headers: dict[str, str] | None = None, **parts: str) -> Response:
    page = _static(name).decode()
    for key, text in parts.items():
        page = page.replace("{{" + key + "}}", text)
    return Response(page, status, headers, media_type="text/html")


@cache
def _static(name: str) -> bytes:
    return files("edge.web").joinpath("static", name).read_bytes()
