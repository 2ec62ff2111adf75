"""Read events with paho-mqtt: ``python examples/mqtt/subscriber.py mqtt://reader@broker.local``.

The password is taken from MQTT_PASSWORD.
"""

import json
import os
import sys
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

MAX_AGE_S = 60
"""older events are not acted on: after an outage all that waited comes at once"""


class Reader:
    """Skips duplicates, notes gaps, and acts on what has just happened."""

    def __init__(self) -> None:
        self._last: dict[str, int] = {}  # device -> seq; keep it on disk to be sure over restarts

    def read(self, event: dict[str, Any]) -> None:
        """Take one event."""
        device, seq = event["device"], event["seq"]
        last = self._last.get(device)
        if last is not None and seq <= last:
            return  # sent again because its acknowledgement got lost
        if last is not None and seq > last + 1:
            print(f"{device}: {seq - last - 1} events are missing", flush=True)
        self._last[device] = seq
        age_s = (datetime.now(UTC) - datetime.fromisoformat(event["time"])).total_seconds()
        if not event["time_synced"] or age_s <= MAX_AGE_S:
            self.act(event)

    def act(self, event: dict[str, Any]) -> None:
        """Put your own calls here."""
        print(f"{event['device']}: {event['event_type']} {event['emotion']} {event['confidence']:.0%}", flush=True)


def main(address: str) -> None:
    """Subscribe until Ctrl-C is pressed."""
    parts, reader = urlsplit(address), Reader()
    # The fixed id and the kept session make the broker keep events while this program is away.
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="my-subscriber", clean_session=False)
    client.username_pw_set(parts.username, os.environ.get("MQTT_PASSWORD"))
    client.on_connect = lambda client, *_: client.subscribe("emotion/1/+/event", qos=1)
    client.on_message = lambda _client, _data, message: reader.read(json.loads(message.payload))
    client.connect(parts.hostname or "localhost", parts.port or 1883)
    client.loop_forever()


if __name__ == "__main__":
    try:
        main(sys.argv[1] if len(sys.argv) > 1 else "mqtt://localhost")
    except KeyboardInterrupt:
        sys.exit(130)
