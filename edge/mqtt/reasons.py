"""Why a connection ended: a kind that the program acts on, and plain words for the log."""

import socket
import ssl
from dataclasses import dataclass
from enum import Enum, auto

from paho.mqtt.client import WebsocketConnectionError
from paho.mqtt.reasoncodes import ReasonCode


class Kind(Enum):
    """How a connection ended, by what follows from it."""

    UNREACHABLE = auto()
    """nobody answers, or something that is no broker: retry, a little later each time"""
    UNRESOLVED = auto()
    """the broker's name cannot be resolved: retry as for `UNREACHABLE`"""
    UNTRUSTED = auto()
    """TLS failed, or the certificate is not accepted: retry as for `UNREACHABLE`"""
    REFUSED = auto()
    """the broker refuses the login: retry slowly, and report it"""
    ANONYMOUS = auto()
    """the broker accepts clients without a password although one is set: treat it as `REFUSED`"""
    NAME_TAKEN = auto()
    """another device is online with the same name: treat it as `REFUSED`"""
    OTHER_VERSION = auto()
    """the broker does not speak this version of MQTT, or hung up without an answer: try the other version at once"""
    LOST = auto()
    """the connection worked and was lost"""
    CLOSED = auto()
    """this side closed it"""


@dataclass(frozen=True, slots=True)
class Ending:
    """How a connection, or the attempt at one, ended."""

    kind: Kind
    reason: str
    """a phrase for people, such as ``connection refused``"""

    def told(self, broker: str) -> str:
        """Return a sentence for the log, without a full stop."""
        return f"broker {broker} {_HAPPENED.get(self.kind, 'is not reachable')} ({self.reason})"


CLOSED = Ending(Kind.CLOSED, "closed")
_HAPPENED = {
    Kind.REFUSED: "refuses the login",
    Kind.ANONYMOUS: "is refused",
    Kind.NAME_TAKEN: "has another device of this name",
    Kind.LOST: "is gone",
}


# MQTT 5.0, table 3-1 "Connect Reason Code values"; codes that are not listed here are retried at the usual pace.
_REFUSALS = {
    "Bad user name or password": "bad user name or password: check mqtt.username and mqtt.password_file",
    "Not authorized": "not authorised: check mqtt.username, mqtt.password_file and the broker's access list",
    "Bad authentication method": "the broker wants another way of logging in",
    "Client identifier not valid": "client id not valid",
    "Banned": "this client is banned",
}
# OpenSSL, x509_vfy.h: X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT, …_SELF_SIGNED_CERT_IN_CHAIN,
# …_UNABLE_TO_GET_ISSUER_CERT_LOCALLY, …_UNABLE_TO_VERIFY_LEAF_SIGNATURE
_UNKNOWN_AUTHORITY = {18, 19, 20, 21}


def of_connack(code: ReasonCode) -> Ending:
    """Return why a broker refused a login."""
    name = code.getName()
    if name == "Unsupported protocol version":
        return Ending(Kind.OTHER_VERSION, "unsupported protocol version")
    if name in _REFUSALS:
        return Ending(Kind.REFUSED, _REFUSALS[name])
    return Ending(Kind.UNREACHABLE, f"the broker answers: {name.lower()}")


def of_error(error: BaseException) -> Ending:
    """Return why an attempt to connect failed."""
    kind = Kind.UNREACHABLE
    match error:
        case ssl.SSLCertVerificationError():
            hint = "; set mqtt.ca_file to the authority that signed it"
            kind = Kind.UNTRUSTED
            reason = f"its certificate is not accepted: {error.verify_message.rstrip('.')}"
            reason += hint if error.verify_code in _UNKNOWN_AUTHORITY else ""
        case ssl.SSLError():
            kind, reason = Kind.UNTRUSTED, f"TLS failed: {str(error.reason or '').replace('_', ' ').lower()}"
        case socket.gaierror():
            kind, reason = Kind.UNRESOLVED, f"its name cannot be resolved: {error.strerror}"
        case WebsocketConnectionError():
            reason = "no MQTT over WebSockets there: check port and path of mqtt.url"
        case ConnectionRefusedError():
            reason = "connection refused"
        case TimeoutError():
            reason = "no answer"
        case OSError():
            reason = str(error.strerror or error).lower()
        case _:
            reason = f"the answer makes no sense: {error}"
    return Ending(kind, reason)
