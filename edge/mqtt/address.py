"""Where the broker is and how to log in, taken from the settings and checked before anything starts."""

import ssl
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from edge.errors import ConfigError
from edge.settings import MqttSettings, read_password

_PORTS = {"mqtt": 1883, "mqtts": 8883}


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """One broker."""

    host: str
    port: int
    username: str | None
    password: str | None = field(repr=False)
    tls: ssl.SSLContext | None
    """certificate and host name are always checked; None: no TLS"""
    shown: str
    """``mqtt://host:port``, for messages: no user, no password"""


def broker_address(settings: MqttSettings) -> BrokerAddress:
    """Return the broker of the settings.

    Raises
    ------
    ConfigError
        The host's name is impossible, the authority's file cannot be read or holds no certificate, the password
        file is missing, empty or open to others, or there is a password and no user name.
    """
    parts = urlsplit(settings.url)
    host, scheme = parts.hostname or "", parts.scheme
    try:
        host.encode("idna")
    except UnicodeError:
        raise ConfigError(f"mqtt.url: found {settings.url!r}: {host!r} cannot be the name of a host") from None
    port = parts.port or _PORTS[scheme]
    username = settings.username or unquote(parts.username or "") or None
    password = read_password(settings)
    if password is not None and username is None:
        raise ConfigError("mqtt.username: there is a password and no user name; set it, or write mqtt://USER@host")
    named = f"[{host}]" if ":" in host else host
    tls = _tls_context(settings.ca_file) if scheme == "mqtts" else None
    return BrokerAddress(host, port, username, password, tls, f"{scheme}://{named}:{port}")


def _tls_context(ca_file: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file or None)
    except ssl.SSLError as error:
        message = f"mqtt.ca_file: {ca_file} holds no certificate in PEM form ({error.reason or 'damaged'})"
        raise ConfigError(message) from error
    except OSError as error:
        raise ConfigError(f"mqtt.ca_file: {ca_file} cannot be read: {error.strerror}") from error
