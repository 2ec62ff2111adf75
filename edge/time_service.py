"""Asks chronyd and ntpd whether the clock is synchronised, for a process that may not ask the kernel.

Both answer any process on this machine: chronyd in its own protocol (chrony, ``candm.h``, version 6, as ``chronyc
tracking`` uses), ntpd and ntpsec as NTP servers (RFC 5905).
"""

import socket
import struct
import time
from functools import lru_cache

CHRONY_PORT = 323
NTP_PORT = 123
_ANSWER_S = 0.2
"""Seconds to wait; a local service answers within a millisecond, and the kernel refuses at once if there is none."""
_ASK_EVERY_S = 10.0
_NOT_SYNCHRONISED = 3
"""Leap indicator of an unsynchronised clock, in both protocols."""

_CHRONY_REQUEST = struct.pack("!BBxxHHI8x", 6, 1, 33, 0, 1).ljust(104, b"\0")
"""A request (1) of version 6 for tracking (33), padded to the length of the answer, as chronyd demands."""
_CHRONY_ANSWER = struct.Struct("!BBxxHHH6xI8x4x20xHH")
"""Version, type, command, reply, status, sequence; reference and address; stratum, leap indicator."""
_NTP_REQUEST = bytes([4 << 3 | 3]).ljust(48, b"\0")
"""Version 4, from a client."""


def ask(*, chrony_port: int = CHRONY_PORT, ntp_port: int = NTP_PORT) -> bool:
    """Return True if one of them says that the clock is synchronised."""
    return _chrony_says_synced(_exchange(_CHRONY_REQUEST, chrony_port)) or _ntp_says_synced(
        _exchange(_NTP_REQUEST, ntp_port)
    )


def synced(now_s: float | None = None) -> bool:
    """Return what `ask` returned last, at most 10 s ago: every event wants to know.

    ``now_s``: the monotonic time; None reads the clock.
    """
    return _asked_in(int((time.monotonic() if now_s is None else now_s) // _ASK_EVERY_S))


@lru_cache(maxsize=1)
def _asked_in(_period: int) -> bool:
    return ask()


def _exchange(request: bytes, port: int) -> bytes:
    """Return the answer of this machine's service, empty if none comes."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        sock.settimeout(_ANSWER_S)
        try:
            sock.connect(("127.0.0.1", port))
            sock.send(request)
            return sock.recv(1024)
        except OSError:
            return b""


def _chrony_says_synced(answer: bytes) -> bool:
    if len(answer) < _CHRONY_ANSWER.size:
        return False
    version, kind, command, _, status, _, stratum, leap = _CHRONY_ANSWER.unpack_from(answer)
    return (version, kind, command, status) == (6, 2, 33, 0) and stratum > 0 and leap != _NOT_SYNCHRONISED


def _ntp_says_synced(answer: bytes) -> bool:
    if len(answer) < len(_NTP_REQUEST):
        return False
    leap, mode, stratum = answer[0] >> 6, answer[0] & 7, answer[1]
    return mode == 4 and 0 < stratum < 16 and leap != _NOT_SYNCHRONISED
