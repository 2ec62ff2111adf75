"""`emotion-edge run`: builds the daemon from the settings, handles signals, and stops it in order."""

import errno
import gc
import logging
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from types import FrameType
from typing import TYPE_CHECKING

from edge import __version__
from edge.bundles.choice import load_chosen
from edge.cameras import is_camera, open_camera
from edge.clock import Clock, SystemClock, new_boot_id
from edge.daemon.camera import WatchedCamera
from edge.daemon.loop import Daemon, Identity
from edge.daemon.machine import notify_systemd, temperature_c
from edge.daemon.privacy import PrivacyPause
from edge.daemon.reload import Reloader
from edge.daemon.watchdog import SENDER_LIMIT_S, Watchdog
from edge.errors import CameraError, ConfigError, DeliveryError, redacted
from edge.homeassistant.discovery import announcement
from edge.homeassistant.kept import FormerNames
from edge.mqtt.name_guard import client_id
from edge.mqtt.outbox import Outbox
from edge.mqtt.publisher import Publisher
from edge.pipeline import load_pipeline
from edge.settings import Settings, require_state_dir
from edge.web import View
from edge.web.examination import Examination

if TYPE_CHECKING:
    from edge.web.server import PageServer

STOP_S = 8.0
"""Seconds for a whole stop, from the signal to the end. The unit's TimeoutStopSec is 10: a daemon that systemd
kills closes no outbox and publishes no `stopped`."""
LAST_WORDS_S, GOODBYE_S, RELOAD_S, PAGE_S = 3.0, 2.0, 1.0, 1.0
"""Of these, at most: for the broker to acknowledge the last messages, to disconnect after that, to finish a reload, to
end the page."""
LAST_CHANCE_S = 5.0
"""Seconds a start without a camera spends on sending stored events; each restart by systemd gets no further."""
_POLL_S = 0.1

log = logging.getLogger(__name__)


def run_service(settings: Settings, examination: Examination | None = None) -> None:
    """Run the daemon until its source ends or SIGTERM or SIGINT comes. SIGHUP loads the bundle chosen since the start.

    ``examination`` is the doctor, for the page; None: the one of the system's settings.
    Raises `ConfigError`, `BundleError` or `LandmarkModelError`: something is wrong that a restart would not mend.
    Raises `CameraError`: the camera cannot be opened, or stopped giving frames.
    """
    clock = SystemClock()
    stopping = StopTime(clock)
    is_running = False
    reloader = Reloader(
        lambda: load_chosen(settings),
        lambda classifier: daemon.take_classifier(classifier),  # noqa: PLW0108  # the daemon is made later
    )

    def stop() -> None:
        stopping.begin()
        if not is_running:
            raise SystemExit(0)  # closes what is open by now
        daemon.stop()

    with ExitStack() as parts:
        parts.enter_context(_signals(stop, reloader.request))
        view = View(clock)
        _make_state_folder(settings)  # the detector is kept ready there
        if settings.web.enabled:
            page = _start_page(settings, view, examination or Examination(), clock)
            parts.callback(lambda: page.close(stopping.left_s(PAGE_S)))
        pipeline = load_pipeline(settings, live=is_camera(settings.camera))
        camera = WatchedCamera(
            lambda: open_camera(settings.camera, rotate=settings.camera_rotate, flip=settings.camera_flip),
            settings=settings.camera_watch, endless=is_camera(settings.camera), clock=clock,
        )  # fmt: skip
        parts.callback(lambda: camera.close(stopping.left_s()))
        outbox = parts.enter_context(closing(open_outbox(settings)))
        identity = Identity(settings.device, new_boot_id())
        announced = [announcement(settings, version=__version__, has_temperature=temperature_c() is not None)]
        with_ha = settings.homeassistant.enabled
        publisher = Publisher(
            settings.mqtt, settings.device, outbox, boot=identity.boot, version=__version__,
            model=lambda: pipeline.classifier.name,
            client_id=client_id(settings.device, require_state_dir(settings)),
            birth_topic=settings.homeassistant.birth_topic if with_ha else None,
            announcements=announced if with_ha else (),
        )  # fmt: skip
        watchdog = Watchdog(clock)
        publisher.watch(watchdog.pulse("mqtt-sender", SENDER_LIMIT_S).beat)
        privacy = PrivacyPause(require_state_dir(settings), clock)
        privacy.check()
        publisher.publish_privacy(privacy.payload())  # before `start`, so that it precedes `online`
        publisher.start()
        former_names = FormerNames(settings)
        former_names.start()
        parts.callback(lambda: former_names.close(stopping.left_s(GOODBYE_S)))
        parts.callback(lambda: publisher.stop(stopping.left_s(LAST_WORDS_S, reserve_s=GOODBYE_S)))
        daemon = Daemon(
            settings, identity, camera=camera, pipeline=pipeline, publisher=publisher, privacy=privacy,
            watchdog=watchdog, clock=clock, view=view,
        )  # fmt: skip
        if privacy.pause is None:
            with _last_words(settings, clock, daemon, publisher):
                camera.open()
        name = pipeline.classifier.name
        log.info("%s: %s, bundle %s, broker %s", settings.device, redacted(settings.camera), name, settings.mqtt.url)
        parts.callback(camera.close, 0.0)  # begins to close while the last messages are sent
        parts.callback(notify_systemd, "STOPPING=1")
        watchdog.start()
        parts.callback(watchdog.stop)
        reloader.start()
        parts.callback(lambda: reloader.close(stopping.left_s(RELOAD_S)))
        is_running = True
        _collect_from_here()
        daemon.run()


def _collect_from_here() -> None:
    """Let Python look for garbage, but not through what a start made, which stays: that takes 25 ms each time."""
    gc.freeze()
    gc.enable()


class StopTime:
    """The seconds that are left for a stop, shared by all that has to be ended. They count from the first `begin`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ends_s: float | None = None

    def begin(self) -> float:
        """Start counting, once; return the moment at which the stop must be over, of the monotonic clock."""
        if self._ends_s is None:
            self._ends_s = self._clock.monotonic() + STOP_S
        return self._ends_s

    def left_s(self, most_s: float = STOP_S, *, reserve_s: float = 0.0) -> float:
        """Return the seconds that one part may take: ``most_s``, or what is left without a reserve."""
        return max(0.0, min(most_s, self.begin() - self._clock.monotonic() - reserve_s))


def _start_page(settings: Settings, view: View, examination: Examination, clock: Clock) -> "PageServer":
    from edge.web.server import PageServer

    page = PageServer(settings, view, examination=examination, clock=clock)
    page.start()
    log.info("the page: %s", page.address)
    return page


@contextmanager
def _last_words(settings: Settings, clock: Clock, daemon: Daemon, publisher: Publisher) -> Iterator[None]:
    """If the camera cannot be opened, publish that, and wait up to `LAST_CHANCE_S` until the broker has everything."""
    try:
        yield
    except CameraError:
        daemon.end("failed")
        until_s = clock.monotonic() + (LAST_CHANCE_S if is_camera(settings.camera) else 0.0)
        with suppress(DeliveryError):
            while clock.monotonic() < until_s:
                stats = publisher.stats()
                if stats.last_refusal or (stats.connected and publisher.drain(_POLL_S)):
                    break
                if not stats.connected:
                    time.sleep(_POLL_S)
        raise


def _make_state_folder(settings: Settings) -> None:
    folder = require_state_dir(settings)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        if error.errno not in {errno.EROFS, errno.ENOSPC, errno.EDQUOT}:  # then the outbox keeps events in memory
            raise ConfigError(f"state_dir: {folder} cannot be made: {error.strerror}") from error


def open_outbox(settings: Settings) -> Outbox:
    """Open the outbox in the state folder."""
    return Outbox(
        require_state_dir(settings) / "outbox.sqlite3",
        max_events=settings.mqtt.outbox_max_events, max_age_s=settings.mqtt.outbox_max_age_s,
        max_bytes=round(settings.mqtt.outbox_max_mb * 1e6), synchronous=settings.mqtt.outbox_synchronous,
    )  # fmt: skip


@contextmanager
def _signals(stop: Callable[[], None], reload: Callable[[], None]) -> Iterator[None]:
    """Stop on the first SIGTERM or SIGINT; a second one kills the process. Reload on SIGHUP."""

    def handle(number: int, _frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        stop()

    def hang_up(_number: int, _frame: FrameType | None) -> None:
        # Closing the terminal sends SIGHUP too; the camera must not go on when nobody is left to stop it.
        (stop if ends_with_terminal and not _has_terminal() else reload)()

    ends_with_terminal = _has_terminal() and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN  # nohup ignores it
    handlers = {signal.SIGTERM: handle, signal.SIGINT: handle, signal.SIGHUP: hang_up}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True
