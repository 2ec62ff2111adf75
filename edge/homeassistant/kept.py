"""What the broker keeps of a device, and how it is cleared: of a name that the device had before, or on request.

The state folder remembers the names and the discovery topics under which this device has published. After a rename, or
when Home Assistant is turned off, the daemon clears what is left, as soon as the broker can be reached.
"""

import logging
import threading
from collections.abc import Sequence
from pathlib import Path

import msgspec

from edge.errors import ConfigError
from edge.events.payloads import Status
from edge.files import Files, replace_file
from edge.homeassistant.discovery import discovery_topic
from edge.mqtt.address import broker_address
from edge.mqtt.connection import Message
from edge.mqtt.exchange import BrokerError, Exchange, exchange
from edge.mqtt.name_guard import client_id
from edge.mqtt.topics import Topics
from edge.settings import Settings, require_state_dir

FILE_NAME = "published.json"
_MOST_NAMES = 20
_RETRY_S = 60.0
_MAX_BYTES = 65_536

log = logging.getLogger(__name__)


class Published(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A name under which this device has published."""

    device: str
    discovery: str | None = None
    """topic of the discovery message; None if Home Assistant was turned off"""

    def topics(self) -> list[str]:
        """Return its retained topics; the discovery comes first, so that Home Assistant removes the device at once."""
        topics = Topics(self.device)
        kept = [topics.status, topics.state, topics.health, topics.privacy_state]
        return kept if self.discovery is None else [self.discovery, *kept]


def published_by(settings: Settings) -> Published:
    """Return what a daemon with these settings publishes."""
    homeassistant = settings.homeassistant
    topic = discovery_topic(Topics(settings.device), homeassistant) if homeassistant.enabled else None
    return Published(settings.device, topic)


def read_names(folder: Path) -> list[Published]:
    """Return the names that the state folder remembers, oldest first; none if the file cannot be read."""
    path = folder / FILE_NAME
    try:
        if not path.is_file():  # opening a named pipe would block
            return []
        with path.open("rb") as file:
            return msgspec.json.decode(file.read(_MAX_BYTES), type=list[Published])
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        log.warning("%s: the former names of this device cannot be read: %s", path, error)
        return []


def write_names(folder: Path, names: Sequence[Published]) -> None:
    """Remember these names; a folder that cannot be written remembers the ones before."""
    if names == read_names(folder):
        return
    try:
        replace_file(Files(), folder / FILE_NAME, msgspec.json.encode(names[-_MOST_NAMES:]))
    except OSError as error:
        log.warning("%s: the name of this device cannot be noted: %s", folder, error.strerror)


def clear(link: Exchange, topics: Sequence[str]) -> dict[str, str]:
    """Clear those of the topics that are kept; return those that the broker refused, with its reason.

    All are cleared if none is kept: a user may not be allowed to read what it may write. Home Assistant logs a warning
    about a discovery message that is cleared and was not there.
    """
    chosen = [topic for topic in topics if topic in link.kept] or topics
    answers = {topic: link.publish(Message(topic, b"", retain=True)).refusal for topic in chosen}
    return {topic: refusal for topic, refusal in answers.items() if refusal is not None}


def kept_status(link: Exchange, device: str) -> Status | None:
    """Return the retained status of a device; None if there is none, or something else."""
    try:
        return msgspec.json.decode(link.kept.get(Topics(device).status, b""), type=Status)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


class FormerNames:
    """A thread that clears what is left of former names, then ends; it waits for the broker as long as it takes.

    Nothing is cleared of a name that another device has taken since.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._folder = require_state_dir(settings)
        self._now = published_by(settings)
        self._former: list[Published] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="former-names", daemon=True)

    def start(self) -> None:
        """Remember the present name, and start to clear the former ones."""
        former = [name for name in read_names(self._folder) if name != self._now]
        self._former = [name for name in former if set(name.topics()) - set(self._now.topics())]
        write_names(self._folder, [*self._former, self._now])
        if self._former:
            self._thread.start()

    def close(self, timeout_s: float) -> None:
        """Ask the thread to end, and wait for it; what is not cleared by then is cleared after the next start."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def _run(self) -> None:
        waiting = list(self._former)
        while waiting and not self._stop.is_set():
            try:
                done = self._clear(waiting[0])
            except ConfigError:  # the publisher says what is wrong with the login
                return
            except (BrokerError, OSError):
                self._stop.wait(_RETRY_S)
                continue
            name = waiting.pop(0)
            if done:
                write_names(self._folder, [kept for kept in read_names(self._folder) if kept != name])

    def _clear(self, name: Published) -> bool:
        """Clear one name; return False if the broker refused it."""
        topics = [topic for topic in name.topics() if topic not in self._now.topics()]
        address = broker_address(self._settings.mqtt)
        with exchange(address, topics=name.topics(), purpose="former-name") as link:
            status = kept_status(link, name.device)
            if status is not None and not self._is_ours(status, name.device):
                log.info("%s is another device now: nothing of it is cleared", name.device)
                return True
            refused = clear(link, topics)
        if refused:
            log.warning(
                "the broker does not let this user clear %s (%s); as one that may: emotion-edge homeassistant remove "
                "--device %s", ", ".join(refused), next(iter(refused.values())), name.device,
            )  # fmt: skip
        elif name.device == self._now.device:
            log.info("removed this device from Home Assistant")
        else:
            log.info("cleared the topics of the former name %s", name.device)
        return not refused

    def _is_ours(self, status: Status, device: str) -> bool:
        if status.client is None:  # of version 0.1
            return status.state != "online"
        return status.client == client_id(device, self._folder)


def forget(folder: Path, device: str) -> None:
    """Forget a former name: what was kept of it has been cleared."""
    names = read_names(folder)
    write_names(folder, [name for name in names if name.device != device])
