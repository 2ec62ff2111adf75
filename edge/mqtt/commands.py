"""Commands from the network: bounded, read strictly, refused with a reason. Nothing of them is believed before that."""

import logging
import threading
from collections import deque

import msgspec

from edge.errors import EmotionEdgeError
from edge.events.payloads import PrivacyCommand

MOST_BYTES = 256
"""A command is larger only by mistake or by intent."""


class CommandError(EmotionEdgeError):
    """A command that is none; says why, in words of ours and never in those that came."""


_DECODER = msgspec.json.Decoder(PrivacyCommand)


def read_command(payload: bytes, *, retained: bool) -> PrivacyCommand:
    """Return the command of a payload.

    Parameters
    ----------
    payload
        As it came; of a longer one its first `MOST_BYTES` + 1 bytes will do.
    retained
        Whether the broker had kept it from before this connection.

    Raises
    ------
    CommandError
        Too long, kept by the broker, not JSON, of another shape, or impossible; one of few reasons.
    """
    if retained:
        raise CommandError("it is retained: it would be obeyed again at every reconnect")
    if len(payload) > MOST_BYTES:
        raise CommandError(f"longer than {MOST_BYTES} bytes")
    try:
        command = _DECODER.decode(payload)
    except msgspec.ValidationError:
        raise CommandError('allowed is {"paused": true or false, "for_s": seconds, up to 31 days}') from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise CommandError("not JSON") from None
    if command.for_s is not None and not command.paused:
        raise CommandError("for_s without a pause")
    return command


_MOST = 16
"""Commands kept: of a flood only the newest count, since each says how things are to be."""

_LOG = logging.getLogger(__name__)


class Inbox:
    """Takes payloads in one thread, gives commands to another; counts what is none and says each reason once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._commands: deque[PrivacyCommand] = deque(maxlen=_MOST)
        self._said: set[str] = set()
        self.refused = 0
        """payloads that were no command"""

    def take(self, payload: bytes, retained: bool) -> None:  # called by position
        """Take in one payload."""
        try:
            command = read_command(payload, retained=retained)
        except CommandError as error:
            self.refused += 1
            if str(error) not in self._said:  # there are few reasons, and none holds what was sent
                self._said.add(str(error))
                _LOG.warning("a command was ignored: %s; more of this kind are only counted", error)
            return
        with self._lock:
            self._commands.append(command)

    def empty(self) -> list[PrivacyCommand]:
        """Return and forget what has come, oldest first."""
        with self._lock:
            taken = list(self._commands)
            self._commands.clear()
        return taken
