"""Why there is no connection, in plain words."""

import socket
import ssl
from dataclasses import dataclass
from enum import Enum, auto

from paho.mqtt.reasoncodes import ReasonCode


class Kind(Enum):
    """What to do about the end of a connection."""

    UNREACHABLE = auto()
    """nobody answers, or somebody who is no broker: try again, a little later each time"""
    REFUSED = auto()
    """the broker answers and says no: try again slowly, and tell the caller"""
    OTHER_VERSION = auto()
    """the broker does not speak this version of MQTT, or hung up without a word: try the other one at once"""
    LOST = auto()
    """it worked and is gone"""
    CLOSED = auto()
    """it was asked to end"""


@dataclass(frozen=True, slots=True)
class Ending:
    """How one connection, or the attempt at one, ended."""

    kind: Kind
    reason: str
    """a phrase such as ``connection refused``"""


# MQTT 5.0, table 3-1 "Connect Reason Code values"; those not named here are worth a retry at the usual pace.
_REFUSALS = {
    "Bad user name or password": "bad user name or password: check mqtt.username and mqtt.password_file",
    "Not authorized": "not authorised: check mqtt.username, mqtt.password_file and the broker's access list",
    "Bad authentication method": "the broker wants another way of logging in",
    "Client identifier not valid": "client id not valid",
    "Banned": "this client is banned",
}


def of_connack(code: ReasonCode) -> Ending:
    """Return why a broker turned a login down."""
    name = code.getName()
    if name == "Unsupported protocol version":
        return Ending(Kind.OTHER_VERSION, "unsupported protocol version")
    if name in _REFUSALS:
        return Ending(Kind.REFUSED, _REFUSALS[name])
    return Ending(Kind.UNREACHABLE, f"the broker answers: {name.lower()}")


def of_error(error: BaseException) -> Ending:
    """Return why no connection came to be."""
    return Ending(Kind.UNREACHABLE, _phrase(error))


def _phrase(error: BaseException) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        named = f"its certificate is not accepted: {error.verify_message.rstrip('.')}"
        return named + _CA_HINT if error.verify_code in _UNKNOWN_AUTHORITY else named
    phrases: dict[type[BaseException], str] = {
        ssl.SSLError: f"TLS failed: {str(getattr(error, 'reason', '')).replace('_', ' ').lower()}",
        ConnectionRefusedError: "connection refused",
        TimeoutError: "no answer",
        socket.gaierror: f"its name cannot be resolved: {getattr(error, 'strerror', '')}",
        OSError: str(getattr(error, "strerror", None) or error).lower(),
    }
    answer = next((text for kind, text in phrases.items() if isinstance(error, kind)), None)
    return answer or f"the answer makes no sense: {error}"


# OpenSSL, x509_vfy.h: X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT, …_SELF_SIGNED_CERT_IN_CHAIN,
# …_UNABLE_TO_GET_ISSUER_CERT_LOCALLY, …_UNABLE_TO_VERIFY_LEAF_SIGNATURE
_UNKNOWN_AUTHORITY = {18, 19, 20, 21}
_CA_HINT = "; set mqtt.ca_file to the authority that signed it"
