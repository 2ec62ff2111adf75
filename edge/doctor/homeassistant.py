"""Checks Home Assistant as far as the broker says: does it listen, and may its user read this device's topics."""

from dataclasses import dataclass, field, replace

from edge import __version__
from edge.daemon.machine import temperature_c
from edge.doctor.finding import Finding
from edge.homeassistant.discovery import announcement
from edge.homeassistant.kept import kept_status
from edge.mqtt.address import BrokerAddress, broker_address
from edge.mqtt.connection import Message
from edge.mqtt.exchange import BrokerError, Exchange, exchange
from edge.mqtt.name_guard import client_id
from edge.mqtt.topics import Topics
from edge.settings import Settings, require_state_dir

NAME = "home assistant"
_EXTEND = "extend the broker's access list: docs/home-assistant.md"


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
        pass
    problem = _own_problem(settings, link, discovery.topic)
    if problem is None and login is not None:
        problem = _reading_problem(address, login, [topics.status, discovery.topic])
    if problem is not None:
        return problem
    # The same message again changes nothing in Home Assistant; the answer says whether anybody has subscribed.
    payload = link.kept.get(discovery.topic, discovery.payload)
    heard = _is_heard(address, replace(discovery, payload=payload, retain=False))
    if heard is False:
        found = f"nobody on {address.shown} listens to {discovery.topic}"
        advice = "set up Home Assistant's MQTT integration with this broker; homeassistant.prefix must be its prefix"
        return Finding(NAME, "warning", found, advice, "home-assistant-does-not-listen")
    listening = "it listens" if heard else "whether it listens cannot be told on this broker"
    if login is None:
        return Finding(NAME, "ok", f"{listening}; --homeassistant-user NAME also checks what its user may read")
    return Finding(NAME, "ok", f"{listening}, and its user {login.username} reads this device's topics")


def _own_problem(settings: Settings, link: Exchange, discovery: str) -> Finding | None:
    """Return what is wrong with what this device itself has published and may read, None if nothing is."""
    birth, own_id = settings.homeassistant.birth_topic, client_id(settings.device, require_state_dir(settings))
    status = kept_status(link, settings.device)
    is_online = status is not None and status.state == "online"
    if status is not None and is_online and status.client not in {None, own_id}:
        found = f"{settings.device} is online already, as {status.client}; this one is {own_id}"
        return Finding(NAME, "problem", found, "give one of them another `device`", "device-name-taken")
    if discovery not in link.kept and not is_online:
        found = "this device has not announced itself yet"
        return Finding(NAME, "warning", found, "start the service, then ask again", "device-not-announced")
    if birth in link.refused:
        found = f"this device may not read {birth} ({link.refused[birth]}), so it does not see Home Assistant start"
        return Finding(NAME, "warning", found, _EXTEND, "birth-message-not-readable")
    return None


def _is_heard(address: BrokerAddress, message: Message) -> bool | None:
    """Return whether anybody subscribes to a message's topic; None if the broker does not say."""
    with exchange(address, purpose="doctor") as link:
        answer = link.publish(message)
    if link.version != "MQTT 5" or answer.refusal is not None:
        return None
    return not answer.unheard


def _reading_problem(address: BrokerAddress, login: Login, topics: list[str]) -> Finding | None:
    """Return what keeps Home Assistant's user from reading topics that are kept, None if nothing does."""
    try:
        reader = replace(address, username=login.username, password=login.password)
        with exchange(reader, topics=topics, purpose="doctor") as link:
            hidden = [topic for topic in topics if topic not in link.kept]
    except BrokerError as error:
        found = f"the broker does not accept its user {login.username}: {error.ending.reason}"
        advice = "use the user and the password of Home Assistant's MQTT integration"
        return Finding(NAME, "problem", found, advice, "home-assistant-login-refused")
    if hidden:
        found = f"its user {login.username} may not read {' and '.join(hidden)}"
        return Finding(NAME, "problem", found, _EXTEND, "home-assistant-may-not-read")
    return None
