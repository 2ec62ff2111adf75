"""The part of `service.py` that runs inside the container; it uses only the standard library and system programs."""

import json
import os
import re
import subprocess
import sys
import time
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # the system's own Python runs this, from the checkout
from benchmarks.faults.service_starts import BROKER, clock, own_files, start_broker, waiting_events
from benchmarks.faults.service_tools import (
    CONFIG,
    DROP_IN,
    OUT,
    UNIT,
    call,
    configure,
    drop_in,
    journal,
    line_with,
    listen,
    record,
    shell,
    snapshot,
    state,
    wait_active,
    wait_for,
)

SECRET = "sentinel-3f9c-broker"
CAMERA_SECRET = "sentinel-77aa-camera"
PASSWORD_FILE = Path("/etc/emotion-edge/mqtt-password")
OUTBOX = Path("/var/lib/emotion-edge/outbox.sqlite3")
PROBE_RESULT = Path("/var/lib/emotion-edge/probe.json")
INSTALL = "/checkout/systemd/install.sh"
WHEELS = ("--wheels", "/wheels")
_EVERY_TIME = (
    "+ systemctl daemon-reload",
    "+ systemctl enable",
    "+ systemd-sysusers",
    "+ /usr/local/bin/emotion-edge doctor",
)


def main() -> None:
    """Run through a device's life."""
    try:
        steps = (install, inspect, start, clock, secrets, sandbox, page, reload, watchdog, stop)
        for step in (*steps, own_files, waiting_events, limits, upgrade, uninstall):
            step()
    except Exception:  # noqa: BLE001 - shown in the table
        record("script", "goes through", traceback.format_exc()[-800:], ok=False)
    (OUT / "journal.log").write_text(shell("journalctl --no-pager -o short-monotonic | grep -v mosquitto | tail -2000"))
    record("end", "", "", ok=True)


def install() -> None:
    """Install: first a dry run, then for real."""
    Path("/etc/hosts").write_text("127.0.0.1 localhost\n")  # the container's /etc is empty
    before = snapshot()
    extras = ("--with", "signed,web")  # `upgrade` must keep them without being told
    dry = call(INSTALL, *WHEELS, *extras, "--dry-run")
    changed = {*snapshot().splitlines()} ^ {*before.splitlines()}
    found = f"exit {dry.returncode}, changes: {', '.join(sorted(changed)) or 'none'}"
    record("install.sh --dry-run", "exit 0, changes nothing", found, ok=dry.returncode == 0 and not changed)
    real = call(INSTALL, *WHEELS, *extras)
    (OUT / "install.log").write_text(real.stdout + real.stderr)
    told = [line for line in _commands(dry.stdout) if "systemctl start" not in line]  # the doctor stops that one here
    did = _commands(real.stdout)
    record(
        "install.sh --wheels, no network", "exit 0, does what the dry run said",
        f"exit {real.returncode}, {len(did)} commands", ok=real.returncode == 0 and did == told,
    )  # fmt: skip
    ok = "picamera2" in real.stdout and "connection refused" in real.stdout and state("ActiveState") == "inactive"
    record("its doctor", "finds camera and broker missing", line_with(real.stdout, "problems"), ok=ok)


def inspect() -> None:
    """Check which files, users and units were installed."""
    due = {
        "/etc/emotion-edge": "750 root:emotion-edge",
        str(CONFIG): "640 root:emotion-edge",
        str(PASSWORD_FILE): "600 root:root",
        "/etc/systemd/system/emotion-edge.service": "644 root:root",
    }
    found = {path: call("stat", "-c", "%a %U:%G", path).stdout.strip() for path in due}
    record("files", "settings 0640, password 0600", ", ".join(found.values()), ok=found == due)
    groups = call("id", "-nG", "emotion-edge").stdout.split()
    record("user", "in the group video", " ".join(groups), ok="video" in groups)
    verify = call("systemd-analyze", "verify", "--man=no", f"{UNIT}.service")
    said = verify.stdout + verify.stderr
    record("systemd-analyze verify", "silent", repr(said[:200]), ok=verify.returncode == 0 and not said)
    text = call("systemd-analyze", "security", "--no-pager", UNIT).stdout
    score = float((re.findall(r"level for .*: ([0-9.]+)", text) or ["10"])[0])
    record("systemd-analyze security", "at most 1.5", str(score), ok=score <= 1.5)


def start() -> None:
    """Check readiness notification, and the login with the credential's password at a real broker."""
    test = Path("/etc/test")
    test.mkdir()
    (test / "users").write_text(f"hall:{SECRET}\n")
    call("mosquitto_passwd", "-U", str(test / "users"))
    (test / "conf").write_text(f"listener 1883 127.0.0.1\nallow_anonymous false\npassword_file {test}/users\n")
    (test / "mosquitto_sub").write_text(f"-u hall\n-P {SECRET}\n")  # a file, because arguments are visible to everybody
    (test / "users").chmod(0o644)
    start_broker()
    PASSWORD_FILE.write_text(SECRET + "\n")
    configure()
    doctor = call("emotion-edge", "doctor", "--json")
    found = {one["check"]: f"{one['status']}: {one['found']}" for one in json.loads(doctor.stdout)["findings"]}
    ok = doctor.returncode == 0 and all(found[name].startswith("ok") for name in ("broker", "camera", "models", "disk"))
    record("the doctor, all being there", "exit 0", f"exit {doctor.returncode}, {found['broker']}", ok=ok)
    drop_in("RestartSec=1")
    began_s = time.monotonic()
    done = call("systemctl", "start", UNIT)
    took_s = time.monotonic() - began_s
    found_text = f"exit {done.returncode}, Type={state('Type')}, {state('ActiveState')} after {took_s:.1f} s"
    record("systemctl start", "active once READY=1 came", found_text, ok=state("ActiveState") == "active")
    said = wait_for(lambda: journal(BROKER), lambda text: "as emotion-edge-hall" in text or "u'hall'" in text)
    record("LoadCredential", "logs in with its password", line_with(said, "u'hall'"), ok="u'hall'" in said)
    said = wait_for(lambda: listen("emotion/1/hall/#", seconds=3), lambda text: '"online"' in text and "health" in text)
    topics = sorted({line.split()[0].rpartition("/")[2] for line in said.splitlines() if line.startswith("emotion/")})
    ok = {"status", "state", "health"} <= {*topics} and '"online"' in said
    record("published", "status online, state, health", ", ".join(topics), ok=ok)
    user = call("stat", "-c", "%U", f"/proc/{state('MainPID')}").stdout.strip()
    record("runs as", "emotion-edge", user, ok=user == "emotion-edge")


def secrets() -> None:
    """Check that no password can be read anywhere."""
    places = {
        "journal": shell("journalctl --no-pager -o verbose"),
        "process list": shell("ps axww -o args"),
        "environment": Path(f"/proc/{state('MainPID')}/environ").read_text(errors="replace"),
        "systemctl show": shell(f"systemctl show {UNIT}"),
        "messages": listen("#", seconds=3),
        "config show": shell("emotion-edge config show; emotion-edge config show --json"),
        "doctor": shell("emotion-edge --debug doctor; emotion-edge doctor --json"),
        "state folder": shell("cat /var/lib/emotion-edge/*"),
        "settings": shell("cat /etc/emotion-edge/*.toml /etc/systemd/system/*emotion* 2>/dev/null"),
    }
    leaks = [name for name, text in places.items() if "sentinel-" in text]
    empty = [name for name, text in places.items() if len(text) < 30]
    found = f"in {', '.join(leaks) or 'none'}" + (f"; nothing to look at: {', '.join(empty)}" if empty else "")
    record("the broker's password", f"in none of {', '.join(places)}", found, ok=not leaks and not empty)
    configure(camera=f"rtsp://admin:{CAMERA_SECRET}@127.0.0.1:9/live")
    call("systemctl", "restart", "--no-block", UNIT)
    said = wait_for(journal, lambda text: "rtsp://***@" in text)
    said += shell("emotion-edge config show; emotion-edge --debug doctor; systemctl status emotion-edge")
    said += shell("ps axww -o args; journalctl --no-pager -o verbose")
    ok = said.count("rtsp://***@127.0.0.1:9/live") >= 3 and CAMERA_SECRET not in said
    record("a network camera's password", "in no log, no command", line_with(said, "rtsp://"), ok=ok)
    configure()
    shell(f"systemctl stop {UNIT}; systemctl reset-failed {UNIT}")


def sandbox() -> None:
    """A probe in place of the daemon, all else as the unit has it."""
    diary = Path("/home/pi/diary")
    diary.parent.mkdir(parents=True, exist_ok=True)
    diary.write_text("open to everybody, and in a home")
    video = Path("/video-only")
    video.write_text("as a camera: for root and the group video")
    shell(f"chmod 644 {diary}; chmod 755 /home/pi; chgrp video {video}; chmod 640 {video}")
    shell("install -m 644 /checkout/benchmarks/faults/service_probe.py /opt/service_probe.py")
    probe = DROP_IN.with_name("zz-probe.conf")
    command = "/opt/emotion-edge/.venv/bin/python /opt/service_probe.py"
    probe.write_text(f"[Service]\nType=oneshot\nRestart=no\nExecStart=\nExecStart={command}\n")
    shell(f"systemctl daemon-reload; systemctl start {UNIT}")
    found = json.loads(PROBE_RESULT.read_text())
    probe.unlink()
    PROBE_RESULT.unlink()
    shell("systemctl daemon-reload")
    can = {
        "write": ["/var/lib/emotion-edge"],
        "list": [],
        "read": ["/video-only", "credential"],
        "try": [],
    }
    for verb, due in can.items():
        mine = {key.partition(" ")[2]: text for key, text in found.items() if key.startswith(f"{verb} ")}
        may = [key for key, text in mine.items() if text == "can"]
        cannot = ", ".join(f"{key}: {text}" for key, text in mine.items() if text != "can")
        record(
            f"sandbox: {verb}",
            ", ".join(due) or "nothing",
            f"{', '.join(may) or 'nothing'}; not {cannot}",
            ok=may == due,
        )
    due_values = {
        "is capabilities": "0000000000000000",
        "is seccomp": "2",
        "is no_new_privs": "1",
        "is core limit": "0",
        "is other processes seen": "0",
    }
    text = ", ".join(f"{key[3:]} {found[key]}" for key in due_values)
    ok = all(found[key] == value for key, value in due_values.items())
    record("sandbox: is", "no privileges, sees no other process", text, ok=ok)


def page() -> None:
    """The live page, in the sandbox: on an address with its token, then on a Unix socket for a proxy in the group."""
    token = Path("/etc/emotion-edge/web-token").read_text()
    configure(mqtt='[web]\nenabled = true\nlisten = "0.0.0.0:8378"\n')
    call("systemctl", "restart", UNIT)
    curl = ["curl", "-s", "-m", "5", "-o", "/dev/null", "-w", "%{http_code}"]
    bearer = ["-H", f"Authorization: Bearer {token}"]
    page = "http://127.0.0.1:8378/settings"
    asked: tuple[list[str], ...] = (
        [],
        ["-H", "Authorization: Bearer wrong-token-of-16"],
        bearer,
        [*bearer, "-H", "Origin: http://evil.example"],
    )
    codes = [call(*curl, *headers, page).stdout for headers in asked]
    due = "401 without or with a wrong token, 200 with it, 403 for another page"
    record("the page on 0.0.0.0", due, ", ".join(codes), ok=codes == ["401", "401", "200", "403"])
    events = call("curl", "-sN", "-m", "5", *bearer, "http://127.0.0.1:8378/events").stdout
    ok = "event: status" in events and '"face":' in events
    record("its events", "status and a face", f"{events.count('event: ')} events", ok=ok)
    examined = json.loads(
        call("curl", "-s", "-m", "90", *bearer, "-X", "POST", page.replace("settings", "doctor")).stdout
    )
    found = {one["check"]: one["status"] for one in examined["findings"]}
    ok = {"disk", "models", "broker"} <= {check for check, status in found.items() if status == "ok"}
    record("its doctor", "disk, models and broker are ok", ", ".join(map(" ".join, found.items())), ok=ok)
    configure(mqtt='[web]\nenabled = true\nlisten = "unix:/run/emotion-edge/page.sock"\n')
    call("systemctl", "restart", UNIT)
    socket = "/run/emotion-edge/page.sock"
    mode = call("stat", "-c", "%a %U:%G", socket).stdout.strip()
    folder = call("stat", "-c", "%a", "/run/emotion-edge").stdout.strip()
    asking = [*curl, "--unix-socket", socket, *bearer, page]
    codes = [
        call("setpriv", "--reuid=65534", f"--regid={group}", "--clear-groups", *asking).stdout
        for group in ("65534", "emotion-edge")
    ]
    found_text = f"{mode} in {folder}; {codes[0]} for others, {codes[1]} for the group"
    ok = (mode, folder, codes) == ("660 emotion-edge:emotion-edge", "750", ["000", "200"])
    record("the page on a Unix socket", "for its group alone", found_text, ok=ok)
    configure()
    shell(f"systemctl stop {UNIT}")


def reload() -> None:
    """A reload keeps the process."""
    call("systemctl", "start", UNIT)
    pid = state("MainPID")
    done = call("systemctl", "reload", UNIT)
    time.sleep(3)  # a process that a SIGHUP ends is gone by then
    same = "same" if pid == state("MainPID") else "another"
    found = f"exit {done.returncode}, {state('ActiveState')}, {same} process"
    ok = done.returncode == 0 and same == "same" and state("ActiveState") == "active"
    record("systemctl reload", "the same process goes on", found, ok=ok)


def watchdog() -> None:
    """A process of which one thread is frozen, or all are, is ended and started anew."""
    drop_in("RestartSec=1", "WatchdogSec=10")
    call("systemctl", "restart", UNIT)
    pid = state("MainPID")
    time.sleep(15)  # longer than the limit: it lives on because it says so
    ok = state("MainPID") == pid and state("NRestarts") == "0"
    record("watchdog, working", "lives beyond WatchdogSec=10", f"{'same' if ok else 'another'} process", ok=ok)
    _frozen("watchdog, frozen (SIGSTOP)", ["kill", "-STOP", pid], restarts=1)
    command = [sys.executable, "/checkout/benchmarks/faults/service_freeze.py", state("MainPID")]
    _frozen("watchdog, the loop's thread frozen", command, restarts=2, names="thread loop is stuck")
    cores = shell("find / -xdev -name 'core*' -type f -size +1M 2>/dev/null; ls /var/lib/systemd/coredump 2>/dev/null")
    record("core dump of it", "none: it would hold pictures", cores.strip() or "none", ok=not cores.strip())


def _frozen(check: str, command: list[str], *, restarts: int, names: str = "") -> None:
    pid = state("MainPID")
    began_s = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as freezer:
        wait_for(lambda: state("MainPID"), lambda now: now not in {"", "0", pid})
        wait_active()
        took_s = time.monotonic() - began_s
        freezer.kill()
    said = journal()
    found = f"{state('ActiveState')} again after {took_s:.0f} s, {state('NRestarts')} restart"
    ok = said.count("Watchdog timeout") == restarts == int(state("NRestarts")) and state("ActiveState") == "active"
    if names:
        found += f"; {line_with(said, names)}"
    due = "named, ended by the watchdog, started anew" if names else "ended by the watchdog, started anew"
    record(check, due, found, ok=ok and names in said)


def stop() -> None:
    """An orderly end."""
    time.sleep(3)  # it has something to end: connected, frames coming
    began_s = time.monotonic()
    call("systemctl", "stop", UNIT)
    took_s = time.monotonic() - began_s
    status = listen("emotion/1/hall/status", seconds=2)
    ok = took_s < 5 and state("Result") == "success" and '"stopped"' in status
    said = "stopped" if '"stopped"' in status else status[:80]
    record("systemctl stop", "within 5 s, status stopped", f"{took_s:.1f} s, {state('Result')}, status {said}", ok=ok)


def limits() -> None:
    """What is restarted, and how often."""
    drop_in("RestartSec=2")
    configure(extra='devise = "x"\n')
    call("systemctl", "start", UNIT)
    time.sleep(6)  # thrice RestartSec
    found = f"{state('ActiveState')}, exit {state('ExecMainStatus')}, {state('NRestarts')} restarts"
    ok = found == "failed, exit 78, 0 restarts"
    record("wrong settings", "failed, exit 78, not restarted", f"{found}; {line_with(journal(), 'error:')}", ok=ok)
    doctor = call("emotion-edge", "doctor")
    ok = doctor.returncode == 1 and "devise" in doctor.stdout
    record("the doctor on that", "exit 1, names the key", line_with(doctor.stdout, "devise"), ok=ok)
    configure(camera="v4l2:/dev/video7")
    call("systemctl", "reset-failed", UNIT)
    call("systemctl", "start", "--no-block", UNIT)
    wait_for(lambda: state("NRestarts"), lambda text: text.isdecimal() and int(text) >= 3)
    lines = journal(form="short-monotonic")
    starts = [float(moment) for moment in re.findall(r"^\[ *([0-9.]+)\].*Starting emotion-edge", lines, re.MULTILINE)]
    gaps = [round(later - earlier, 1) for earlier, later in zip(starts[-3:], starts[-2:], strict=False)]
    exits = {*re.findall(r"Main process exited, code=exited, status=(\d+)", lines.rpartition("status=78")[2])}
    found = f"exit {', '.join(exits)}, {state('NRestarts')} restarts, {gaps} s apart"
    ok = int(state("NRestarts")) >= 3 and bool(gaps) and min(gaps) >= 2 and exits == {"69"}
    record("no camera", "exit 69, restarted, never faster than RestartSec=2", found, ok=ok)
    configure()
    record("the camera is back", "runs, nobody had to come", "active", ok=wait_active())


def upgrade() -> None:
    """Install again: the same version, then a newer one."""
    before = _kept()
    pid = state("MainPID")
    again = call(INSTALL, *WHEELS)
    changes = [line for line in _commands(again.stdout) if not line.startswith(_EVERY_TIME)]
    same = "same" if pid == state("MainPID") else "another"
    found = f"exit {again.returncode}, changes: {', '.join(changes) or 'none'}, {same} process"
    ok = again.returncode == 0 and not changes and same == "same"
    record("install.sh again", "changes nothing, the process goes on", found, ok=ok)
    newer = "/opt/newer"  # changed contents make another release
    shell(f"mkdir {newer}; cp -r /checkout/systemd /checkout/constraints {newer}")
    shell(f"for file in {newer}/constraints/*; do echo '# newer' >>$file; done")
    call(f"{newer}/systemd/install.sh", *WHEELS, "--no-start")
    waits = len(list(Path("/opt/emotion-edge").glob("venv-*"))), state("MainPID") == pid
    ok = waits == (2, True) and state("ActiveState") == "active"
    record("upgrade --no-start", "the old one goes on, both are there", f"{waits[0]} releases", ok=ok)
    done = call(f"{newer}/systemd/install.sh", *WHEELS)
    (OUT / "upgrade.log").write_text(done.stdout + done.stderr)
    releases = len(list(Path("/opt/emotion-edge").glob("venv-*")))
    kept = "kept" if _kept() == before else "changed"
    found = f"exit {done.returncode}, {kept}, {releases} release, {state('ActiveState')}"
    signed = call("/opt/emotion-edge/.venv/bin/python", "-c", "import cryptography").returncode
    found += ", with its extra" if signed == 0 else ", without its extra"
    ok = found == "exit 0, kept, 1 release, active, with its extra" and state("MainPID") != pid
    record("upgrade", "settings, password, outbox kept; the new one runs", found, ok=ok)


def uninstall() -> None:
    """Uninstall."""
    done = call(INSTALL, "--uninstall")
    program = ("/opt/emotion-edge", "/usr/local/bin/emotion-edge", "/etc/systemd/system/emotion-edge.service")
    left = [path for path in program if os.path.lexists(path)]
    kept = "kept" if CONFIG.exists() and PASSWORD_FILE.exists() and OUTBOX.exists() else "lost"
    found = f"exit {done.returncode}, left: {', '.join(left) or 'nothing'}, settings and outbox {kept}"
    ok = done.returncode == 0 and not left and kept == "kept"
    record("--uninstall", "program gone, settings and outbox kept", found, ok=ok)
    done = call(INSTALL, "--uninstall", "--purge")
    left = [path for path in ("/etc/emotion-edge", "/var/lib/emotion-edge") if os.path.lexists(path)]
    left += ["the user"] if "emotion-edge" in Path("/etc/passwd").read_text() else []
    found = f"exit {done.returncode}, left: {', '.join(left) or 'nothing'}"
    record("--uninstall --purge", "nothing left", found, ok=done.returncode == 0 and not left)


def _commands(printed: str) -> list[str]:
    return [line for line in printed.splitlines() if line.startswith("+ ")]


def _kept() -> tuple[str, str, int]:
    return CONFIG.read_text(), PASSWORD_FILE.read_text(), OUTBOX.stat().st_ino


if __name__ == "__main__":
    main()
