"""Two devices of one name: the one that came second is held back, so that neither disturbs the other's topics.

Each device listens to its own ``status``, which carries client id and boot. What the broker kept of another client is
a device that is online, or one that was cut off and whose will is still to come (`HOLD_S`). What arrives live is
another device for sure. Of two that start at the same moment, the broker's order decides: the one whose ``online``
came back to it before it saw the other's was first.
"""

import hmac
import socket
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path

import msgspec

from edge.events.payloads import Status
from edge.mqtt.connection import KEEPALIVE_S
from edge.settings.profiles import device_tree

HOLD_S = 1.5 * KEEPALIVE_S + 5
"""Seconds until the will of a device that was cut off must have come: MQTT 5.0, 3.1.2.10, and some for the broker."""

_DECODER = msgspec.json.Decoder(Status)


class Verdict(Enum):
    """What follows from a status that has arrived."""

    NOTHING = auto()
    HOLD = auto()
    """another device may be online: say nothing until its will comes, or `HOLD_S` are over"""
    FREE = auto()
    """nobody else is online (any more)"""
    TAKEN = auto()
    """another device is online and was first"""
    REPEAT = auto()
    """this device is online, but its status says otherwise or is gone: publish everything again"""


@dataclass(slots=True)
class NameGuard:
    """Judges what arrives on the status topic of one connection after another."""

    client_id: str
    boot: str
    other: str | None = None
    """client id of another device that is online or seems so; None while there is none"""
    _is_first: bool = False

    def start_connection(self) -> None:
        """Forget what was seen on an earlier connection."""
        self.other, self._is_first = None, False

    def judge(self, payload: bytes, *, retained: bool) -> Verdict:
        """Judge one payload of the status topic; what is no status counts as none."""
        try:
            status = _DECODER.decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            status = None
        if status is not None and status.state == "online" and status.boot == self.boot:
            self._is_first = True
            return Verdict.NOTHING
        if self._is_first:
            return Verdict.REPEAT
        if status is not None and self._is_mine(status):
            return Verdict.NOTHING
        if status is not None and status.state == "online":
            self.other = status.client or f"of version {status.version}"
            return Verdict.HOLD if retained else Verdict.TAKEN
        self.other = None
        return Verdict.FREE

    def _is_mine(self, status: Status) -> bool:
        return status.boot == self.boot or status.client == self.client_id


def client_id(device: str, folder: Path, *, root: Path = Path("/")) -> str:
    """Return an id that is the same at each start, and another one on another machine or with another state folder.

    ``root``: the folder that holds ``proc`` and ``etc``.
    """
    machine = device_tree("serial-number", root) or _machine_id(root) or socket.gethostname()
    # machine-id(5): it must not be published, only what was derived from it with a key of one's own
    digest = hmac.new(machine.encode(), f"emotion-edge {folder.absolute()}".encode(), "sha256").hexdigest()
    return f"emotion-edge-{device}-{digest[:8]}"


def _machine_id(root: Path) -> str:
    try:
        return (root / "etc/machine-id").read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
