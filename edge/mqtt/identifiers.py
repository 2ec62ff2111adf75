"""Ids and times that events carry."""

import secrets
import time
import uuid
from datetime import UTC, datetime


def uuid7(unix_ms: int | None = None) -> str:
    """Return a UUIDv7: 48 bits of Unix milliseconds, then 74 random bits.

    RFC 9562, section 5.7. The standard library has it from Python 3.14 only.

    Parameters
    ----------
    unix_ms
        Milliseconds since 1970 UTC; None reads the clock.
    """
    milliseconds = time.time_ns() // 1_000_000 if unix_ms is None else unix_ms
    version, variant = 0x7, 0b10
    value = (milliseconds & (1 << 48) - 1) << 80 | version << 76 | secrets.randbits(12) << 64
    value |= variant << 62 | secrets.randbits(62)
    return str(uuid.UUID(int=value))


def new_boot_id() -> str:
    """Return an id for this start of the daemon: 16 hexadecimal digits."""
    return secrets.token_hex(8)


def utc_time(unix_s: float | None = None) -> str:
    """Return a time as RFC 3339 in UTC with milliseconds, ``2025-01-31T12:00:00.000Z``.

    Parameters
    ----------
    unix_s
        Seconds since 1970 UTC; None reads the clock.
    """
    moment = datetime.fromtimestamp(time.time() if unix_s is None else unix_s, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
