"""More checks of `service_inside.py`: a start with an unreadable file, another clock, or no camera."""

import json
from pathlib import Path

from benchmarks.faults.service_tools import (
    UNIT,
    call,
    configure,
    journal,
    line_with,
    listen,
    record,
    shell,
    state,
    wait_for,
)

BROKER = "test-broker"
_KEY = Path("/etc/emotion-edge/client.key")
_CHRONYD = """
import socket
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.bind(("127.0.0.1", 323))
while True:
    request, asker = sock.recvfrom(1024)
    head = bytes.fromhex("0602000000210005") + bytes(11) + b"\\1" + bytes(8)
    sock.sendto(head + bytes(24) + b"\\0\\2" + bytes(50), asker)
"""
"""Answers every request as a synchronised chronyd would, with stratum 2."""


def start_broker() -> None:
    """Start the real mosquitto."""
    call("systemd-run", f"--unit={BROKER}", "mosquitto", "-v", "-c", "/etc/test/conf")


def clock() -> None:
    """Check that the service knows whether the clock is synchronised, without asking the kernel."""

    def synced() -> str:
        said = listen("emotion/1/hall/health", seconds=3).splitlines()
        healths = [json.loads(line.partition(" ")[2]) for line in said if line.startswith("emotion/")]
        return str(healths[-1]["time_synced"]) if healths else "nothing"

    found = [synced()]
    program = Path("/opt/chronyd.py")
    program.write_text(_CHRONYD)
    call("systemd-run", "--unit=test-chronyd", "/usr/bin/python3", str(program))
    found.append(wait_for(synced, lambda text: text == "True"))
    call("systemctl", "stop", "test-chronyd")
    found.append(wait_for(synced, lambda text: text == "False"))
    mark = Path("/run/systemd/timesync/synchronized")
    mark.parent.mkdir(parents=True, exist_ok=True)
    mark.touch()
    found.append(wait_for(synced, lambda text: text == "True"))
    mark.unlink()
    due = ["False", "True", "False", "True"]
    record(
        "time_synced", "with no service, chronyd, none, timesyncd: " + ", ".join(due), ", ".join(found), ok=found == due
    )


def own_files() -> None:
    """A password file that only root can read is reported by the doctor and ends the service; so is a key file."""
    configure(mqtt='password_file = "/etc/emotion-edge/mqtt-password"\n')
    doctor = call("emotion-edge", "doctor")
    call("systemctl", "restart", UNIT)
    wait_for(lambda: state("ActiveState"), lambda text: text == "failed")
    found = f"doctor exit {doctor.returncode}, service exit {state('ExecMainStatus')}"
    ok = found == "doctor exit 1, service exit 78" and "Permission denied" in doctor.stdout
    record(
        "password_file of root", "doctor exit 1, service exit 78", f"{found}; {line_with(journal(), 'error:')}", ok=ok
    )
    call("systemctl", "reset-failed", UNIT)
    _KEY.write_text("no key\n")
    keys: list[str] = []
    for command in ("chmod 600", "chown emotion-edge:"):
        shell(f"{command} {_KEY}")
        configure(mqtt=f'key_file = "{_KEY}"\ncert_file = "{_KEY}"\n', url="mqtts://localhost")
        keys.append("denied" if "Permission denied" in call("emotion-edge", "doctor").stdout else "read")
    _KEY.unlink()
    record("key_file of root, of emotion-edge", "denied, read", ", ".join(keys), ok=keys == ["denied", "read"])
    configure()


def waiting_events() -> None:
    """Waiting events are delivered even if every start fails because there is no camera."""
    call("systemctl", "stop", BROKER)
    seen = journal().count("face_appeared")
    call("systemctl", "start", UNIT)
    wait_for(journal, lambda text: text.count("face_appeared") > seen)
    call("systemctl", "stop", UNIT)
    configure(camera="v4l2:/dev/video7")
    start_broker()
    call("systemctl", "start", "--no-block", UNIT)
    said = wait_for(lambda: listen("emotion/1/hall/#", seconds=6), lambda text: "face_appeared" in text)
    said += listen("emotion/1/hall/state", seconds=2)
    got = [name for name in ("face_appeared", '"camera":"failed"') if name in said]
    found = " and ".join(got) or "nothing"
    record("no camera, events wait", "sent all the same, state failed", found, ok=len(got) == 2)
    shell(f"systemctl stop {UNIT}; systemctl reset-failed {UNIT}")
    configure()
