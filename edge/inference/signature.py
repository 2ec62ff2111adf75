"""``manifest.sig``: the signature of a bundle.

It is the 64-byte Ed25519 signature (RFC 8032, no pre-hash) of the bytes of ``manifest.json``, which holds the hash of
every other file. OpenSSL 3 makes and checks the same: ``openssl pkeyutl -sign -rawin``.
"""

import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edge.errors import BundleError, ConfigError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

SIGNATURE_NAME = "manifest.sig"
SIGNATURE_BYTES = 64
MAX_KEYS = 16
MAX_KEY_FILE_BYTES = 64 * 1024

_PUBLIC_KEY = re.compile(rb"-----BEGIN PUBLIC KEY-----.+?-----END PUBLIC KEY-----", re.DOTALL)


@dataclass(frozen=True, slots=True)
class TrustedKeys:
    """Public keys, one of which must have signed a bundle. Made by `load_trusted_keys`."""

    path: str
    """of the file with the keys"""
    keys: "tuple[Ed25519PublicKey, ...]"

    def check(self, manifest: bytes, signature: bytes | None) -> None:
        """Require that one of the keys made this signature of this manifest.

        Raises `BundleError`: there is no signature, or none of the keys made it.
        """
        from cryptography.exceptions import InvalidSignature

        if signature is None:
            raise BundleError(f"{SIGNATURE_NAME}: missing; bundle_key ({self.path}) allows signed bundles only")
        for key in self.keys:
            try:
                key.verify(signature, manifest)
            except InvalidSignature:
                continue
            return
        raise BundleError(f"{SIGNATURE_NAME}: no signature of this manifest by a key in bundle_key ({self.path})")


def load_trusted_keys(path: str) -> TrustedKeys | None:
    """Read the file that the setting ``bundle_key`` names; None where it is empty, which allows unsigned bundles.

    Raises `ConfigError`: the file cannot be read, is writable by everybody, or holds anything but Ed25519 public keys
    in PEM; or the library that checks signatures is not installed.
    """
    if not path:
        return None
    text = _read(Path(path))
    try:
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
        from cryptography.hazmat.primitives.serialization import load_pem_public_key
    except ImportError:
        raise ConfigError(
            "bundle_key: is set, and signatures cannot be checked without the library cryptography: "
            "pip install '.[signed]' (for the service: sudo systemd/install.sh --with signed)"
        ) from None
    if b"PRIVATE KEY" in text:
        raise ConfigError(
            f"bundle_key: {path} holds a private key, which belongs on no device; "
            "its public half: openssl pkey -in KEY -pubout"
        )
    blocks = _PUBLIC_KEY.findall(text)
    if not 1 <= len(blocks) <= MAX_KEYS:
        raise ConfigError(f"bundle_key: {path} holds {len(blocks)} public keys in PEM; expected 1 to {MAX_KEYS}")
    keys = []
    for block in blocks:
        try:
            key = load_pem_public_key(block)
        except (ValueError, UnsupportedAlgorithm) as error:
            raise ConfigError(f"bundle_key: {path}: damaged key: {' '.join(str(error).split())[:100]}") from None
        if not isinstance(key, Ed25519PublicKey):
            raise ConfigError(f"bundle_key: {path}: a key is not of the kind Ed25519")
        keys.append(key)
    return TrustedKeys(path, tuple(keys))


def _read(path: Path) -> bytes:
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode) or found.st_size > MAX_KEY_FILE_BYTES:
            raise ConfigError(f"bundle_key: {path} is no file of public keys")
        if found.st_mode & stat.S_IWOTH:
            raise ConfigError(f"bundle_key: anybody may write {path}: chmod o-w {path}")
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"bundle_key: {path} cannot be read: {error.strerror}") from error
