"""The broker's address and the login, read from the settings and checked before anything starts."""

import ssl
from dataclasses import dataclass, field, replace
from typing import Literal
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from edge.errors import ConfigError
from edge.settings import MqttSettings, load_certificate, read_password
from edge.settings.messages import URL_SCHEMES

_WITH_TLS = ("mqtts", "wss")
_WEBSOCKET_PATH = "/mqtt"
"""Where brokers that serve a path expect MQTT (HiveMQ, EMQX); mosquitto takes any."""


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """One broker, and how to log in."""

    host: str
    port: int
    username: str | None
    password: str | None = field(repr=False)
    tls: ssl.SSLContext | None
    """always checks certificate and host name; None: no TLS"""
    shown: str
    """``mqtt://host:port`` for messages, without user and password"""
    websocket_path: str | None = None
    """path of MQTT over WebSockets, with its query; None: MQTT over TCP"""

    @property
    def transport(self) -> Literal["tcp", "websockets"]:
        """What carries MQTT, as paho calls it."""
        return "tcp" if self.websocket_path is None else "websockets"

    @property
    def websocket_headers(self) -> dict[str, str] | None:
        """Headers that paho does not get right: it leaves out the brackets of an IPv6 address."""
        host = self.shown.partition("://")[2]
        scheme = "http" if self.tls is None else "https"
        return {"Host": host, "Origin": f"{scheme}://{host}"} if ":" in self.host else None

    def without_login(self) -> "BrokerAddress":
        """Return the same broker without user and password."""
        return replace(self, username=None, password=None)


def broker_address(settings: MqttSettings) -> BrokerAddress:
    """Return the broker that the settings name.

    Raises `ConfigError`: the host name is not valid; a certificate file cannot be read or holds no certificate; a key
    does not match or is readable by others; the password file is missing, empty or readable by others; or there is a
    password without a user name.
    """
    parts = urlsplit(settings.url)
    host, scheme = parts.hostname or "", parts.scheme
    try:
        host.encode("idna")
    except UnicodeError:
        raise ConfigError(f"mqtt.url: found {settings.url!r}: {host!r} is not a valid host name") from None
    port = parts.port or URL_SCHEMES[scheme]
    username = settings.username or unquote(parts.username or "") or None
    password = read_password(settings)
    if password is not None and username is None:
        raise ConfigError("mqtt.username: found a password but no user name; set it, or write mqtt://USER@host")
    named = f"[{host}]" if ":" in host else host
    if settings.cert_file and scheme not in _WITH_TLS:
        raise ConfigError("mqtt.cert_file: a client certificate needs TLS; write mqtts:// or wss:// in mqtt.url")
    tls = _tls_context(settings) if scheme in _WITH_TLS else None
    path = None
    if scheme in ("ws", "wss"):
        path = urlunsplit(("", "", (parts.path.rstrip("/") and parts.path) or _WEBSOCKET_PATH, parts.query, ""))
        path = quote(path, safe="/%:@!$&'()*+,;=~?")
    return BrokerAddress(host, port, username, password, tls, f"{scheme}://{named}:{port}", path)


def _tls_context(settings: MqttSettings) -> ssl.SSLContext:
    """Return a context that checks certificate and host name, as `ssl.create_default_context` does by default."""
    ca_file = settings.ca_file
    try:
        context = ssl.create_default_context(cafile=ca_file or None)
    except ssl.SSLError as error:
        message = f"mqtt.ca_file: {ca_file} holds no certificate in PEM form ({error.reason or 'damaged'})"
        raise ConfigError(message) from error
    except OSError as error:
        raise ConfigError(f"mqtt.ca_file: {ca_file} cannot be read: {error.strerror}") from error
    if settings.cert_file or settings.key_file:
        load_certificate(context, settings, "mqtt")
    return context
