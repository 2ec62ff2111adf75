"""Readings of the machine (memory, temperature, throttling), and messages to systemd."""

import os
import socket
from dataclasses import dataclass
from pathlib import Path

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_LOW_VOLTAGE = 0b0001
_SLOWED = 0b1110
"""Clock capped, throttled, soft temperature limit."""
_THERMAL = Path("sys/class/thermal/thermal_zone0/temp")
_THROTTLED = Path("sys/devices/platform/soc/soc:firmware/get_throttled")


def memory_mb() -> float:
    """Return the resident memory of this process in megabytes of 10^6 bytes (``/proc/self/statm``, second field)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return round(pages * _PAGE_BYTES / 1e6, 1)


def peak_memory_mb() -> float:
    """Return the peak resident memory of this process in megabytes (``/proc/self/status``, VmHWM).

    getrusage(2) would include the peak of the process that started this one.
    """
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return round(int(line.split()[1]) * 1024 / 1e6, 1)
    return 0.0


def temperature_c(root: Path = Path("/")) -> float | None:
    """Return the processor's temperature in degrees Celsius, None if unknown. ``root`` holds ``sys``."""
    try:
        return round(int((root / _THERMAL).read_text()) / 1000, 1)
    except (OSError, ValueError):
        return None


@dataclass(frozen=True, slots=True)
class Throttling:
    """What the Raspberry Pi's firmware says of power and heat (documentation: "vcgencmd", get_throttled)."""

    flags: int
    """as read"""

    @property
    def low_voltage(self) -> bool:
        """True while the voltage is too low."""
        return bool(self.flags & _LOW_VOLTAGE)

    @property
    def slowed(self) -> bool:
        """True while the processor is slowed down, by heat or by low voltage."""
        return bool(self.flags & _SLOWED)

    def since_boot(self) -> "Throttling":
        """Return what has been the case at any time since the boot."""
        return Throttling(self.flags >> 16)


def throttling(root: Path = Path("/")) -> Throttling | None:
    """Return the firmware's flags; None on other machines, and where this user may not read them."""
    try:
        return Throttling(int((root / _THROTTLED).read_text(encoding="ascii"), 16))
    except (OSError, ValueError):
        return None


def written_bytes() -> int | None:
    """Return the bytes this process has written to disks (``/proc/self/io``), None if not counted."""
    try:
        lines = Path("/proc/self/io").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("write_bytes:"))
    except (OSError, ValueError, StopIteration):
        return None


def notify_systemd(state: str) -> bool:
    """Send ``READY=1`` and the like to systemd (sd_notify(3)); return False if it does not listen."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        try:
            sock.connect("\0" + address[1:] if address.startswith("@") else address)
            sock.sendall(state.encode())
        except OSError:
            return False
    return True
