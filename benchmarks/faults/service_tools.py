"""Helpers of `service_inside.py`: read the unit's state, its journal and the broker, and record results."""

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

OUT = Path("/out")
UNIT = "emotion-edge"
CONFIG = Path("/etc/emotion-edge/config.toml")
CLIP = "file:/clip.avi?pace=realtime&loop=1"
DROP_IN = Path("/etc/systemd/system/emotion-edge.service.d/test.conf")
WAIT_S = 90.0


def record(check: str, due: str, found: str, *, ok: bool) -> None:
    """Append a row to the results."""
    with (OUT / "results.jsonl").open("a") as file:
        file.write(json.dumps({"check": check, "due": due, "found": found, "ok": "yes" if ok else ""}) + "\n")


def call(*command: str) -> subprocess.CompletedProcess[str]:
    """Run a program and return its result, whatever its exit code."""
    return subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=300, check=False)


def shell(command: str) -> str:
    """Return what a shell command prints to standard output and error."""
    done = call("bash", "-c", command)
    return done.stdout + done.stderr


def state(name: str) -> str:
    """Return a property of the unit."""
    return call("systemctl", "show", UNIT, f"--property={name}", "--value").stdout.strip()


def journal(unit: str = UNIT, form: str = "cat") -> str:
    """Return the journal of a unit."""
    return shell(f"journalctl --no-pager -u {unit} -o {form}")


def listen(topic: str, *, seconds: int) -> str:
    """Return what the broker sends within some seconds, retained messages first; each line is a topic and a payload."""
    return shell(f"XDG_CONFIG_HOME=/etc/test mosquitto_sub -v -W {seconds} -t '{topic}'")


def configure(*, camera: str = CLIP, extra: str = "", mqtt: str = "", url: str = "mqtt://localhost:1883") -> None:
    """Write the settings file; its owner and mode stay."""
    CONFIG.write_text(
        f'{extra}device = "hall"\ncamera = "{camera}"\nstate_dir = "/var/lib/emotion-edge"\n'
        f'[mqtt]\nurl = "{url}"\nusername = "hall"\nhealth_interval_s = 2\n{mqtt}'
        "[camera_watch]\nattempts = 1\n"
    )


def drop_in(*lines: str) -> None:
    """Add lines to the unit's ``[Service]`` for a test."""
    DROP_IN.parent.mkdir(exist_ok=True)
    DROP_IN.write_text("\n".join(["[Service]", *lines]) + "\n")
    shell("systemctl daemon-reload")


def wait_for(look: Callable[[], str], is_there: Callable[[str], bool]) -> str:
    """Repeat ``look`` until its result satisfies ``is_there`` or time is up; return the last result."""
    deadline = time.monotonic() + WAIT_S
    seen = look()
    while not is_there(seen) and time.monotonic() < deadline:
        time.sleep(0.5)
        seen = look()
    return seen


def wait_active() -> bool:
    """Wait until the daemon has reported that it is ready."""
    return wait_for(lambda: state("SubState"), lambda text: text == "running") == "running"


def line_with(text: str, word: str) -> str:
    """Return the last line that contains ``word``."""
    return next((line.strip() for line in reversed(text.splitlines()) if word in line), f"no {word!r}")[:150]


def snapshot() -> str:
    """Return all paths in the folders that an installer may write to."""
    ours = "-not -path '/var/lib/containers*'"  # a machine that is a container itself
    return shell(f"find /etc /opt /usr/local /var/lib -xdev {ours} 2>/dev/null | sort")
