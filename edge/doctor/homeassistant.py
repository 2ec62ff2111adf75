"""Checks Home Assistant as far as the broker says: does it listen, and may its user read this device's topics."""

from dataclasses import dataclass, field, replace

from edge import __version__
from edge.daemon.machine import temperature_c
from edge.doctor.finding import Finding
from edge.homeassistant.discovery import announcement
from edge.homeassistant.kept import kept_status
from edge.mqtt.address import BrokerAddress, broker_address
from edge.mqtt.connection import Message
from edge.mqtt.exchange import BrokerError, exchange
from edge.mqtt.name_guard import client_id
from edge.mqtt.topics import Topics
from edge.settings import Settings, require_state_dir

NAME = "home assistant"
_PAGE = "docs/home-assistant.md"


@dataclass(frozen=True, slots=True)
class Login:
    """The user with which Home Assistant logs in to the broker."""

    username: str
    password: str | None = field(repr=False)


def check_homeassistant(settings: Settings, login: Login | None) -> Finding:
    """Say whether Home Assistant can find this device; with a login also whether that user may read its topics."""
    address = broker_address(settings.mqtt)
    topics = Topics(settings.device)
    birth = settings.homeassistant.birth_topic
    discovery = announcement(settings, version=__version__, has_temperature=temperature_c() is not None)
    with exchange(address, topics=[topics.status, discovery.topic, birth], purpose="doctor") as link:
        status = kept_status(link, settings.device)
        kept = link.kept.get(discovery.topic)
        birth_refusal = link.refused.get(birth)
    is_online = status is not None and status.state == "online"
    if status is not None and is_online and status.client not in {None, _own_id(settings)}:
        found = f"{settings.device} is online on another machine, as {status.client}; this one is {_own_id(settings)}"
        return Finding(NAME, "problem", found, "give one of them another `device`")
    if kept is None and not is_online:
        return Finding(NAME, "warning", "this device has not announced itself yet", "start the service, then ask again")
    if birth_refusal is not None:
        found = f"this device may not read {birth} ({birth_refusal}), so it does not see Home Assistant start"
        return Finding(NAME, "warning", found, f"extend the broker's access list: {_PAGE}")
    # The same message again changes nothing in Home Assistant; the answer says whether anybody has subscribed.
    heard = _is_heard(address, replace(discovery, payload=kept or discovery.payload, retain=False))
    if heard is False:
        found = f"nobody on {address.shown} listens to {discovery.topic}"
        advice = "set up Home Assistant's MQTT integration with this broker; homeassistant.prefix must be its prefix"
        return Finding(NAME, "warning", found, advice)
    listening = "it listens" if heard else "whether it listens cannot be told on this broker"
    if login is None:
        return Finding(NAME, "ok", f"{listening}; --homeassistant-user NAME also checks what its user may read")
    return _check_reader(address, login, [topics.status, discovery.topic], listening)


def _is_heard(address: BrokerAddress, message: Message) -> bool | None:
    """Return whether anybody subscribes to a message's topic; None if the broker does not say."""
    with exchange(address, purpose="doctor") as link:
        answer = link.publish(message)
    if link.version != "MQTT 5" or answer.refusal is not None:
        return None
    return not answer.unheard


def _check_reader(address: BrokerAddress, login: Login, topics: list[str], listening: str) -> Finding:
    try:
        reader = replace(address, username=login.username, password=login.password)
        with exchange(reader, topics=topics, purpose="doctor") as link:
            hidden = [topic for topic in topics if topic not in link.kept]
    except BrokerError as error:
        found = f"the broker does not accept its user {login.username}: {error.ending.reason}"
        return Finding(NAME, "problem", found, "use the user and the password of Home Assistant's MQTT integration")
    if hidden:
        found = f"its user {login.username} may not read {' and '.join(hidden)}"
        return Finding(NAME, "problem", found, f"extend the broker's access list: {_PAGE}")
    return Finding(NAME, "ok", f"{listening}, and its user {login.username} reads this device's topics")


def _own_id(settings: Settings) -> str:
    return client_id(settings.device, require_state_dir(settings))
