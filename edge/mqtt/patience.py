"""For how long the sender waits for a connection, and what it takes for the reason when that was too long."""

from paho.mqtt.enums import MQTTProtocolVersion

from edge.clock import Clock
from edge.mqtt.client import ANSWER_S, Link
from edge.mqtt.reasons import Ending, Kind

OPEN_S = 30.0
"""For a name to be resolved and a connection to be made, with TLS; a resolver may have no limit of its own."""
ACKNOWLEDGE_S = 60.0
"""For a message to be acknowledged. A broker that answers pings and nothing else would hold delivery up for ever."""

_UNREACHED = Ending(Kind.UNREACHABLE, "no answer")
_SILENT = Ending(Kind.OTHER_VERSION, "it does not answer the login")
_UNACKNOWLEDGED = Ending(Kind.LOST, f"no acknowledgement for {ACKNOWLEDGE_S:.0f} s")
_STUCK = Ending(Kind.LOST, "the thread that talks to it is stuck")


class Patience:
    """The limits of one connection after another; a broker that has spoken MQTT 5 is given time to do so again."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._spoke_5 = False
        self._unless = _UNREACHED
        self.ends_at: float | None = None
        """when the next answer is due, of clock.monotonic(); None while none is"""

    def begin(self) -> None:
        """An attempt begins."""
        self.ends_at, self._unless = self._clock.monotonic() + OPEN_S, _UNREACHED

    def opened(self, protocol: MQTTProtocolVersion) -> None:
        """The login goes out."""
        answer_s = ANSWER_S[MQTTProtocolVersion.MQTTv311 if self._spoke_5 else protocol]
        self.ends_at, self._unless = self._clock.monotonic() + answer_s, _SILENT

    def connected(self, protocol: MQTTProtocolVersion) -> None:
        """The login is answered."""
        self._spoke_5 = self._spoke_5 or protocol is MQTTProtocolVersion.MQTTv5
        self.ends_at = None

    def over(self) -> None:
        """The attempt, or the connection, has ended."""
        self.ends_at = None

    def overdue(self, link: Link, *, waits_s: float) -> Ending | None:
        """Return why a connection is over although it has not ended, None where it is not.

        Parameters
        ----------
        waits_s
            For how long the oldest message under way has waited for its acknowledgement, seconds.
        """
        if self.ends_at is not None and self.ends_at <= self._clock.monotonic():
            return self._unless
        if waits_s > ACKNOWLEDGE_S:
            return _UNACKNOWLEDGED
        return _STUCK if link.is_stuck() else None
