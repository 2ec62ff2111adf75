"""Checks the broker: is it reachable, is its certificate right, does it accept our login."""

import secrets
import time
from ipaddress import ip_address
from queue import Empty, SimpleQueue

from paho.mqtt.enums import MQTTProtocolVersion

from edge.doctor.finding import Finding
from edge.errors import ConfigError
from edge.mqtt.address import BrokerAddress, broker_address
from edge.mqtt.connection import ANSWER_S, CONNECT_TIMEOUT_S, Connected, Connection, Ended, Notice, Opened
from edge.mqtt.reasons import Ending, Kind
from edge.settings import Settings

_NAME = "broker"
_GOODBYE_S = 2.0


def check_broker(settings: Settings) -> Finding:
    """Log in as the daemon would, but under another client id, and publish nothing."""
    try:
        address = broker_address(settings.mqtt)
    except ConfigError as error:
        return Finding(_NAME, "problem", str(error))
    try:
        return _check(address, refuse_anonymous=settings.mqtt.refuse_anonymous)
    except OSError as error:  # for one, a machine without a network
        return Finding(_NAME, "problem", f"{address.shown}: {error.strerror or error}", "is the network up?")


def _check(address: BrokerAddress, *, refuse_anonymous: bool) -> Finding:
    if refuse_anonymous and address.password is not None:
        _, ending = _log_in_any_version(address.without_login())
        if ending is None:
            found = f"{address.shown}: the daemon refuses it, because it lets anybody in without a password"
            advice = "set allow_anonymous false in the broker, or mqtt.refuse_anonymous = false here"
            return Finding(_NAME, "problem", found, advice)
    version, ending = _log_in_any_version(address)
    if ending is None:
        return _accepted(address, version)
    return Finding(_NAME, "problem", f"{address.shown}: {ending.reason}", _advice(ending, address))


def _log_in_any_version(address: BrokerAddress) -> tuple[str, Ending | None]:
    """Log in with the newest version of MQTT the broker speaks; an ending of None means success."""
    version, ending = _log_in(address, MQTTProtocolVersion.MQTTv5)
    if ending is not None and ending.kind is Kind.OTHER_VERSION:
        return _log_in(address, MQTTProtocolVersion.MQTTv311)
    return version, ending


def _log_in(address: BrokerAddress, protocol: MQTTProtocolVersion) -> tuple[str, Ending | None]:
    notices: SimpleQueue[Notice] = SimpleQueue()
    # Not the device's own id: the broker would disconnect the running daemon.
    client_id = f"emotion-edge-doctor-{secrets.token_hex(4)}"
    link = Connection(address, client_id=client_id, will=None, protocol=protocol, report=notices.put)
    link.open()
    deadline = time.monotonic() + CONNECT_TIMEOUT_S + 1
    ending: Ending | None = None
    try:
        while True:
            match notices.get(timeout=max(0.0, deadline - time.monotonic())):
                case Opened():
                    deadline = time.monotonic() + ANSWER_S[protocol]
                case Connected():
                    break
                case Ended() as ended:
                    ending = ended.ending
                    break
    except Empty:
        ending = Ending(Kind.OTHER_VERSION, "it does not answer the login")
    link.close()
    link.abandon(_GOODBYE_S)
    return link.version, ending


def _accepted(address: BrokerAddress, version: str) -> Finding:
    found = f"{address.shown}: logged in{f' as {address.username}' if address.username else ''}, {version}"
    if address.tls is not None:
        return Finding(_NAME, "ok", f"{found}, its certificate is good")
    if address.password is not None and not _is_this_machine(address.host):
        return Finding(_NAME, "warning", f"{found}; the password goes over the network unencrypted", "use mqtts://")
    return Finding(_NAME, "ok", found)


def _is_this_machine(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _advice(ending: Ending, address: BrokerAddress) -> str:
    if ending.kind is Kind.REFUSED:
        return "then: sudo systemctl restart emotion-edge"
    if ending.kind is Kind.UNRESOLVED:
        return "is the name in mqtt.url right, and is the network there?"
    if ending.kind is Kind.UNTRUSTED:
        return "the name in mqtt.url must be the one in the certificate, and mqtt.ca_file the authority that signed it"
    if _is_this_machine(address.host):
        return "there is no broker on this machine: sudo apt install mosquitto, or set mqtt.url"
    return "does the broker run, is mqtt.url right, and does a firewall let this device through?"
