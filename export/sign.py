"""Signs a bundle's manifest; `edge.inference.signature` says what the signature is."""

import stat
from collections.abc import Callable
from pathlib import Path

from edge.errors import UsageError

MAX_KEY_BYTES = 64 * 1024


def load_signer(path: Path) -> Callable[[bytes], bytes]:
    """Read a private key and return what signs with it: bytes of a manifest in, 64 bytes of a signature out.

    Raises
    ------
    UsageError
        The file cannot be read, is open to others, or is no Ed25519 private key in PEM without a passphrase; or
        cryptography is not installed.
    """
    try:
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key
    except ImportError:
        raise UsageError("--sign needs the library cryptography: pip install 'emotion-edge[signed]'") from None
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode) or path.stat().st_size > MAX_KEY_BYTES:
            raise UsageError(f"{path}: no private key")
        if mode & 0o077:
            raise UsageError(f"{path}: has mode {stat.S_IMODE(mode):04o}; others may use it: chmod 600 {path}")
        text = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        key = load_pem_private_key(text, password=None)
    except TypeError:
        raise UsageError(f"{path}: has a passphrase; take it off for the moment: openssl pkey -in {path}") from None
    except (ValueError, UnsupportedAlgorithm):
        raise UsageError(
            f"{path}: no private key in PEM; make one: openssl genpkey -algorithm ed25519 -out KEY"
        ) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise UsageError(f"{path}: not of the kind Ed25519; make one: openssl genpkey -algorithm ed25519 -out KEY")
    return key.sign
