"""Loads the chosen bundle into the running daemon; camera, connection and visits go on."""

import logging
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue

from edge.daemon.machine import notify_systemd
from edge.errors import EmotionEdgeError
from edge.inference import Classifier

log = logging.getLogger(__name__)


class Reloader:
    """Loads a bundle in the background, so that no frame waits for it; a failure changes nothing.

    ``load``: returns a classifier that has passed its self-test.
    ``take``: puts it to use; called in the background thread.
    """

    def __init__(self, load: Callable[[], Classifier], take: Callable[[Classifier], None]) -> None:
        self._load = load
        self._take = take
        self._requests: SimpleQueue[bool] = SimpleQueue()  # its put may be called in a signal handler
        self._thread = threading.Thread(target=self._run, name="reload", daemon=True)

    def start(self) -> None:
        """Start waiting for requests."""
        self._thread.start()

    def request(self) -> None:
        """Request a reload and return at once; may be called from any thread or signal handler."""
        self._requests.put(True)

    def close(self, timeout_s: float) -> None:
        """End the thread once it has done what was requested; wait for that no longer than ``timeout_s``."""
        self._requests.put(False)
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while self._requests.get():
            # sd_notify(3): the time tells systemd which reload the next READY=1 belongs to.
            notify_systemd(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")
            notify_systemd(f"READY=1\nSTATUS={self._reload()}")

    def _reload(self) -> str:
        try:
            classifier = self._load()
        except EmotionEdgeError as error:
            outcome = f"reload failed, nothing has changed: {error}"
        except Exception as error:  # noqa: BLE001 - whatever is wrong with the bundle, the running one stays
            outcome = f"reload failed, nothing has changed: unexpected {type(error).__name__}: {error}"
        else:
            self._take(classifier)
            outcome = f"reloaded: now running {classifier.name}"
            log.info("%s", outcome)
            return outcome
        log.error("%s", outcome)
        return outcome.replace("\n", " ")
