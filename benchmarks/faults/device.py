"""A device to be killed: the real outbox and publisher, with a counter in place of the camera.

    python -m benchmarks.faults.device SETTINGS.json FOLDER RATE

Prints the ``seq`` of each event once the outbox has stored it. With a rate of 0 it only sends waiting events, and ends.
"""

import sys
import time
from pathlib import Path

import msgspec

from edge.backoff import Backoff
from edge.clock import Clock, new_boot_id, utc_time, uuid7
from edge.events.payloads import UNNUMBERED, EmotionEvent
from edge.mqtt.outbox import Outbox
from edge.mqtt.publisher import Publisher
from edge.settings import MqttSettings

DEVICE = "faults"
MOST_EVENTS = 100_000


def outbox(
    folder: Path, *, max_events: int = MOST_EVENTS, max_age_s: float = 604_800, clock: Clock | None = None
) -> Outbox:
    """Open the outbox of this device."""
    return Outbox(folder / "outbox.sqlite3", max_events=max_events, max_age_s=max_age_s, clock=clock)


def publisher(settings: MqttSettings, box: Outbox, boot: str) -> Publisher:
    """Return a publisher that reconnects quickly: the pauses between attempts are not measured here."""
    backoff = Backoff(first_s=0.1, most_s=0.5)
    return Publisher(settings, DEVICE, box, boot=boot, version="1", model=lambda: "none-00000000", backoff=backoff)


def event(boot: str) -> EmotionEvent:
    """Return an event that is as large as a real one."""
    return EmotionEvent(
        event_type="emotion_changed", id=uuid7(), seq=UNNUMBERED, boot=boot, time=utc_time(),
        mono_ms=time.monotonic_ns() // 10**6, time_synced=True, device=DEVICE, face=1, box=(10, 20, 100, 100),
        emotion="happy", confidence=0.75,
        scores={"angry": 0.05, "happy": 0.75, "sad": 0.1, "surprise": 0.05, "neutral": 0.05}, duration_s=1.5,
        model="none-00000000",
    )  # fmt: skip


def main(settings_file: str, folder: str, rate: str) -> None:
    """Publish until killed, or drain the outbox."""
    settings = msgspec.json.decode(Path(settings_file).read_bytes(), type=MqttSettings)
    box, boot = outbox(Path(folder)), new_boot_id()
    sender = publisher(settings, box, boot)
    sender.start()
    if float(rate) == 0:
        sys.exit(0 if sender.drain(120) and sender.stop(10) else 1)
    while True:
        print(sender.publish_events([event(boot)])[0], flush=True)
        time.sleep(1 / float(rate))


if __name__ == "__main__":
    main(*sys.argv[1:])
