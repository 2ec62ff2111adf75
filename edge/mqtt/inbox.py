"""Commands that have come and wait for the daemon's next step."""

import logging
import threading
from collections import deque

from edge.events.payloads import PrivacyCommand
from edge.mqtt.commands import CommandError, read_command

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
