"""The site builds without a warning or a dead link, and the quick starts hold what they promise."""

import ast
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.fakes.mosquitto import Mosquitto, missing

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"


@pytest.mark.slow("builds the documentation")
def test_site_builds_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs", reason="the docs extra is not installed: pip install '.[docs]'")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    pages = sorted(page.name for page in (tmp_path / "site").glob("*.html"))
    assert {f"{page.stem}.html" for page in DOCS.glob("*.md")} <= set(pages)
    for page in (tmp_path / "site").rglob("*.html"):  # nothing is fetched from elsewhere
        fetched = re.findall(
            r'<(?:script|img|link[^>]*stylesheet)[^>]*(?:src|href)="(https?://[^"]*)"', page.read_text()
        )
        assert fetched == [], page


def doctor_findings() -> Iterator[tuple[str, ast.Call, set[str]]]:
    """Yield each finding that the doctor's code makes: where, the call, and the check's name or names."""
    for file in sorted((ROOT / "edge/doctor").glob("*.py")):
        tree = ast.parse(file.read_text())
        constants = {
            target.id: node.value.value
            for node in tree.body
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Finding":
                first = node.args[0]
                name = first.value if isinstance(first, ast.Constant) else constants.get(getattr(first, "id", ""))
                yield f"{file.name}:{node.lineno}", node, {str(name)} if name else set()


NO_SYMPTOMS = {
    "dlib-bin", "emotion-edge", "is-enabled", "mqtt-password", "opencv-python-headless", "paho-mqtt", "utf-8"
}  # fmt: skip


def sections(level: str) -> list[str]:
    return re.findall(rf"(?m)^{level} (.+)$", (DOCS / "troubleshooting.md").read_text())


def test_troubleshooting_has_a_section_for_each_doctor_check() -> None:
    checks = set().union(*(names for _, _, names in doctor_findings()))
    assert len(checks) >= 12
    assert set(sections("##")) == checks


def test_troubleshooting_has_an_anchor_for_each_doctor_finding() -> None:
    calls = list(doctor_findings())
    assert len(calls) > 60
    for where, call, _ in calls:  # by hand or by name; `Finding` itself refuses a status that is not ok without one
        is_ok = isinstance(call.args[1], ast.Constant) and call.args[1].value == "ok"
        is_named = len(call.args) > 4 or any(word.arg == "symptom" for word in call.keywords)
        assert is_ok or is_named or any(isinstance(one, ast.Starred) for one in call.args), where
    anchors = [re.sub(r"[^\w-]", "", title.lower().replace(" ", "-")) for title in sections("###")]
    assert len(anchors) == len(set(anchors))
    made = {
        node.value
        for file in (ROOT / "edge/doctor").glob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Constant) and re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)+", str(node.value))
    }
    assert made - NO_SYMPTOMS == set(anchors), "a symptom without a section, or a section without a finding"


def commands(page: str) -> list[str]:
    blocks = re.findall(r"(?ms)^```sh\n(.*?)^```", (DOCS / page).read_text())
    return [line.partition("  #")[0].strip() for block in blocks for line in block.splitlines() if line.strip()]


BROUGHT_ALONG = (
    r"sudo apt install [\w .-]+|\. \.venv/bin/activate|sudo systemctl restart emotion-edge|scripts/demo( --web)?"
    r"|sudo scripts/image [\w.-]+"
)
"""What the machine that runs the tests has or must not do; the tests of the demo and of the image run those."""


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    if reason := missing():
        pytest.skip(reason)
    with Mosquitto(tmp_path / "broker", anonymous=True) as one:
        yield one


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the commands run: it has ``emotion-edge`` in its PATH, and a photo."""
    program = tmp_path / "bin/emotion-edge"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m edge "$@"\n')
    program.chmod(0o755)
    cv2.imwrite(str(tmp_path / "photo.jpg"), np.full((240, 320, 3), 128, np.uint8))
    return tmp_path


def prepared(command: str, broker: Mosquitto) -> str:
    """Return the command as the test runs it: this broker, a clip for the camera, no root."""
    for old, new in (
        ("mqtt://localhost", broker.url),
        ("v4l2:/dev/video0", "'demo:?pace=fast' --device quick --state-dir state"),
        ("sudo systemd/install.sh", f"{ROOT}/systemd/install.sh --dry-run --python {sys.executable}"),
        ("2026-11-27", f"{datetime.now(UTC):%Y-%m-%d} --timezone UTC"),
        ("sudo ", ""),
    ):
        command = command.replace(old, new)
    return command


@pytest.mark.broker
@pytest.mark.slow("runs the daemon")
@pytest.mark.parametrize("page", ["quick-start-laptop.md", "quick-start-pi.md"])
def test_quick_start_commands_work(page: str, broker: Mosquitto, folder: Path) -> None:
    pytest.importorskip("matplotlib", reason="the report extra is not installed: pip install '.[report]'")
    environment = {**os.environ, "PATH": f"{folder}/bin:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    found = [command for command in commands(page) if not re.fullmatch(BROUGHT_ALONG, command)]
    assert len(found) >= 4
    running: list[subprocess.Popen[bytes]] = []
    for command in found:
        log = folder / f"log-{len(running)}-{found.index(command)}"
        with log.open("wb") as file:
            process = subprocess.Popen(
                ["sh", "-c", f"exec {prepared(command, broker)}"], cwd=folder, env=environment, stdout=file, stderr=file
            )
        ends_by_ctrl_c = {"watch", "collect"} & set(command.split())
        if not ends_by_ctrl_c:
            code = process.wait(120)
            assert code in ({0, 1} if "doctor" in command else {0}), (command, log.read_text())  # 1: a finding
            continue
        deadline = time.monotonic() + 120
        while "collect" in ends_by_ctrl_c and "connected to broker" not in log.read_text():
            assert process.poll() is None, (command, log.read_text())
            assert time.monotonic() < deadline, (command, log.read_text())
            time.sleep(0.05)  # a program's output cannot be waited for otherwise
        running.append(process)
    for process in running:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            assert process.wait(30) in {0, 130, -signal.SIGINT}
    if page == "quick-start-laptop.md":
        assert list((folder / "out").glob("photo*"))
        assert (folder / "events.db").exists()
        assert len(list((folder / "out").glob("report-*.html"))) == 1


def test_quick_starts_name_scripts_and_extras_that_exist() -> None:
    text = "".join((DOCS / page).read_text() for page in ("quick-start-laptop.md", "quick-start-pi.md"))
    for script in re.findall(r"(?<![\w/])(?:scripts|systemd)/[\w.-]+", text):
        assert (ROOT / script).exists(), script
    extras = re.findall(r"\[([a-z,]+)\]\"", text)
    declared = (ROOT / "pyproject.toml").read_text()
    assert extras
    for extra in ",".join(extras).split(","):
        assert re.search(rf"(?m)^{extra} = \[", declared), extra
