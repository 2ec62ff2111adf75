"""Passwords, tokens and keys, from files that only their owner may read or from systemd's credentials."""

import os
import ssl
import stat
from pathlib import Path

from edge.errors import ConfigError
from edge.settings.types import MqttSettings, WebSettings

PASSWORD_CREDENTIAL = "mqtt-password"  # noqa: S105 - its name
"""systemd's credential; its file lies beside the settings file."""
TOKEN_LENGTH = 16
"""Fewest characters of the page's token."""


def read_password(settings: MqttSettings) -> str | None:
    """Return the broker's password from its file or systemd's credential, None if there is neither.

    Line breaks at the end and a byte order mark are not part of it; blanks are.

    Raises `ConfigError`: the file cannot be read, is open to others (mode beyond 0600), or is empty.
    """
    return _read_secret("mqtt.password_file", settings.password_file, PASSWORD_CREDENTIAL)


def read_token(settings: WebSettings) -> str | None:
    """Return the token that opens the page, from its file or systemd's credential; None if there is neither.

    Raises `ConfigError`: the file is as `read_password` refuses it, or the token is shorter than `TOKEN_LENGTH`
    characters.
    """
    token = _read_secret("web.token_file", settings.token_file, "web-token")
    if token is not None and not (len(token) >= TOKEN_LENGTH and token.isascii() and token.isprintable()):
        name = settings.token_file or "credential web-token"
        raise ConfigError(f"web.token_file: {name}: the token needs {TOKEN_LENGTH} or more printable ASCII characters")
    return token


def _read_secret(key: str, file: str, credential: str) -> str | None:
    """Return the text of a file with mode 0600, or of the credential where no file is named."""
    if file:
        path, name = Path(file), key
    else:
        path, name = Path(os.environ.get("CREDENTIALS_DIRECTORY", "")) / credential, f"credential {credential}"
        if not os.environ.get("CREDENTIALS_DIRECTORY") or not path.exists():
            return None
    try:
        mode = path.stat().st_mode
        text = path.read_text(encoding="utf-8-sig").rstrip("\r\n")
    except OSError as error:
        raise ConfigError(f"{name}: {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:
        raise ConfigError(f"{name}: {path} is not text in UTF-8") from None
    if file:  # systemd protects its credentials by their folder
        _require_private(name, path, mode)
    if not text and not file:  # the service's credential where no secret is set
        return None
    if not text:
        raise ConfigError(f"{name}: {path} is empty")
    return text


def load_certificate(context: ssl.SSLContext, settings: MqttSettings | WebSettings, section: str) -> None:
    """Load the certificate of the settings, and its key, into a TLS context; ``section`` names them in errors.

    Raises `ConfigError`: there is a key alone; a file cannot be read, is readable by others, or holds no certificate
    with its key.
    """
    cert_file, key_file = settings.cert_file, settings.key_file
    if not cert_file:
        raise ConfigError(f"{section}.key_file: found a key but no certificate; set {section}.cert_file too")
    name, holder = (f"{section}.key_file", key_file) if key_file else (f"{section}.cert_file", cert_file)
    try:
        if not holder.startswith(os.environ.get("CREDENTIALS_DIRECTORY") or "\0"):
            _require_private(name, Path(holder), Path(holder).stat().st_mode)
        # Without a password OpenSSL would ask for one on the terminal.
        context.load_cert_chain(cert_file, key_file or None, password="")
    except ssl.SSLError as error:
        reason = (error.reason or "damaged, or the key has a password").replace("_", " ").lower()
        raise ConfigError(f"{name}: {holder}: no certificate with its key in PEM form ({reason})") from error
    except OSError as error:
        raise ConfigError(f"{name}: {error.filename or holder} cannot be read: {error.strerror}") from error


def _require_private(name: str, path: Path, mode: int) -> None:
    if mode & 0o077:
        raise ConfigError(f"{name}: {path} has mode {stat.S_IMODE(mode):04o}; others may read it: chmod 600 {path}")
