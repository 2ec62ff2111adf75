"""Test the service under a real systemd: ``sudo .venv/bin/python benchmarks/faults/service.py [--wheels DIR]``.

Boots a container (systemd-nspawn) that shares only this machine's /usr, installs emotion-edge in it with
``systemd/install.sh`` from a folder of wheels, without a network, starts a real mosquitto with a password, and runs
through a device's life: start, reload, faults, upgrade, removal. Prints one table; the exit code is 1 if a check fails.

Needs root, systemd-container and mosquitto (apt), and Debian's own Python with venv. It leaves nothing behind: the
container's files are in memory. Without ``--wheels`` it collects the wheels with pip first.
"""

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

ROOT = Path(__file__).resolve().parents[2]
INSIDE = "benchmarks/faults/service_inside.py"
TIMEOUT_S = 900
SYSTEM_PYTHON = "/usr/bin/python3"
_MACHINE = "emotion-edge-test"


def missing() -> str | None:
    """Return what is missing to run this here, or None."""
    programs = ("systemd-nspawn", "unshare", "mosquitto", "mosquitto_sub", SYSTEM_PYTHON)
    absent = [name for name in programs if shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin") is None]
    if absent:
        needed = "systemd-container mosquitto mosquitto-clients python3-venv"
        return f"needs {' and '.join(absent)} (apt install {needed})"
    if os.getuid() != 0:
        return "needs root: systemd-nspawn makes a container"
    return None


def collect_wheels(folder: Path) -> None:
    """Collect in a folder all wheels that a device with this machine's Python needs."""
    question = "import sys; print('%d.%d' % sys.version_info[:2])"
    version = subprocess.run([SYSTEM_PYTHON, "-c", question], check=True, capture_output=True, text=True).stdout.strip()
    if version != "{}.{}".format(*sys.version_info[:2]):
        sys.exit(f"the container has Python {version}, this is another: collect wheels with that one, see --wheels")
    constraints = ROOT / f"constraints/python{version}.txt"
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "-c", str(constraints), "-w", str(folder)]
    subprocess.run([*pip, f"{ROOT}[signed,web]"], check=True)


def make_clip(path: Path) -> None:
    """Write a clip of two seconds that shows the face from the docs."""
    import cv2

    picture = cv2.imread(str(ROOT / "docs/demo.jpg"))
    assert picture is not None
    picture = cv2.resize(picture, (640, 480))
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 15, (640, 480))
    for _ in range(30):
        writer.write(picture)
    writer.release()


def boot(wheels: Path, clip: Path, out: Path, *, log: Path) -> None:
    """Boot the container, which runs the script and powers off."""
    enter = out / "enter.sh"
    program = out / "run"  # systemd.run= takes no arguments from a container's command line
    program.write_text(f"#!/bin/bash\nexec {SYSTEM_PYTHON} /checkout/{INSIDE} >/out/inside.log 2>&1\n")
    program.chmod(0o755)
    # Its own cgroup and /run keep it apart from the host, with or without systemd there.
    enter.write_text(
        f"""set -eu
for tree in /sys/fs/cgroup /sys/fs/cgroup/systemd /sys/fs/cgroup/unified; do
    if [ -w "$tree/cgroup.procs" ]; then
        mkdir -p "$tree/{_MACHINE}"
        echo $$ >"$tree/{_MACHINE}/cgroup.procs" || true
    fi
done
mount -t tmpfs tmpfs /run
exec timeout -k 10 {TIMEOUT_S} systemd-nspawn --quiet --directory=/ --volatile=yes --boot --register=no --keep-unit \\
    --console=pipe --machine={_MACHINE} --private-network --bind-ro={ROOT}:/checkout --bind-ro={wheels}:/wheels \\
    --bind-ro={clip}:/clip.avi --bind={out}:/out --tmpfs=/usr/local/bin:mode=755 systemd.run=/out/run
"""
    )
    with log.open("wb") as file:
        command = ["unshare", "--mount", "bash", str(enter)]
        subprocess.run(command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, check=False, timeout=TIMEOUT_S + 60)
    for tree in ("", "systemd", "unified"):  # the container's cgroups are empty now
        folder = Path("/sys/fs/cgroup", tree, _MACHINE)
        for path in sorted((folder, *folder.rglob("*/")), reverse=True) if folder.is_dir() else ():
            with contextlib.suppress(OSError):
                path.rmdir()


def run(wheels: Path | None, logs: Path | None = None) -> list[dict[str, str]]:
    """Run everything and return the checks: rows with ``check``, ``due``, ``found``, ``ok``.

    Parameters
    ----------
    wheels
        Folder of wheels that includes emotion_edge; None collects them.
    logs
        Folder for journal and output; None keeps none.
    """
    with tempfile.TemporaryDirectory(prefix="emotion-edge-service-") as folder:
        work = Path(folder)
        if wheels is None:
            wheels = work / "wheels"
            collect_wheels(wheels)
        make_clip(work / "clip.avi")
        out = work / "out"
        out.mkdir()
        boot(wheels.resolve(), work / "clip.avi", out, log=work / "nspawn.log")
        results = out / "results.jsonl"
        text = results.read_text() if results.exists() else ""
        rows = [json.loads(line) for line in text.splitlines()]
        if not rows or rows[-1]["check"] != "end":
            said = (work / "nspawn.log", *out.glob("*.log"))
            found = "".join(path.read_text(errors="replace")[-3000:] for path in said)
            rows.append({"check": "container", "due": "goes through to the end", "found": found, "ok": ""})
        if logs is not None:
            shutil.copytree(out, logs, dirs_exist_ok=True)
        return [row for row in rows if row["check"] != "end"]


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--wheels", type=Path, help="folder of wheels that includes emotion_edge")
    parser.add_argument("--logs", type=Path, help="folder to keep the journal in")
    given = parser.parse_args()
    if reason := missing():
        print(f"cannot run here: {reason}", file=sys.stderr)
        return 69
    rows = run(given.wheels, given.logs)
    table = Table("check", "expected", "found", "", title="emotion-edge under a real systemd")
    for row in rows:
        mark = "[green]ok[/green]" if row["ok"] else "[bold red]FAILED[/bold red]"
        table.add_row(row["check"], escape(row["due"]), escape(row["found"]), mark)
    Console(width=None if sys.stdout.isatty() else 150).print(table)
    return 0 if all(row["ok"] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
