"""Clocks behind one interface, ids that contain the time, and times as text.

A device without a battery clock starts with a wrong date, which jumps when it is corrected. So nothing is timed by the
date: `Clock.monotonic` times what happens while the program runs, two `Stamp`s what lasts across restarts.
"""

import ctypes
import secrets
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import msgspec

from edge import time_service

_TIMESYNCD_MARK = Path("/run/systemd/timesync/synchronized")
_KERNEL_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_STATUS = Path("/proc/self/status")
_TIMEX_BYTES = 1024
_TIME_ERROR = 5  # adjtimex(2): the clock is not synchronised


class Stamp(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A moment that can be compared with a later one, even after a restart of the program or the machine."""

    kernel_boot: str
    """the kernel's id of this boot"""
    boottime_s: float
    """seconds since the boot (CLOCK_BOOTTIME), which never jump"""
    unix_s: float
    """seconds since 1970 UTC, as far as the machine knows the date"""
    synced: bool
    """True if the date was known to be right"""


class Clock(Protocol):
    """The times that the program reads; tests have a clock of their own."""

    def monotonic(self) -> float:
        """Seconds that only grow, from an arbitrary zero."""

    def unix_s(self) -> float:
        """Seconds since 1970 UTC, as far as this machine knows the date."""

    def synced(self) -> bool:
        """Return True if the date is known to be right."""

    def stamp(self) -> Stamp:
        """Return the present moment, to compare with another."""


class SystemClock:
    """The machine's own clocks."""

    def monotonic(self) -> float:
        """As `time.monotonic`."""
        return time.monotonic()

    def unix_s(self) -> float:
        """As `time.time`."""
        return time.time()

    def synced(self) -> bool:
        """As `time_synced`."""
        return time_synced()

    def stamp(self) -> Stamp:
        """Return the present moment."""
        return Stamp(
            kernel_boot=_kernel_boot(),
            boottime_s=time.clock_gettime(time.CLOCK_BOOTTIME),
            unix_s=time.time(),
            synced=time_synced(),
        )


def elapsed_s(since: Stamp, now: Stamp) -> float | None:
    """Return the seconds between two stamps; None if unknown.

    Within one boot the kernel counts them, whatever the date does. Across a reboot only the date can tell, if it was
    known at both moments.
    """
    if since.kernel_boot == now.kernel_boot and now.boottime_s >= since.boottime_s:
        return now.boottime_s - since.boottime_s
    if since.synced and now.synced:
        return max(0.0, now.unix_s - since.unix_s)
    return None


def time_synced(*, as_service: bool = False) -> bool:
    """Return True if the clock is known to be synchronised.

    systemd-timesyncd, which Pi OS uses, leaves a marker file. Any other time service informs the kernel, which
    ``timedatectl`` asks too. Where the unit's system call filter forbids that, chronyd and ntpd are asked.

    ``as_service``: answer as the service would, which may not ask the kernel.
    """
    if _is_marked():
        return True
    if as_service or _system_calls_filtered():
        return time_service.synced()
    return _kernel_says_synced()


def _is_marked() -> bool:
    try:
        return _TIMESYNCD_MARK.exists()
    except OSError:  # no access to the folder, up to Python 3.13
        return False


def _kernel_boot() -> str:
    try:
        return _KERNEL_BOOT_ID.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return "unknown"


def _system_calls_filtered() -> bool:
    """Return True if a seccomp filter is on: it may kill a process that calls adjtimex."""
    try:
        status = _STATUS.read_text(encoding="ascii", errors="replace")
    except OSError:
        return True
    return "\nSeccomp:\t0\n" not in status


def _kernel_says_synced() -> bool:
    # A zeroed buffer only asks (modes is 0); struct timex has 208 bytes at most.
    adjtimex = ctypes.CDLL(None).adjtimex
    state: int = adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
    return 0 <= state < _TIME_ERROR


def uuid7(unix_ms: int | None = None) -> str:
    """Return a UUIDv7: 48 bits of Unix milliseconds, then 74 random bits.

    RFC 9562, section 5.7. The standard library has it from Python 3.14 only.

    ``unix_ms``: milliseconds since 1970 UTC; None reads the clock.
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

    ``unix_s``: seconds since 1970 UTC; None reads the clock.
    """
    moment = datetime.fromtimestamp(time.time() if unix_s is None else unix_s, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
