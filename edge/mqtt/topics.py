"""The topics: ``emotion/1/<device>/…``."""

from dataclasses import dataclass

from edge.events.payloads import CONTRACT_VERSION

PREFIX = f"emotion/{CONTRACT_VERSION}"


@dataclass(frozen=True, slots=True)
class Topics:
    """The topics of one device; ``Topics("+")`` gives the filters that match all devices."""

    device: str
    """a-z, 0-9 and -, at most 64 characters, checked by the settings"""

    @property
    def event(self) -> str:
        """Emotion events, not retained."""
        return f"{PREFIX}/{self.device}/event"

    @property
    def state(self) -> str:
        """Who is in view now, retained."""
        return f"{PREFIX}/{self.device}/state"

    @property
    def status(self) -> str:
        """Availability, retained; ``offline`` is the last will."""
        return f"{PREFIX}/{self.device}/status"

    @property
    def health(self) -> str:
        """The device's health, retained."""
        return f"{PREFIX}/{self.device}/health"

    @property
    def privacy_set(self) -> str:
        """Commands to this device: close or open the camera. Never retained."""
        return f"{PREFIX}/{self.device}/privacy/set"

    @property
    def privacy_state(self) -> str:
        """Whether the camera is closed for privacy, retained."""
        return f"{PREFIX}/{self.device}/privacy/state"
