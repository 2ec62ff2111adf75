"""Events on disk until the broker has acknowledged them."""

from edge.mqtt.outbox.queue import Outbox
from edge.mqtt.outbox.repair import stored_format
from edge.mqtt.outbox.tables import FORMAT

__all__ = ["FORMAT", "Outbox", "stored_format"]
