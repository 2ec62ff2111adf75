"""A thread for calls that may block for ever, so that whoever waits for them need not."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import TypeVar

T = TypeVar("T")


class Worker:
    """Makes calls one after another in one daemon thread; a device is thus never used from two threads at once."""

    def __init__(self, name: str) -> None:
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, function: Callable[[], T]) -> "Future[T]":
        """Queue a call; its result or exception comes with the future."""
        future: Future[T] = Future()

        def call() -> None:
            try:
                result = function()
            except Exception as error:  # noqa: BLE001  # raised again by whoever waits for the future
                future.set_exception(error)
            else:
                future.set_result(result)

        self._calls.put(call)
        return future

    def leave(self) -> None:
        """End the thread when all calls are made; nobody waits for it."""
        self._calls.put(None)

    def finish(self, last: Callable[[], None], timeout_s: float) -> bool:
        """Make one last call and end the thread; False where it still hangs in a call after ``timeout_s``.

        The last call is then made whenever the one that hangs returns.
        """
        self.submit(last)
        self._calls.put(None)
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            call()
