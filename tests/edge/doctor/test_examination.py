"""The doctor: what it says of a sound device, and of each thing that may be wrong with one."""

import contextlib
import errno
import json
import os
import socket
import sqlite3
from pathlib import Path
from types import SimpleNamespace

import msgspec
import numpy as np
import pytest

from edge.cameras import open_camera
from edge.cli import app
from edge.cli.support import run
from edge.daemon.machine import throttling
from edge.daemon.signs import BLACK_LUMA, is_black
from edge.doctor import Finding, broker, examine, machine, report, seeing, service
from edge.doctor.service import Service
from edge.pipeline import load_pipeline
from edge.settings import MqttSettings, Settings
from tests.fakes.camera import FakeCamera, make_frame
from tests.fakes.mosquitto import Mosquitto, free_port

NO_SERVICE = Service(installed=False)
RUNNING = Service(installed=True, enabled=True, active=True, state="active (running)")


@pytest.fixture(autouse=True)
def _no_service_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(service, "UNITS", ())
    monkeypatch.setattr(service, "BOOTED", tmp_path)
    monkeypatch.setattr(service, "PASSWORD", tmp_path / "no-password")
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)


def write_config(folder: Path, text: str) -> Path:
    path = folder / "config.toml"
    path.write_text(text)
    return path


def by_check(findings: list[Finding]) -> dict[str, Finding]:
    return {finding.check: finding for finding in findings}


def test_a_device_with_camera_and_broker_is_sound(
    mosquitto: Mosquitto, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mosquitto.start()
    password = mosquitto.password_file(mosquitto.password)
    config = write_config(
        tmp_path,
        f'device = "d"\ncamera = "demo:?pace=fast"\nstate_dir = "{tmp_path}"\n[mqtt]\nurl = "{mosquitto.url}"\n'
        f'username = "{mosquitto.username}"\npassword_file = "{password}"\n',
    )
    assert run(app, ["doctor", "--json", "--config", str(config)]) == 0
    answer = json.loads(capsys.readouterr().out)
    found = {one["check"]: one for one in answer["findings"]}
    assert answer["ok"] is True
    for check in ("python", "settings", "disk", "models", "camera", "broker"):
        assert found[check]["status"] == "ok", found[check]
    assert "logged in as camera, MQTT 5" in found["broker"]["found"]
    assert "verified and run once" in found["models"]["found"]
    assert "gave 640x480" in found["camera"]["found"]
    assert mosquitto.password not in json.dumps(answer)


def test_what_is_wrong_is_said_with_what_to_do_and_exit_code_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    port = free_port()
    config = write_config(
        tmp_path,
        f'device = "d"\ncamera = "v4l2:/dev/no-such"\nbundle = "{tmp_path}/none"\nstate_dir = "{tmp_path}"\n'
        f'[mqtt]\nurl = "mqtt://127.0.0.1:{port}"\n',
    )
    assert run(app, ["doctor", "--config", str(config)]) == 1
    text = " ".join(capsys.readouterr().out.split())
    for words in (
        "no model bundle",
        "no such device",
        "connection refused",
        "sudo apt install mosquitto",
        "3 problems",
    ):
        assert words in text


def test_wrong_settings_leave_the_other_checks_to_be_made(tmp_path: Path) -> None:
    found = by_check(list(examine(write_config(tmp_path, 'devise = "x"'))))
    assert found["settings"].status == "problem"
    assert "did you mean device?" in found["settings"].found
    assert found["python"].status == "ok"
    assert {found[name].status for name in ("disk", "models", "camera", "broker")} == {"skipped"}


def test_a_check_that_breaks_does_not_end_the_others(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def broken() -> Finding:
        raise RuntimeError("sensor on fire")

    monkeypatch.setattr(machine, "check_heat", broken)
    names: list[str] = []
    found = by_check(list(examine(write_config(tmp_path, 'devise = "x"'), on_begin=names.append)))
    assert "the check broke: RuntimeError: sensor on fire" in found["heat and power"].found
    assert found["settings"].status == "problem"
    assert names[:2] == ["python", "clock"]


def test_refused_login_is_found_and_the_daemon_stays_connected(mosquitto: Mosquitto) -> None:
    mosquitto.start()
    wrong = str(mosquitto.password_file("not the password"))
    found = broker.check_broker(Settings(mqtt=mosquitto.settings(password_file=wrong)))
    assert found.status == "problem"
    assert "check mqtt.username" in found.found
    assert "not the password" not in repr(found)
    assert broker.check_broker(Settings(mqtt=mosquitto.settings())).status == "ok"
    assert "emotion-edge-doctor-" in mosquitto.log.read_text()


def test_a_broker_that_the_daemon_refuses_is_a_problem(tmp_path: Path) -> None:
    from tests.fakes.mosquitto import missing

    if reason := missing():
        pytest.skip(reason)
    with Mosquitto(tmp_path / "open", anonymous=True) as anybody:
        found = broker.check_broker(Settings(mqtt=anybody.settings()))
        assert found.status == "problem"
        assert "it lets anybody in without a password" in found.found
        assert "allow_anonymous false" in found.advice
        willing = msgspec.structs.replace(anybody.settings(), refuse_anonymous=False)
        assert broker.check_broker(Settings(mqtt=willing)).found.startswith(f"{anybody.url}: logged in")


# paho leaves its socket to the garbage collector where a certificate is refused.
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_certificate_that_nobody_known_signed_is_said(tmp_path: Path) -> None:
    from tests.fakes.mosquitto import missing

    if reason := missing():
        pytest.skip(reason)
    with Mosquitto(tmp_path / "tls", tls=True) as tls:
        found = broker.check_broker(Settings(mqtt=tls.settings()))
        assert (found.status, "its certificate is good" in found.found) == ("ok", True)
        stranger = broker.check_broker(Settings(mqtt=tls.settings(ca_file="")))
        assert stranger.status == "problem"
        assert "certificate is not accepted" in stranger.found
        assert "mqtt.ca_file" in stranger.advice


def test_settings_of_the_broker_that_cannot_be_used_are_said(tmp_path: Path) -> None:
    found = broker.check_broker(Settings(mqtt=MqttSettings(password_file=str(tmp_path / "none"))))
    assert found.status == "problem"
    assert "No such file" in found.found


def test_somebody_who_is_no_broker_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    from paho.mqtt.enums import MQTTProtocolVersion

    monkeypatch.setattr("edge.mqtt.client.ANSWER_S", dict.fromkeys(MQTTProtocolVersion, 0.1))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"mqtt://127.0.0.1:{silent.getsockname()[1]}"
        found = broker.check_broker(Settings(mqtt=MqttSettings(url=url)))
    assert (found.status, "does not answer the login" in found.found) == ("problem", True)


def test_broker_check_says_that_the_network_is_unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise OSError(errno.ENETUNREACH, "Network is unreachable")

    monkeypatch.setattr(broker, "exchange", unreachable)
    found = broker.check_broker(Settings(mqtt=MqttSettings(url="mqtt://192.0.2.1")))
    assert (found.status, found.found) == ("problem", "mqtt://192.0.2.1:1883: Network is unreachable")


def test_camera_check_says_why_picamera2_does_not_load(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> None:
        raise ValueError("numpy.dtype size changed, may indicate binary incompatibility")

    monkeypatch.setattr("edge.cameras.picamera2.importlib.import_module", broken)
    found = seeing.check_camera(Settings(camera="picamera2:0"), NO_SERVICE, None)
    assert (found.status, "-c constraints/python3.11.txt" in found.found) == ("problem", True), found
    assert "numpy.dtype size changed" in found.found


def test_password_of_the_service_is_used_where_readable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(service, "PASSWORD", tmp_path / "mqtt-password")
    assert service.with_service_password(Settings()).mqtt.password_file == ""
    (tmp_path / "mqtt-password").write_text("\n")
    assert service.with_service_password(Settings()).mqtt.password_file == "", "empty: the broker wants none"
    (tmp_path / "mqtt-password").write_text("secret\n")
    assert service.with_service_password(Settings()).mqtt.password_file == str(tmp_path / "mqtt-password")
    own = Settings(mqtt=MqttSettings(password_file="/own"))
    assert service.with_service_password(own).mqtt.password_file == "/own"


@pytest.mark.parametrize(
    ("now", "status", "words"),
    [
        (NO_SERVICE, "skipped", "not installed"),
        (RUNNING, "ok", "active (running)"),
        (Service(installed=True, enabled=True, state="inactive (dead)"), "warning", "systemctl start"),
        (Service(installed=True, active=True, state="active (running)"), "warning", "systemctl enable"),
        (
            Service(installed=True, enabled=True, state="failed (exit-code)", exit_code=78),
            "problem",
            "last exit code 78",
        ),
        (
            Service(installed=True, enabled=True, active=True, state="active", restarts=3),
            "warning",
            "restarted 3 times",
        ),
        (Service(installed=True, enabled=True, state="activating (auto-restart)", restarts=9), "problem", "journalctl"),
    ],
)
def test_the_state_of_the_service_is_said(now: Service, status: str, words: str) -> None:
    found = service.check_service(now)
    assert found.status == status
    assert words in f"{found.found} {found.advice}"


def test_systemd_is_asked_and_may_be_absent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    unit = tmp_path / "emotion-edge.service"
    unit.write_text("")
    monkeypatch.setattr(service, "UNITS", (tmp_path / "none", unit))
    answers = tmp_path / "systemctl"
    answers.write_text(
        "#!/bin/sh\nprintf 'NRestarts=4\\nActiveState=failed\\nResult=watchdog\\nUnitFileState=enabled\\n'\n"
    )
    answers.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    now = service.read_service()
    assert (now.state, now.restarts, now.enabled, now.active) == ("failed (watchdog)", 4, True, False)
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    assert service.read_service().state == "systemd does not answer"


@pytest.mark.parametrize(
    ("version", "mark", "status", "words"),
    [
        (1, 0, "ok", "the next start converts it to format 2, which older versions refuse"),
        (2, 0x454F0002, "ok", "format 2"),
        (3, 0x454F0003, "problem", "a newer emotion-edge made the one in"),
        (3, 0, "skipped", "the next start repairs it"),
    ],
    ids=["older", "this", "newer", "damaged"],
)
def test_the_format_of_the_outbox_is_said(tmp_path: Path, version: int, mark: int, status: str, words: str) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / "outbox.sqlite3")) as database:
        database.executescript(f"PRAGMA user_version = {version}; PRAGMA application_id = {mark};")
    before = (tmp_path / "outbox.sqlite3").read_bytes()

    found = machine.check_outbox(Settings(state_dir=str(tmp_path)))

    assert found.status == status
    assert words in found.found
    assert (tmp_path / "outbox.sqlite3").read_bytes() == before


@pytest.mark.parametrize(
    ("answer", "status", "words"),
    [
        ("enabled", "ok", "starts at boot; systemd is not running here"),
        ("disabled", "warning", "does not start at boot; systemd is not running here sudo systemctl enable"),
        ("", "warning", "does not start at boot"),
    ],
    ids=["enabled", "disabled", "silent"],
)
def test_the_service_in_an_image_is_judged_by_its_links(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, answer: str, status: str, words: str
) -> None:
    unit = tmp_path / "emotion-edge.service"
    unit.write_text("")
    systemctl = tmp_path / "systemctl"  # as in a chroot: `show` prints nothing and exits with 0
    systemctl.write_text(f'#!/bin/sh\nif [ "$1" = is-enabled ]; then echo {answer}; fi\n')
    systemctl.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    monkeypatch.setattr(service, "UNITS", (unit,))
    monkeypatch.setattr(service, "BOOTED", tmp_path / "not-there")

    found = service.check_service(service.read_service())

    assert found.status == status
    assert words in f"{found.found} {found.advice}"


def test_a_32_bit_system_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "is_64_bit", lambda: False)
    found = machine.check_python()
    assert found.status == "problem"
    assert found.found == "this is a 32-bit system; emotion-edge needs a 64-bit one"
    assert "64-bit" in found.advice


def test_a_state_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    found = machine.check_disk(Settings(state_dir=str(tmp_path / "file")), NO_SERVICE)
    assert found.status == "problem"
    assert "cannot be written" in found.found
    fine = machine.check_disk(Settings(state_dir=str(tmp_path / "not/yet/made")), NO_SERVICE)
    assert fine.status == "ok", "the daemon makes it"
    assert list(tmp_path.iterdir()) == [tmp_path / "file"], "nothing is left behind"


def test_state_folder_that_systemd_will_make_is_not_missed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(machine, "SERVICE_STATE", tmp_path / "state")
    monkeypatch.setattr(os, "access", lambda path, mode: mode == os.F_OK and path == tmp_path)
    assert machine.check_disk(Settings(state_dir=str(tmp_path / "state")), RUNNING).status == "ok"
    assert machine.check_disk(Settings(state_dir=str(tmp_path / "other")), RUNNING).status == "problem"
    assert machine.check_disk(Settings(state_dir=str(tmp_path / "state")), NO_SERVICE).status == "problem"


@pytest.mark.parametrize(("free", "status"), [(1_000_000, "problem"), (100_000_000, "warning"), (10**9, "ok")])
def test_a_disk_that_is_nearly_full_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, free: int, status: str
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _path: SimpleNamespace(free=free))
    assert machine.check_disk(Settings(state_dir=str(tmp_path)), NO_SERVICE).status == status


def test_files_that_the_service_cannot_write_are_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Owner:
        pw_uid = os.getuid() + 1

    monkeypatch.setattr("pwd.getpwnam", lambda _name: Owner)
    found = machine.check_disk(Settings(state_dir=str(tmp_path)), RUNNING)
    assert (found.status, found.advice) == ("problem", f"sudo chown -R emotion-edge: {tmp_path}")


@pytest.mark.parametrize(
    ("bits", "celsius", "status", "words"),
    [
        ("0", 48.0, "ok", "48 degrees"),
        ("50005", 70.0, "problem", "too little voltage now"),
        ("4", 84.0, "warning", "slowed down"),
        ("50000", 48.0, "warning", "since the start it had too little voltage"),
        ("20000", 48.0, "warning", "since the start it had to slow down"),
        ("nonsense", 81.0, "warning", "slowed down"),
        ("nonsense", None, "skipped", "reports neither"),
    ],
)
def test_heat_and_power_are_read_as_the_firmware_means_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, bits: str, celsius: float | None, status: str, words: str
) -> None:
    flags = tmp_path / "sys/devices/platform/soc/soc:firmware/get_throttled"
    flags.parent.mkdir(parents=True)
    flags.write_text(bits + "\n")
    monkeypatch.setattr(machine, "throttling", lambda: throttling(tmp_path))
    monkeypatch.setattr(machine, "temperature_c", lambda: celsius)
    found = machine.check_heat()
    assert found.status == status
    assert words in found.found


@pytest.mark.parametrize(
    ("now", "known", "known_to_service", "status"),
    [
        (RUNNING, False, False, "warning"),
        (RUNNING, True, False, "warning"),
        (RUNNING, True, True, "ok"),
        (NO_SERVICE, True, False, "ok"),
    ],
)
def test_clock_not_set_or_unknown_to_the_service_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, now: Service, known: bool, known_to_service: bool, status: str
) -> None:
    monkeypatch.setattr(machine, "time_synced", lambda *, as_service=False: known_to_service if as_service else known)
    found = machine.check_clock(now)
    assert found.status == status
    assert ("cannot know it" in found.found) is (known and status == "warning")


def test_a_package_that_cannot_be_loaded_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_MODULES", {"no_such_module": "dlib-bin"})
    found = machine.check_python()
    assert found.status == "problem"
    assert "dlib-bin (No module named 'no_such_module')" in found.found


def test_rights_to_the_camera_are_those_of_the_user_that_runs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    class Video:
        gr_gid = 44
        gr_mem = ("pi",)

    class User:
        pw_gid = 1000
        pw_name = "pi"

    monkeypatch.setattr("grp.getgrnam", lambda _name: Video)
    monkeypatch.setattr("pwd.getpwnam", lambda _name: User)
    assert service.check_group(Settings(camera="demo:"), RUNNING).status == "skipped"
    found = service.check_group(Settings(camera="picamera2:0"), RUNNING)
    assert (found.status, found.advice) == ("problem", "sudo usermod -aG video emotion-edge")
    Video.gr_mem = ("emotion-edge",)
    assert service.check_group(Settings(camera="picamera2:0"), RUNNING).status == "ok"


@pytest.mark.parametrize("groups", [[], [44], [44, 1000]], ids=str)
@pytest.mark.parametrize("name", ["pi", None])
def test_rights_to_the_camera_of_an_own_process(
    monkeypatch: pytest.MonkeyPatch, groups: list[int], name: str | None
) -> None:
    """In a container the groups come from its start, and the user may be a number without a name."""

    class Video:
        gr_gid = 44
        gr_mem = ()

    def user(_number: int) -> object:
        if name is None:
            raise KeyError
        return type("User", (), {"pw_name": name})

    monkeypatch.setattr("grp.getgrnam", lambda _name: Video)
    monkeypatch.setattr("pwd.getpwuid", user)
    monkeypatch.setattr("os.getuid", lambda: 10001)
    monkeypatch.setattr("os.getegid", lambda: 10001)
    monkeypatch.setattr("os.getgroups", lambda: groups)
    found = service.check_group(Settings(camera="v4l2:/dev/video0"), NO_SERVICE)
    assert found.status == ("ok" if 44 in groups else "problem")
    assert found.found.startswith(name or "10001")
    assert ("--group-add 44" in found.advice) is (44 not in groups)


def test_a_camera_that_the_service_uses_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seeing, "open_camera", lambda _uri, **_turns: pytest.fail("opened"))
    found = seeing.check_camera(Settings(camera="picamera2:0"), RUNNING, None)
    assert (found.status, "in use by the running service" in found.found) == ("skipped", True)


def test_a_privacy_pause_keeps_the_doctor_from_the_camera(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(seeing, "open_camera", lambda _uri, **_turns: pytest.fail("opened"))
    (tmp_path / "privacy-pause").touch()
    found = seeing.check_camera(Settings(camera="v4l2:/dev/video0", state_dir=str(tmp_path)), NO_SERVICE, None)
    assert (found.status, "privacy pause" in found.found) == ("skipped", True)
    assert (tmp_path / "privacy-pause").exists()


def test_a_black_picture_is_a_warning_and_the_camera_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    black, gray = FakeCamera(make_frame(0)), FakeCamera(make_frame(100))
    monkeypatch.setattr(seeing, "open_camera", lambda _uri, **_turns: black)
    found = seeing.check_camera(Settings(camera="v4l2:/dev/video0"), NO_SERVICE, None)
    assert (found.status, "it is black" in found.found, black.closed.is_set()) == ("warning", True, True)
    monkeypatch.setattr(seeing, "open_camera", lambda _uri, **_turns: gray)
    assert seeing.check_camera(Settings(camera="v4l2:/dev/video0"), NO_SERVICE, None).status == "ok"
    assert np.mean(make_frame(100).luma) == 100
    monkeypatch.setattr(seeing, "open_camera", lambda _uri, **_turns: FakeCamera())
    assert seeing.check_camera(Settings(camera="photos:/x"), NO_SERVICE, None).status == "problem"


@pytest.mark.parametrize(("luma", "black"), [(BLACK_LUMA, True), (BLACK_LUMA + 1, False)])
def test_doctor_and_daemon_mean_the_same_by_black(monkeypatch: pytest.MonkeyPatch, luma: int, *, black: bool) -> None:
    monkeypatch.setattr(seeing, "open_camera", lambda _uri, **_turns: FakeCamera(make_frame(luma)))
    found = seeing.check_camera(Settings(camera="v4l2:/dev/video0"), NO_SERVICE, None)
    assert ("it is black" in found.found) == black == is_black(make_frame(luma).luma)


def test_doctor_counts_the_faces_of_its_one_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("skimage", reason="scikit-image is not installed: pip install '.[demo]'")
    demo = open_camera("demo:?pace=fast")
    frame = None
    while frame is None or frame.index < 90:  # somebody is in view then
        frame = demo.read(1.0)
        assert frame is not None
    demo.close()
    monkeypatch.setattr(seeing, "open_camera", lambda _uri, **_turns: FakeCamera(frame))
    found = seeing.check_camera(Settings(camera="v4l2:/dev/video0"), NO_SERVICE, load_pipeline(Settings()))
    assert (found.status, found.found.endswith(", 1 face in it")) == ("ok", True), found


def test_each_finding_names_its_section_of_the_documentation(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ValueError, match="needs a symptom"):
        Finding("disk", "warning", "nearly full")
    config = write_config(tmp_path, 'devise = "x"')
    assert run(app, ["doctor", "--config", str(config)]) == 1
    assert "docs/troubleshooting.md#setting-wrong" in capsys.readouterr().out
    assert run(app, ["doctor", "--json", "--config", str(config)]) == 1
    found = {one["check"]: one for one in json.loads(capsys.readouterr().out)["findings"]}
    assert (found["settings"]["symptom"], found["python"]["symptom"]) == ("setting-wrong", None)


def test_systemd_that_does_not_answer_is_said() -> None:
    found = service.check_service(Service(installed=True, state="systemd does not answer"))
    assert (found.status, found.symptom) == ("warning", "systemd-does-not-answer")


def test_the_summary_counts() -> None:
    one = Finding("a", "ok", "fine")
    assert report.summary([one]) == "all is well"
    problem = Finding("b", "problem", "x", symptom="no-network")
    both = [one, problem, *(Finding(name, "warning", "y", symptom="disk-nearly-full") for name in "cd")]
    assert report.summary(both) == "1 problem, 2 warnings"
    assert not report.is_fine(both)
    assert report.is_fine([one, both[2]])
