"""The topics: ``emotion/1/<device>/…``."""

from edge.events.payloads import CONTRACT_VERSION

PREFIX = f"emotion/{CONTRACT_VERSION}"


class Topics:
    """The topics of one device; ``Topics("+")`` gives the filters that match all devices."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.event = f"{PREFIX}/{device}/event"
        """emotion events, not retained"""
        self.state = f"{PREFIX}/{device}/state"
        """who is in view now, retained"""
        self.status = f"{PREFIX}/{device}/status"
        """availability, retained; ``offline`` is the last will"""
        self.health = f"{PREFIX}/{device}/health"
        """the device's health, retained"""
        self.privacy_set = f"{PREFIX}/{device}/privacy/set"
        """commands to this device: close or open the camera; never retained"""
        self.privacy_state = f"{PREFIX}/{device}/privacy/state"
        """whether the camera is closed for privacy, retained"""
