"""The two streams to a viewer: server-sent events, and the picture as Motion JPEG."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager

import msgspec

from edge.web.view import View

MOST_VIEWERS = 5
SILENCE_S = 5.0
"""Seconds without news after which a stream sends a sign of life, which also shows that a connection is gone."""
BOUNDARY = "frame"
WAKE_AFTER_S = 0.02
"""Seconds from news to the page's work on it: events of the frame reach the broker first. Both take the GIL."""


class FullError(Exception):
    """`MOST_VIEWERS` have a stream of this kind open already."""


class Audience:
    """Those who look now: each has an event that is set when there is news. Used by the page's thread alone.

    A viewer that is slow to take one message gets the newest next; nothing is queued.
    """

    def __init__(self, view: View) -> None:
        self._view = view
        self._viewers: dict[str, set[asyncio.Event]] = {"events": set(), "picture": set()}
        self._waiting: set[asyncio.Event] = set()
        self._is_due = False
        self.is_over = False
        """True once the server stops"""

    def wake_soon(self) -> None:
        """Tell all viewers that there is news, once after `WAKE_AFTER_S` however often this is called meanwhile."""
        if not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_later(WAKE_AFTER_S, self._wake)

    def _wake(self) -> None:
        self._is_due = False
        for news in self._waiting.union(*self._viewers.values()):
            news.set()

    def count(self) -> int:
        """Return how many look at the page."""
        return len(self._viewers["events"])

    async def wait_for(self, is_there: Callable[[], bool], timeout_s: float) -> bool:
        """Wait until ``is_there`` returns True, checking at each news; return False if the time is up."""
        news = asyncio.Event()
        self._waiting.add(news)
        try:
            async with asyncio.timeout(timeout_s):
                while not is_there():
                    await news.wait()
                    news.clear()
        except TimeoutError:
            return is_there()
        finally:
            self._waiting.discard(news)
        return True

    def end(self) -> None:
        """End all streams."""
        self.is_over = True
        self._wake()

    @contextmanager
    def look(self, kind: str) -> Iterator[asyncio.Event]:
        """Look, at ``events`` or the ``picture``; the event is set when there is news.

        Raises `FullError`: `MOST_VIEWERS` look at it already.
        """
        viewers, news = self._viewers[kind], asyncio.Event()
        if len(viewers) >= MOST_VIEWERS:
            raise FullError
        news.set()
        viewers.add(news)
        self._view.enter()
        try:
            yield news
        finally:
            viewers.discard(news)
            self._view.leave()

    async def events(self, news: asyncio.Event, hello: msgspec.Struct, *, landmarks: bool) -> AsyncIterator[bytes]:
        """Yield server-sent events: ``hello`` once, then ``status``, ``history`` and ``scene`` as they change."""
        view = self._view
        yield _event("hello", msgspec.json.encode(hello))
        status = history = scene = -1
        while await self._has_news(news):
            if view.statuses != status:
                status = view.statuses
                yield _event("status", msgspec.json.encode(view.status))
            elif not news.is_set() and view.age_s() > SILENCE_S:
                yield _event("stuck", b"%.1f" % view.age_s())
            if view.history.version != history:
                history, spans = view.history.since(history)
                yield _event("history", msgspec.json.encode(spans))
            if view.scenes != scene:
                scene, shown = view.scenes, view.scene
                yield _event("scene", b"null" if shown is None else shown.message(landmarks=landmarks))
        yield _event("bye", b"null")

    async def picture(self, news: asyncio.Event) -> AsyncIterator[bytes]:
        """Yield the parts of a ``multipart/x-mixed-replace`` answer; each has the number of its scene."""
        number = -1
        while await self._has_news(news):
            shown = self._view.scene
            if shown is not None and shown.number != number:
                number, data = shown.number, shown.jpeg()
                head = f"--{BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\nX-Scene: {number}"
                yield head.encode() + b"\r\n\r\n" + data + b"\r\n"

    async def _has_news(self, news: asyncio.Event) -> bool:
        try:
            async with asyncio.timeout(SILENCE_S):
                await news.wait()
        except TimeoutError:
            pass
        news.clear()
        return not self.is_over


def _event(name: str, data: bytes) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (name.encode(), data)
