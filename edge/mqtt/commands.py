"""Commands to this device: checked strictly, refused with a reason, and kept until the daemon takes them."""

import logging
import threading
from collections import deque

import msgspec

from edge.errors import EmotionEdgeError
from edge.events.payloads import PrivacyCommand

MAX_COMMAND_BYTES = 256
"""Anything longer is no command."""
_KEPT = 16
"""Commands kept. Of a flood only the newest matter: each states the wanted result, not a step."""

_DECODER = msgspec.json.Decoder(PrivacyCommand)
_LOG = logging.getLogger(__name__)


class CommandError(EmotionEdgeError):
    """A message that is no valid command; its text never quotes what was sent."""


class Inbox:
    """Takes payloads on one thread and gives commands to another; counts refusals and logs each reason once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._commands: deque[PrivacyCommand] = deque(maxlen=_KEPT)
        self._logged: set[str] = set()
        self.refused = 0
        """payloads that were no command"""

    def put(self, payload: bytes, retained: bool) -> None:  # called by position
        """Check one payload and keep its command."""
        try:
            command = read_command(payload, retained=retained)
        except CommandError as error:
            self.refused += 1
            if str(error) not in self._logged:  # there are few reasons, and none quotes what was sent
                self._logged.add(str(error))
                _LOG.warning("a command was ignored: %s; more of this kind are only counted", error)
            return
        with self._lock:
            self._commands.append(command)

    def take(self) -> list[PrivacyCommand]:
        """Return the commands that have come since the last call, oldest first."""
        with self._lock:
            taken = list(self._commands)
            self._commands.clear()
        return taken


def read_command(payload: bytes, *, retained: bool) -> PrivacyCommand:
    """Return the command that a payload holds.

    Raises `CommandError`: the payload is too long, retained, not JSON, of another shape, or contradicts itself.

    ``payload``: as it came; of a longer one the first `MAX_COMMAND_BYTES` + 1 bytes are enough.
    ``retained``: True if the broker kept it from before this connection.
    """
    if retained:
        raise CommandError("it is retained: it would be obeyed again at every reconnect")
    if len(payload) > MAX_COMMAND_BYTES:
        raise CommandError(f"longer than {MAX_COMMAND_BYTES} bytes")
    try:
        command = _DECODER.decode(payload)
    except msgspec.ValidationError:
        raise CommandError('allowed is {"paused": true or false, "for_s": seconds, up to 31 days}') from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise CommandError("not JSON") from None
    if command.for_s is not None and not command.paused:
        raise CommandError("for_s without a pause")
    return command
