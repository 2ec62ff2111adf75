"""Checks the broker: is it reachable, is its certificate right, does it accept our login."""

from edge.doctor.finding import Finding
from edge.errors import ConfigError
from edge.mqtt.address import BrokerAddress, broker_address
from edge.mqtt.exchange import BrokerError, exchange
from edge.mqtt.reasons import Ending, Kind
from edge.settings import Settings, is_loopback

_NAME = "broker"


def check_broker(settings: Settings) -> Finding:
    """Log in as the daemon would, but under another client id, and publish nothing."""
    try:
        address = broker_address(settings.mqtt)
    except ConfigError as error:
        return Finding(_NAME, "problem", str(error), symptom="broker-settings-wrong")
    try:
        return _check(address, refuse_anonymous=settings.mqtt.refuse_anonymous)
    except OSError as error:  # for one, a machine without a network
        found = f"{address.shown}: {error.strerror or error}"
        return Finding(_NAME, "problem", found, "is the network up?", "no-network")


def _check(address: BrokerAddress, *, refuse_anonymous: bool) -> Finding:
    if refuse_anonymous and address.password is not None:
        _, ending = _log_in(address.without_login())
        if ending is None:
            found = f"{address.shown}: the daemon refuses it, because it lets anybody in without a password"
            advice = "set allow_anonymous false in the broker, or mqtt.refuse_anonymous = false here"
            return Finding(_NAME, "problem", found, advice, "broker-lets-anybody-in")
    version, ending = _log_in(address)
    if ending is None:
        return _accepted(address, version)
    return Finding(_NAME, "problem", f"{address.shown}: {ending.reason}", *_advice(ending, address))


def _log_in(address: BrokerAddress) -> tuple[str, Ending | None]:
    """Log in with the newest version of MQTT the broker speaks; an ending of None means success."""
    try:
        with exchange(address, purpose="doctor") as link:
            return link.version, None
    except BrokerError as error:
        return "", error.ending


def _accepted(address: BrokerAddress, version: str) -> Finding:
    found = f"{address.shown}: logged in{f' as {address.username}' if address.username else ''}, {version}"
    if address.tls is not None:
        return Finding(_NAME, "ok", f"{found}, its certificate is good")
    if address.password is not None and not is_loopback(address.host):
        found += "; the password goes over the network unencrypted"
        return Finding(_NAME, "warning", found, "use mqtts:// or wss://", "password-unencrypted")
    return Finding(_NAME, "ok", found)


def _advice(ending: Ending, address: BrokerAddress) -> tuple[str, str]:
    if ending.kind is Kind.REFUSED:
        return "then: sudo systemctl restart emotion-edge", "broker-refuses-the-login"
    if ending.kind is Kind.UNRESOLVED:
        return "is the name in mqtt.url right, and is the network up?", "broker-name-not-resolved"
    if ending.kind is Kind.UNTRUSTED:
        advice = (
            "the name in mqtt.url must be the one in the certificate, and mqtt.ca_file the authority that signed it"
        )
        return advice, "certificate-not-accepted"
    if is_loopback(address.host):
        return "there is no broker on this machine: sudo apt install mosquitto, or set mqtt.url", "broker-not-there"
    return "does the broker run, is mqtt.url right, and does a firewall let this device through?", "broker-not-there"
