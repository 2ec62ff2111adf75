"""A background thread for calls that may never return."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import TypeVar

T = TypeVar("T")


class Worker:
    """Runs calls one after another in one daemon thread, so that a device is never used by two threads at once."""

    def __init__(self, name: str) -> None:
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, function: Callable[[], T]) -> "Future[T]":
        """Queue a call; the future holds its result or exception."""
        future: Future[T] = Future()

        def call() -> None:
            try:
                result = function()
            except Exception as error:  # noqa: BLE001  # the future raises it again
                future.set_exception(error)
            else:
                future.set_result(result)

        self._calls.put(call)
        return future

    def leave(self) -> None:
        """End the thread after the queued calls, without waiting."""
        self._calls.put(None)

    def finish(self, last: Callable[[], None], timeout_s: float) -> bool:
        """Run one last call and end the thread; return False if a call still hangs after ``timeout_s``.

        The last call then runs once the one that hangs returns.
        """
        self.submit(last)
        self._calls.put(None)
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            call()
