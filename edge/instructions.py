"""Instructions that this process executes, as the processor counts them (perf_event_open(2))."""

import ctypes
import os
import platform
import struct
from typing import Self

_SYSCALL = {"x86_64": 298, "aarch64": 241, "armv7l": 364}
"""Number of perf_event_open, from the kernel's syscall tables."""
_HARDWARE, _INSTRUCTIONS = 0, 1
_INHERIT, _EXCLUDE_KERNEL, _EXCLUDE_HYPERVISOR = 1 << 1, 1 << 5, 1 << 6
_ATTRIBUTES_BYTES = 112
"""PERF_ATTR_SIZE_VER5, which every kernel since 4.1 takes."""


class InstructionCounter:
    """Counts from its making on, in this thread and those that it starts; close it by `close`."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @classmethod
    def open(cls) -> Self | str:
        """Return a counter, or the reason why this machine gives none."""
        number = _SYSCALL.get(platform.machine())
        if number is None:
            return f"no known way to count on {platform.machine()}"
        attributes = struct.pack(
            "<IIQQQQQ", _HARDWARE, _ATTRIBUTES_BYTES, _INSTRUCTIONS, 0, 0, 0,
            _INHERIT | _EXCLUDE_KERNEL | _EXCLUDE_HYPERVISOR,
        ).ljust(_ATTRIBUTES_BYTES, b"\0")  # fmt: skip
        libc = ctypes.CDLL(None, use_errno=True)
        # attributes, pid 0 (this one), any CPU, no group, no flags
        descriptor = libc.syscall(number, attributes, 0, -1, -1, 0)
        if descriptor < 0:
            return f"perf_event_open: {os.strerror(ctypes.get_errno())}"
        return cls(descriptor)

    def read(self) -> int:
        """Instructions in user space so far."""
        return int.from_bytes(os.read(self._descriptor, 8), "little")

    def close(self) -> None:
        """Stop counting."""
        os.close(self._descriptor)
