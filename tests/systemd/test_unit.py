"""The unit and the installer, as far as they can be judged without starting them."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
UNIT = ROOT / "systemd/emotion-edge.service"
PAGE = ROOT / "systemd/web.conf"
INSTALL = ROOT / "systemd/install.sh"
MOST_EXPOSURE = 1.3


@pytest.fixture
def analyze() -> str:
    """Path of systemd-analyze; skips where there is none."""
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not on this machine")
    return program


def call(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)


def settings_of(unit: str) -> list[tuple[str, str]]:
    lines = [line for line in unit.splitlines() if line and not line.startswith(("#", "["))]
    return [(key, value) for key, _, value in (line.partition("=") for line in lines)]


def exposure(analyze: str, unit: Path) -> float:
    found = re.search(r"exposure level for .*: ([0-9.]+)", call(analyze, "security", "--offline=true", unit).stdout)
    assert found is not None
    return float(found[1])


def test_the_unit_is_hardly_exposed(analyze: str, tmp_path: Path) -> None:
    assert exposure(analyze, UNIT) <= MOST_EXPOSURE
    bare = tmp_path / "emotion-edge.service"  # the figure can be a bad one
    bare.write_text("[Service]\nExecStart=/bin/true\n")
    assert exposure(analyze, bare) > 9


def test_the_page_does_not_expose_the_unit_further(analyze: str, tmp_path: Path) -> None:
    with_page = tmp_path / "emotion-edge.service"
    with_page.write_text(UNIT.read_text().partition("[Install]")[0] + PAGE.read_text())
    assert exposure(analyze, with_page) <= exposure(analyze, UNIT)


def test_systemd_has_nothing_to_say_about_the_unit(analyze: str, tmp_path: Path) -> None:
    program = tmp_path / "opt/emotion-edge/.venv/bin/emotion-edge"
    program.parent.mkdir(parents=True)
    kill = tmp_path / "bin/kill"
    kill.parent.mkdir()
    for path in (program, kill):
        path.write_text("#!/bin/sh\n")
        path.chmod(0o755)
    units = tmp_path / "etc/systemd/system"
    units.mkdir(parents=True)
    for name in ("sysinit.target", "basic.target", "shutdown.target", "network.target", "multi-user.target"):
        (units / name).write_text("[Unit]\nDescription=stands in\n")
    command = (analyze, "verify", "--man=no", "--recursive-errors=no", f"--root={tmp_path}")
    shutil.copy(UNIT, units)
    done = call(*command, units / UNIT.name)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    (units / f"{UNIT.name}.d").mkdir()
    shutil.copy(PAGE, units / f"{UNIT.name}.d")
    done = call(*command, units / UNIT.name)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    (units / UNIT.name).write_text(UNIT.read_text().replace("WatchdogSec=", "WatchdogSeconds="))
    assert "WatchdogSeconds" in call(*command, units / UNIT.name).stderr


def test_wrong_settings_are_not_tried_again_and_a_lost_camera_is() -> None:
    settings = dict(settings_of(UNIT.read_text()))
    assert settings["Restart"] == "on-failure"
    assert settings["RestartPreventExitStatus"].split() == ["78", "2"]
    assert settings["Type"] == "notify"


def test_unit_starts_on_a_device_without_a_network() -> None:
    waits = [value for key, value in settings_of(UNIT.read_text()) if key in {"After", "Wants", "Requires"}]
    assert waits == ["network.target"]


def test_cameras_are_let_through_and_no_other_device() -> None:
    allowed = [value for key, value in settings_of(UNIT.read_text()) if key == "DeviceAllow"]
    assert allowed == ["char-video4linux rw", "char-media rw", "char-dma_heap rw"]
    assert ("DevicePolicy", "closed") in settings_of(UNIT.read_text())


def test_installed_settings_are_right_and_show_the_units_folder(tmp_path: Path) -> None:
    from edge.settings import Settings, load_settings

    settings = load_settings(ROOT / "systemd/config.example.toml", environment={})
    assert settings.state_dir == "/var/lib/emotion-edge"
    defaults = load_settings(ROOT / "systemd/config.example.toml", environment={"EMOTION_EDGE__STATE_DIR": "/x"})
    assert defaults == Settings(state_dir="/x")


def test_the_installer_has_no_mistake_that_shellcheck_knows() -> None:
    program = shutil.which("shellcheck")
    if program is None:
        pytest.skip("shellcheck is not on this machine")
    done = call(program, INSTALL)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    folder = tmp_path / "wheels"
    folder.mkdir()
    (folder / "emotion_edge-0.1.0-py3-none-any.whl").write_bytes(b"not opened by a dry run")
    return folder


def dry_run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    for program in ("systemctl", "/usr/bin/python3"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not on this machine")
    if call("/usr/bin/python3", "-c", "import ensurepip, venv, sys; assert sys.version_info >= (3, 11)").returncode:
        pytest.skip("/usr/bin/python3 has no venv, or is older than 3.11")
    return call(INSTALL, "--dry-run", *arguments)


def test_a_dry_run_names_every_step_and_takes_none(wheels: Path) -> None:
    before = sorted(wheels.iterdir())
    done = dry_run("--wheels", wheels)
    assert done.returncode == 0, done.stderr
    for step in (
        "-m venv --system-site-packages /opt/emotion-edge/venv-",
        f"--no-index --find-links {wheels}",
        "systemd-sysusers /etc/sysusers.d/emotion-edge.conf",
        "systemctl enable",
        "emotion-edge doctor",
    ):
        assert step in done.stdout
    assert sorted(wheels.iterdir()) == before
    assert not Path("/opt/emotion-edge").exists() or "is there already" in done.stdout


def test_a_dry_run_shows_the_extras(wheels: Path) -> None:
    said = dry_run("--wheels", wheels, "--with", "knn").stdout
    assert f"{wheels}/emotion_edge-0.1.0-py3-none-any.whl\\[knn\\]" in said
    assert "+ echo knn > /opt/emotion-edge/extras" in said or Path("/opt/emotion-edge/extras").exists()


def test_another_content_is_another_release(wheels: Path) -> None:
    def release() -> str:
        found = re.search(r"/opt/emotion-edge/(venv-\w+-python[\d.]+)", dry_run("--wheels", wheels).stdout)
        assert found is not None
        return found[1]

    first = release()
    assert release() == first
    (wheels / "numpy-9-py3-none-any.whl").write_bytes(b"newer")
    assert release() != first


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--purge"], 2, "--purge goes with --uninstall"),
        (["--wheels"], 2, "--wheels needs a value"),
        (["--with", "demo"], 2, "--with takes knn, signed and web, with commas, or none"),
        (["--frobnicate"], 2, "there is no option --frobnicate"),
        (["--dry-run", "--wheels", "/nonexistent"], 1, "there is no folder /nonexistent"),
        (["--dry-run", "--wheels", str(ROOT / "docs")], 1, "there is no wheel emotion_edge-*.whl"),
        (["--dry-run", "--python", "/nonexistent"], 69, "there is no /nonexistent"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_changes_nothing(arguments: list[str], code: int, said: str) -> None:
    dry_run("--uninstall")  # skips where there is nothing to test with
    done = call(INSTALL, *arguments)
    assert done.returncode == code
    assert said in done.stderr.splitlines()[-1]
    assert "+ " not in done.stdout
