"""With sudo the doctor is the user of the service: what that one may not read is a problem, root or not."""

import json
import os
import pwd
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.doctor import Finding, examination, examine, machine, seeing, service, user
from edge.doctor.service import Service
from edge.settings import Settings

NOBODY = "nobody"
INSTALLED = Service(installed=True, enabled=True, active=True, state="active (running)")


@pytest.fixture
def as_root(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, object]]:
    """What a doctor whom root calls does with its rights, noted and not done."""
    done: list[tuple[str, object]] = []
    me = pwd.getpwuid(os.getuid())
    monkeypatch.setattr(service, "NAME", me.pw_name)
    monkeypatch.setattr(service, "PASSWORD", Path("/nonexistent/mqtt-password"))
    monkeypatch.setattr(service, "read_service", lambda: INSTALLED)
    monkeypatch.setattr(os, "getuid", lambda: 0)
    monkeypatch.setattr(os, "initgroups", lambda name, gid: done.append(("groups", name)))
    monkeypatch.setattr(os, "setgid", lambda gid: done.append(("gid", gid)))
    monkeypatch.setattr(os, "setuid", lambda uid: done.append(("uid", uid)))
    monkeypatch.setenv("STATE_DIRECTORY", "/nonexistent")
    return done


def test_root_becomes_the_service_before_it_opens_its_files(
    as_root: list[tuple[str, object]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def load_models(_settings: Settings) -> tuple[Finding, None]:
        as_root.append(("models", "loaded"))
        return Finding("models", "ok", ""), None

    monkeypatch.setattr(seeing, "check_models", load_models)
    config = tmp_path / "config.toml"
    config.write_text(f'camera = "photos:{tmp_path}"\nstate_dir = "{tmp_path}"\n')
    found = list(examine(config))
    assert [what for what, _ in as_root] == ["groups", "gid", "uid", "models"]
    assert (found[0].check, found[0].status) == ("user", "ok")


@pytest.mark.parametrize("fault", ["no such user", "no right to"])
def test_root_that_cannot_become_the_service_opens_nothing(
    as_root: list[tuple[str, object]], monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    if fault == "no such user":
        monkeypatch.setattr(service, "NAME", "no-such-user")
    else:
        monkeypatch.setattr(os, "setuid", refuse)
    monkeypatch.setattr(machine, "check_python", lambda: pytest.fail("went on as root"))
    monkeypatch.setattr(examination, "load_settings", lambda _config: pytest.fail("went on as root"))
    found = list(examine())
    assert [(one.check, one.status) for one in found] == [("user", "problem")]


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user may enter, which pytest's own is not."""
    with tempfile.TemporaryDirectory(prefix="emotion-edge-doctor-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def look(script: str, *arguments: object) -> list[str]:
    """Run a script that becomes somebody else, and return what it prints, a list as JSON."""
    command = [sys.executable, "-c", script, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    answer: list[str] = json.loads(done.stdout)
    return answer


AS_NOBODY = """
import json, os, sys
from pathlib import Path
from edge.doctor import broker, service, user
from edge.settings import MqttSettings, Settings, read_password
"localhost".encode("idna"), "".encode("utf-8-sig")  # loaded by now: Python itself may be in a folder of root's
service.NAME, service.PASSWORD = "nobody", Path(sys.argv[1])
handed = user.password_in_memory()
me = user.become_service_user()
named = broker.check_broker(Settings(mqtt=MqttSettings(username="hall", password_file=sys.argv[1])))
credential = service.with_service_password(Settings(), handed)
print(json.dumps([me.check, str(os.getresuid()), str(os.getgroups()), named.found, read_password(credential.mqtt)]))
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
def test_file_of_root_is_none_for_the_service_its_credential_is(open_folder: Path) -> None:
    password = open_folder / "mqtt-password"
    password.write_text("sentinel\n")
    password.chmod(0o600)
    uid = pwd.getpwnam(NOBODY).pw_uid
    me, ids, groups, named, credential = look(AS_NOBODY, password)
    assert me == "user"
    assert ids == str((uid, uid, uid))
    assert "0" not in groups.strip("[]").split(", ")
    assert named == f"mqtt.password_file: {password} cannot be read: Permission denied"
    assert credential == "sentinel"


def test_password_that_cannot_be_handed_on_stays_where_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(service, "PASSWORD", tmp_path / "none")
    assert user.password_in_memory() == tmp_path / "none"


def test_settings_only_root_may_read_get_advice(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(_path: Path, **_: object) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(service, "UNITS", ())
    config = tmp_path / "config.toml"
    config.touch()
    monkeypatch.setattr(Path, "read_text", refuse)
    found = next(one for one in examine(config) if one.check == "settings")
    assert (found.status, found.advice) == (
        "problem",
        f"sudo chown root:emotion-edge {config}; sudo chmod 640 {config}",
    )
