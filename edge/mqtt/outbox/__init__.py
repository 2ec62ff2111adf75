"""Events on disk until the broker has acknowledged them."""

from edge.mqtt.outbox.queue import Outbox

__all__ = ["Outbox"]
