"""The installer on a device of a test's own: its folders are elsewhere, and systemd, pip and root are stand-ins."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.systemd.test_unit import ROOT

PLACES = ("/opt/emotion-edge", "/etc/", "/var/lib/", "/usr/local/bin/", "/run/")
STAND_INS = {
    "systemctl": """if [ "$1" = is-active ]; then test -e "$DEVICE/active"; exit; fi
echo "systemctl $*" >>"$DEVICE/log" """,
    "systemd-sysusers": "",
    "id": "echo 0",
    "install": """words=()
while [ $# -gt 0 ]; do case $1 in -o | -g) shift ;; *) words+=("$1") ;; esac; shift; done
exec /usr/bin/install "${words[@]}" """,
    "python": """if [ "$1" != -m ]; then exec /usr/bin/python3 "$@"; fi
mkdir -p "$4/bin" "$4/lib"
cp "$DEVICE/bin/pip" "$4/bin/python"
cp "$DEVICE/bin/true" "$4/bin/emotion-edge" """,
    "pip": """echo "python $*" >>"$DEVICE/log"
for last; do :; done
case $2 in pip) ls "${last%%[*}" >>"$DEVICE/built" 2>&1; mkdir -p "${last%%[*}/build" ;; esac""",
    "true": "",
}


class Device:
    """A checkout to install from, and all that the installer touches."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.checkout = folder / "checkout"
        for name in ("edge", "train", "export", "models"):
            (self.checkout / name).mkdir(parents=True)
            (self.checkout / name / "__init__.py").touch()
        for name in ("pyproject.toml", "README.md", "LICENSE"):
            (self.checkout / name).touch()
        for name in ("systemd", "constraints"):
            shutil.copytree(ROOT / name, self.checkout / name)
        script = self.checkout / "systemd/install.sh"
        text = script.read_text()
        for place in PLACES:
            text = text.replace(f"={place}", f"={folder}/root{place}")
        script.write_text(text)
        for place in ("etc/systemd/system", "etc/sysusers.d", "usr/local/bin", "run/systemd/system"):
            (folder / "root" / place).mkdir(parents=True)
        (folder / "bin").mkdir()
        for name, text in STAND_INS.items():
            program = folder / "bin" / name
            program.write_text(f"#!/bin/bash\n{text}\n")
            program.chmod(0o755)

    def install(self, *arguments: str) -> str:
        """Return what was asked of systemd and pip."""
        log = self.folder / "log"
        log.unlink(missing_ok=True)
        environment = {**os.environ, "DEVICE": str(self.folder), "PATH": f"{self.folder}/bin:{os.environ['PATH']}"}
        command = [str(self.checkout / "systemd/install.sh"), "--python", f"{self.folder}/bin/python", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        assert done.returncode == 0, done.stdout + done.stderr
        return log.read_text()

    def start(self) -> None:
        (self.folder / "active").touch()

    def releases(self) -> set[str]:
        return {path.name for path in (self.folder / "root/opt/emotion-edge").glob("venv-*")}

    def change(self, name: str) -> None:
        with (self.checkout / name).open("a") as file:
            file.write("# newer\n")


@pytest.fixture
def device(tmp_path: Path) -> Device:
    if not Path("/usr/bin/python3").exists() or subprocess.run(
        ["/usr/bin/python3", "-c", "import ensurepip, venv, sys; assert (3, 11) <= sys.version_info[:2] <= (3, 14)"],
        capture_output=True,
        check=False,
    ).returncode:  # fmt: skip
        pytest.skip("/usr/bin/python3 has no venv, or is of a version that is not supported")
    return Device(tmp_path)


def test_an_upgrade_keeps_the_extras_that_were_asked_for_once(device: Device) -> None:
    assert "/source[knn,signed]\n" in device.install("--with", "signed,knn")
    device.change("edge/__init__.py")
    assert "/source[knn,signed]\n" in device.install()
    assert "/source[knn]\n" in device.install("--with", "knn")
    assert "/source\n" in device.install("--with", "none")
    device.change("edge/__init__.py")
    assert "/source\n" in device.install()
    assert len(device.releases()) == 1


def test_state_folder_is_there_before_the_first_start(device: Device) -> None:
    device.install()
    state = device.folder / "root/var/lib/emotion-edge"
    assert state.stat().st_mode & 0o777 == 0o700
    (state / "outbox.sqlite3").touch()
    device.change("edge/__init__.py")
    device.install()
    assert (state / "outbox.sqlite3").exists()


def test_the_page_comes_with_its_token_and_goes_without_it(device: Device) -> None:
    settings, unit = device.folder / "root/etc/emotion-edge", device.folder / "root/etc/systemd/system"
    assert "/source[knn,web]\n" in device.install("--with", "web,knn")
    token = (settings / "web-token").read_text()
    assert len(token) == 32
    assert (settings / "web-token").stat().st_mode & 0o777 == 0o600
    assert (unit / "emotion-edge.service.d/web.conf").exists()
    device.install("--with", "knn")
    assert not (unit / "emotion-edge.service.d/web.conf").exists()
    device.install("--with", "web")
    assert (settings / "web-token").read_text() == token
    device.install("--uninstall")
    assert not (unit / "emotion-edge.service.d/web.conf").exists()
    assert (settings / "web-token").exists()


def test_install_in_an_image_enables_the_service(device: Device) -> None:
    (device.folder / "root/run/systemd/system").rmdir()
    device.start()  # in a chroot `systemctl is-active` exits with 0
    asked = device.install()
    assert "systemctl enable --quiet emotion-edge" in asked
    assert not any(word in asked for word in ("daemon-reload", "start emotion-edge", "restart"))
    assert device.install("--uninstall") == "systemctl disable emotion-edge\n"
    assert device.releases() == set()


def test_the_same_a_second_time_changes_nothing(device: Device) -> None:
    device.install()
    device.start()
    said = device.install()
    assert "restart" not in said
    assert "pip" not in said


def test_a_build_leaves_nothing_in_the_checkout(device: Device) -> None:
    before = sorted(device.checkout.rglob("*"))
    said = device.install()
    assert str(device.checkout) not in said.partition(" -c ")[2].partition(" ")[2]
    assert (device.folder / "built").read_text().split() == [
        "LICENSE", "README.md", "edge", "export", "models", "pyproject.toml", "train",
    ]  # fmt: skip
    assert sorted(device.checkout.rglob("*")) == before
    assert not list((device.folder / "root").rglob("source"))


def test_the_release_that_runs_stays_until_a_restart(device: Device) -> None:
    device.install()
    device.start()
    running = device.releases()
    device.change("edge/__init__.py")
    assert "restart" not in device.install("--no-start")
    assert running < device.releases()
    assert "restart" not in device.install("--no-start"), "nothing is new, and still the old one runs"
    assert running < device.releases()
    assert "systemctl restart emotion-edge" in device.install(), "nothing is new, and still the old one runs"
    assert len(device.releases()) == 1
    assert not running & device.releases()
    assert "restart" not in device.install()


def test_going_back_before_a_restart_keeps_the_release_that_runs(device: Device) -> None:
    device.install()
    device.start()
    running = device.releases()
    code = device.checkout / "edge/__init__.py"
    before = code.read_text()
    device.change("edge/__init__.py")
    device.install("--no-start")
    code.write_text(before)
    assert "-m pip" not in device.install("--no-start"), "it is there, whole, and runs"
    assert running < device.releases()


@pytest.mark.parametrize(
    ("changed", "restarts"), [("systemd/config.example.toml", False), ("systemd/emotion-edge.service", True)]
)
def test_only_what_the_service_reads_restarts_it(device: Device, changed: str, restarts: bool) -> None:
    device.install()
    device.start()
    device.change(changed)
    assert ("systemctl restart emotion-edge" in device.install()) is restarts


@pytest.mark.parametrize(("module", "extra"), [("signature", "signed"), ("knn", "knn")])
def test_who_misses_a_library_is_told_of_the_installer(device: Device, module: str, extra: str) -> None:
    assert f"sudo systemd/install.sh --with {extra})" in (ROOT / f"edge/inference/{module}.py").read_text()
    assert f"/source[{extra}]" in device.install("--with", extra)


def test_a_32_bit_system_is_refused_in_one_line(device: Device) -> None:
    python = device.folder / "bin/python"
    python.write_text('#!/bin/bash\ncase $2 in *maxsize*) exit 1 ;; esac\nexec /usr/bin/python3 "$@"\n')
    command = [str(device.checkout / "systemd/install.sh"), "--python", str(python)]
    environment = {**os.environ, "DEVICE": str(device.folder), "PATH": f"{device.folder}/bin:{os.environ['PATH']}"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 69
    assert done.stderr == (
        "error: this is a 32-bit system: emotion-edge needs a 64-bit one, such as the 64-bit Raspberry Pi OS\n"
    )
    assert not device.releases()


@pytest.mark.parametrize("script", ["postinst", "prerm", "postrm"])
def test_a_script_of_the_debian_package_is_plain_sh(script: str) -> None:
    path = ROOT / "systemd/deb" / script
    assert path.read_text().startswith("#!/bin/sh\nset -e\n")
    assert subprocess.run(["sh", "-n", str(path)], check=False, capture_output=True).returncode == 0
