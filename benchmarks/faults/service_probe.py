"""Find out what the unit's sandbox allows; `service_inside.py` runs this in place of the daemon."""

import ctypes
import json
import os
import resource
import socket
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

STATE = Path("/var/lib/emotion-edge")
RESULT = STATE / "probe.json"
_CLONE_NEWNET = 0x40000000
_FOLDERS = ("/", "/etc", "/etc/emotion-edge", "/opt/emotion-edge", "/var/log", "/home", "/sys", "/proc/sys", str(STATE))


def main() -> None:
    """Try everything, and record for each name ``can`` or the error."""
    found = {f"write {folder}": attempt(partial(write, Path(folder))) for folder in _FOLDERS}
    found |= {f"list {folder}": attempt(partial(os.scandir, folder)) for folder in ("/home", "/root")}
    for path in ("/home/pi/diary", "/etc/emotion-edge/mqtt-password", "/video-only"):
        found[f"read {path}"] = attempt(Path(path).read_bytes)
    found["read credential"] = attempt(lambda: Path(os.environ["CREDENTIALS_DIRECTORY"], "mqtt-password").read_bytes())
    found["try raw packets"] = attempt(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW).close())
    found["try a namespace"] = attempt(unshare)
    found["try to be root"] = attempt(lambda: os.setuid(0))
    found["try to set the clock"] = attempt(lambda: time.clock_settime(time.CLOCK_REALTIME, 0))
    found["try to signal PID 1"] = attempt(lambda: os.kill(1, 0))
    found["try /dev/kmsg"] = attempt(lambda: Path("/dev/kmsg").open().close())
    status = dict(line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":\t" in line)
    capabilities = {status[name].strip() for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")}
    found["is capabilities"] = " ".join(sorted(capabilities))
    found["is seccomp"] = status["Seccomp"].strip()
    found["is no_new_privs"] = status["NoNewPrivs"].strip()
    found["is core limit"] = str(resource.getrlimit(resource.RLIMIT_CORE)[0])
    others = [path for path in Path("/proc").glob("[0-9]*") if path.name != str(os.getpid())]
    found["is other processes seen"] = str(len(others))
    RESULT.write_text(json.dumps(found))


def attempt(action: Callable[[], object]) -> str:
    """Return ``can``, or the error."""
    try:
        action()
    except OSError as error:
        return error.strerror or type(error).__name__
    return "can"


def write(folder: Path) -> None:
    """Create a file and remove it."""
    path = folder / "probe"
    path.write_text("x")
    path.unlink()


def unshare() -> None:
    """Ask for a network namespace."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


if __name__ == "__main__":
    main()
