"""Ids and times that events carry."""

import ctypes
import secrets
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path

_TIMESYNCD_MARK = Path("/run/systemd/timesync/synchronized")
_TIMEX_BYTES = 1024
_TIME_ERROR = 5  # adjtimex(2): the clock is not synchronised


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


def time_synced() -> bool:
    """Return whether the clock is known to be synchronised; False where nothing can be known.

    systemd-timesyncd, which Pi OS uses, leaves a mark; any other time service tells the kernel, which is what
    ``timedatectl`` asks as well.
    """
    return _TIMESYNCD_MARK.exists() or (not _system_calls_filtered() and _kernel_says_synced())


def _system_calls_filtered() -> bool:
    """Return whether a seccomp filter is on: one without adjtimex may kill a process that calls it."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return True
    return "\nSeccomp:\t0\n" not in status


def _kernel_says_synced() -> bool:
    # A zeroed buffer asks and sets nothing (modes is 0); struct timex has 208 bytes at most.
    adjtimex = ctypes.CDLL(None).adjtimex
    state: int = adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
    return 0 <= state < _TIME_ERROR
