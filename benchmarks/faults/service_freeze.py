"""Freeze one thread of a process until the process ends: ``service_freeze.py TID``; as root, Linux on x86-64 or ARM64.

A signal would stop all threads; ptrace(2) stops only the one that it attaches to. A thread that holds the GIL would
block the others, so this one is frozen while it waits in futex(2), where it holds no lock.
"""

import ctypes
import os
import platform
import sys
import time
from pathlib import Path

_ATTACH, _DETACH = 16, 17
_ANY_THREAD = 0x40000000  # __WALL: waitpid(2) for a thread that is not a child
_FUTEX = {"x86_64": "202", "aarch64": "98"}


def main() -> None:
    """Freeze the thread, print so, and wait for its end."""
    tid = int(sys.argv[1])
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    while True:
        if libc.ptrace(_ATTACH, tid, None, None):
            sys.exit(f"cannot attach: {os.strerror(ctypes.get_errno())}")
        os.waitpid(tid, _ANY_THREAD)
        if Path(f"/proc/{tid}/syscall").read_text().split()[0] == _FUTEX[platform.machine()]:
            break
        libc.ptrace(_DETACH, tid, None, None)
        time.sleep(0.01)
    print("frozen", flush=True)
    os.waitpid(tid, _ANY_THREAD)


if __name__ == "__main__":
    main()
