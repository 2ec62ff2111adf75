"""The faults: each function runs one and returns a `Tally`."""

import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from benchmarks.faults import device
from benchmarks.faults.proxy import Mode, Proxy
from benchmarks.faults.tally import Tally, tally
from edge.mqtt.outbox import Outbox
from edge.mqtt.publisher import Publisher
from edge.settings import MqttSettings
from tests.fakes.clock import FakeClock
from tests.fakes.mosquitto import Mosquitto
from tests.fakes.subscriber import Subscriber

PATIENCE_S = 180.0
"""Seconds to wait for the last event before missing ones count as lost."""
SEED = 20_261_122


def broker_killed(
    folder: Path,
    *,
    kills: int = 10,
    rate: float = 100.0,
    down_s: float = 3.0,
    up_s: float = 2.0,
    autosave: bool = False,
) -> Tally:
    """Kill the broker (-9) repeatedly while events are published; it keeps sessions on disk.

    The subscriber has caught up before each kill, because messages that a broker has acknowledged but holds only in
    memory are lost with it, and no device can know. With ``autosave`` the broker also saves its messages at every
    change, and may resend what it delivered after the last save.
    """
    with (
        _site(folder, autosave=autosave) as (broker, subscriber),
        _publishing(broker.settings(), folder) as (publisher, box, sent),
    ):
        broker.save()
        began_s = time.monotonic()
        with _events(publisher, sent, rate):
            for _ in range(kills):
                time.sleep(up_s)
                broker.kill()
                time.sleep(down_s)
                before = subscriber.subscriptions
                broker.start()
                _wait(lambda before=before: subscriber.subscriptions > before)  # type: ignore[misc]
                _wait(lambda: _seqs(subscriber)[-1] > sent[-1] - 5)
            time.sleep(up_s)
        received = _all(subscriber, sent, publisher)
        return tally(
            f"broker killed (-9){', saving each change' if autosave else ''}",
            sent,
            received,
            dropped=box.dropped,
            faults=kills,
            took_s=time.monotonic() - began_s,
            most_duplicates=None if autosave else 1,
        )


def link_broken(
    folder: Path, mode: Mode, *, times: int = 5, rate: float = 50.0, broken_s: float = 3.0, up_s: float = 2.0
) -> Tally:
    """Break the link between device and broker repeatedly while events are published."""
    with _site(folder) as (broker, subscriber), Proxy(broker.port) as proxy:
        settings = broker.settings(url=f"mqtt://127.0.0.1:{proxy.port}")
        with _publishing(settings, folder) as (publisher, box, sent):
            began_s = time.monotonic()
            with _events(publisher, sent, rate):
                for _ in range(times):
                    time.sleep(up_s)
                    proxy.mode = mode
                    time.sleep(broken_s)
                    proxy.mode = "open"
            received = _all(subscriber, sent, publisher)
            faults = proxy.resets if mode == "reset" else times
            took_s = time.monotonic() - began_s
            return tally(
                f"link: {mode}, {broken_s:g} s", sent, received, dropped=box.dropped, faults=faults, took_s=took_s
            )


def device_killed(folder: Path, *, kills: int = 50, rate: float = 200.0) -> Tally:
    """Kill the publishing process (-9) at random moments and restart it; drain the outbox at the end."""
    chance = random.Random(SEED)
    sent: list[int] = []
    with _site(folder) as (broker, subscriber):
        settings_file = folder / "settings.json"
        settings_file.write_bytes(msgspec.json.encode(broker.settings()))
        command = [sys.executable, "-m", "benchmarks.faults.device", str(settings_file), str(folder / "state")]
        began_s = time.monotonic()
        for _ in range(kills):
            with subprocess.Popen([*command, str(rate)], stdout=subprocess.PIPE, text=True) as process:
                assert process.stdout is not None
                taken = [process.stdout.readline()]  # it publishes; the kill comes at a random moment from now
                time.sleep(chance.uniform(0.0, 0.6))
                process.kill()
                taken += process.stdout.readlines()
            # The kill may have cut the last line; a complete line means that the event was stored.
            sent += [int(line) for line in taken if line.endswith("\n")]
        subprocess.run([*command, "0"], check=True, timeout=PATIENCE_S)
        last = max(sent)
        subscriber.wait(lambda _: last in _seqs(subscriber), timeout_s=PATIENCE_S)
        took_s = time.monotonic() - began_s
        return tally("device killed (-9)", sent, _seqs(subscriber), faults=kills, took_s=took_s)


def broker_away(
    folder: Path, *, events: int = 43_200, every_s: float = 2.0, max_events: int, max_age_s: float
) -> Tally:
    """Publish a day of events without a broker, on a fake clock, then start the broker."""
    clock = FakeClock()
    with _site(folder) as (broker, subscriber):
        broker.stop()
        box = device.outbox(folder / "state", max_events=max_events, max_age_s=max_age_s, clock=clock)
        publisher = device.publisher(broker.settings(), box, "boot")
        began_s = time.monotonic()
        sent = []
        for _ in range(events):
            sent.extend(publisher.publish_events([device.event("boot")]))
            clock.pass_time(every_s)
        box.batch(0, 1)  # expire old events, as the sender does before sending
        dropped = box.dropped
        broker.start()
        publisher.start()
        received = _all(subscriber, sent, publisher)
        publisher.stop(10)
        box.close()
        which = f"{max_events:,} events" if max_events < events else f"{max_age_s / 3600:g} h"
        took_s = time.monotonic() - began_s
        return tally(
            f"broker away for {events * every_s / 3600:g} h, kept: {which}",
            sent,
            received,
            dropped=dropped,
            took_s=took_s,
        )


@contextmanager
def _site(folder: Path, *, autosave: bool = True) -> Iterator[tuple[Mosquitto, Subscriber]]:
    with (
        Mosquitto(folder / "broker", autosave=autosave) as broker,
        Subscriber(
            broker.port, f"emotion/1/{device.DEVICE}/event", username=broker.username, password=broker.password
        ) as listening,
    ):
        yield broker, listening


@contextmanager
def _publishing(settings: MqttSettings, folder: Path) -> Iterator[tuple[Publisher, Outbox, list[int]]]:
    box = device.outbox(folder / "state")
    publisher = device.publisher(settings, box, "boot")
    publisher.start()
    try:
        yield publisher, box, []
    finally:
        publisher.stop(5)
        box.close()


@contextmanager
def _events(publisher: Publisher, sent: list[int], rate: float) -> Iterator[None]:
    """Publish in a thread at ``rate`` events a second, and catch up if the machine falls behind."""
    over = threading.Event()

    def publish() -> None:
        began_s = time.monotonic()
        while not over.is_set():
            while len(sent) < (time.monotonic() - began_s) * rate:
                sent.extend(publisher.publish_events([device.event("boot")]))
            over.wait(0.5 / rate)

    thread = threading.Thread(target=publish, name="events")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _all(subscriber: Subscriber, sent: list[int], publisher: Publisher) -> list[int]:
    """Wait until the outbox is empty and the last event has arrived; return ``seq`` in order of arrival."""
    drained = publisher.drain(PATIENCE_S)
    if drained and sent:
        _wait(lambda: sent[-1] in _seqs(subscriber))
    return _seqs(subscriber)


def _wait(done: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 30
    while not done() and time.monotonic() < deadline_s:
        time.sleep(0.1)


def _seqs(subscriber: Subscriber) -> list[int]:
    return [int(event["seq"]) for event in subscriber.of("event")]
