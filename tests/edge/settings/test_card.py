"""The settings on a card's boot partition: taken whole or not at all, and the password never lost, never left."""

import os
from pathlib import Path

import pytest

from edge.cli import app
from edge.cli.support import run
from edge.errors import ConfigError
from edge.files import Files
from edge.settings import load_settings
from edge.settings.card import CARD_LOG, take_card
from tests.fakes.disk import FragileDisk, Loss, PowerCut

SECRET = "sentinel-7c2f"
GOOD = f"""\
device = "hallway"
camera.address = "photos:/srv/photos"
[mqtt]
url = "mqtts://broker.example"
username = "hallway"
password = "{SECRET}"
[[faces.zones]]
points = [[0, 0], [1, 0], [0.5, 1]]
"""


class Pi:
    """A boot partition, and the folder of the settings."""

    def __init__(self, folder: Path) -> None:
        self.boot, etc = folder / "boot", folder / "etc"
        for made in (self.boot, etc):
            made.mkdir()
        self.card, self.log = self.boot / "emotion-edge.toml", self.boot / CARD_LOG
        self.settings, self.password = etc / "config.toml", etc / "mqtt-password"
        self.password.touch(mode=0o600)

    def take(self, files: Files | None = None) -> list[str]:
        return take_card(self.card, self.settings, files)

    def boot_partition(self) -> bytes:
        return b"".join(path.read_bytes() for path in self.boot.iterdir())

    def everything(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.settings.parent.iterdir()}


@pytest.fixture
def pi(tmp_path: Path) -> Pi:
    return Pi(tmp_path)


def test_card_is_taken_and_its_password_is_gone_from_there(pi: Pi) -> None:
    pi.settings.write_text('# mine\ndevice = "old"\n[mqtt]\nhealth_interval_s = 60\n')
    pi.settings.chmod(0o640)
    pi.card.write_text(GOOD)
    assert set(pi.take()) == {"device", "camera", "mqtt.url", "mqtt.username", "faces.zones", "mqtt.password"}
    settings = load_settings(pi.settings, environment={})
    assert (settings.device, settings.camera) == ("hallway", "photos:/srv/photos")
    assert (settings.mqtt.url, settings.mqtt.health_interval_s) == ("mqtts://broker.example", 60)
    assert settings.faces.zones[0].points == ((0, 0), (1, 0), (0.5, 1))
    assert pi.password.read_text() == f"{SECRET}\n"
    assert (pi.password.stat().st_mode & 0o777, pi.settings.stat().st_mode & 0o777) == (0o600, 0o640)
    assert pi.settings.with_name("config.toml.previous").read_text().startswith("# mine")
    assert SECRET not in pi.settings.read_text()
    assert SECRET.encode() not in pi.boot_partition()
    assert [path.name for path in pi.boot.iterdir()] == [CARD_LOG]
    assert pi.log.read_bytes().startswith(b"emotion-edge.toml: taken: device, ")


def test_second_boot_changes_nothing(pi: Pi) -> None:
    pi.card.write_text(GOOD)
    pi.take()
    before, log = pi.everything(), pi.log.read_bytes()
    assert pi.take() == []
    assert (pi.everything(), pi.log.read_bytes()) == (before, log)


def test_later_card_changes_only_what_it_names(pi: Pi) -> None:
    pi.card.write_text(GOOD)
    pi.take()
    pi.card.write_text('[mqtt]\nurl = "mqtt://other"\n')
    assert pi.take() == ["mqtt.url"]
    settings = load_settings(pi.settings, environment={})
    assert (settings.device, settings.mqtt.url, settings.mqtt.username) == ("hallway", "mqtt://other", "hallway")
    assert pi.password.read_text() == f"{SECRET}\n"


def test_card_with_nothing_but_comments_stays_for_its_owner(pi: Pi) -> None:
    pi.card.write_text("version = 2\n# device = 1\n[mqtt]\n# password = 2\n")
    assert pi.take() == []
    assert [path.name for path in pi.boot.iterdir()] == ["emotion-edge.toml"]
    assert not pi.settings.exists()


@pytest.mark.parametrize(
    "content",
    [
        GOOD.replace("\n", "\r\n").encode(),
        b"\xef\xbb\xbf" + GOOD.encode(),
        b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode(),
        GOOD.rstrip().encode(),
    ],
    ids=["CRLF", "BOM", "BOM and CRLF", "no line break at the end"],
)
def test_card_may_come_from_any_editor(pi: Pi, content: bytes) -> None:
    pi.card.write_bytes(content)
    pi.take()
    assert load_settings(pi.settings, environment={}).device == "hallway"
    assert pi.password.read_text() == f"{SECRET}\n"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (GOOD.replace('"hallway"', '"hallway', 1), "not TOML"),
        (GOOD.replace("device", "devise"), "there is no setting devise; did you mean device?"),
        (GOOD.replace("mqtts://broker.example", "broker.example"), "mqtt.url: found 'broker.example': allowed is"),
        (GOOD.replace("mqtts://", "https://"), "mqtt.url: found 'https://broker.example': allowed is"),
        (GOOD.replace(f'password = "{SECRET}"', ""), "found the user hallway but no password"),
        (GOOD.replace("mqtts://", "mqtts://me@").replace(f'password = "{SECRET}"', "").replace("username", "#"),
         "found the user me but no password"),
        (GOOD.replace('username = "hallway"', ""), "mqtt.username: found a password but no user name"),
        (GOOD.replace(f'"{SECRET}"', "7"), "mqtt.password: allowed is one line of text in quotes"),
        (GOOD.replace(SECRET, f"{SECRET}\\n"), "mqtt.password: allowed is one line of text in quotes"),
        (GOOD.replace(SECRET, f'{SECRET}"\npassword_file = "/etc/p'), "there is also mqtt.password_file; leave one"),
        (GOOD.replace("mqtts://", f"mqtts://me:{SECRET}@"), "a password does not belong in an address"),
        (f'password = "{SECRET}"\n', "there is no setting password"),
        (f'mqtt = "{SECRET[:0]}"\n', "mqtt: found '': allowed is a section, [mqtt]"),
        ("version = 9\n" + GOOD, "install a newer one"),
        ("[power]\nmax_fps = nan\n", "power.max_fps"),
        ("[power]\nmax_fps = inf\n", "power.max_fps"),
        ("#" * 65_537, "allowed are 65536"),
        ('device = "hallway"'.encode("utf-16"), "save the file as UTF-8"),
        ("device = 1\ncamera = 2\n", "camera: found 2"),
    ],
)  # fmt: skip
def test_card_with_a_fault_changes_nothing(
    pi: Pi, capsys: pytest.CaptureFixture[str], content: str | bytes, expected: str
) -> None:
    content = content if isinstance(content, bytes) else content.encode()
    pi.settings.write_text('device = "old"\n')
    pi.card.write_bytes(content)
    before = pi.everything()
    assert run(app, ["config", "take", str(pi.card), "--config", str(pi.settings)]) == 78
    said = capsys.readouterr().err
    assert expected in said
    assert said.count("\n") == 1
    assert pi.log.read_text() == said
    assert SECRET not in said
    assert pi.everything() == before
    assert pi.card.read_bytes() == content


def test_card_is_told_all_faults_that_it_makes_with_the_settings_of_before(pi: Pi) -> None:
    pi.settings.write_text('[power]\nmax_fps = "many"\n')
    pi.card.write_text(GOOD.replace('username = "hallway"', ""))
    with pytest.raises(ConfigError, match=r"power\.max_fps.*; mqtt\.username: found a password but no user name"):
        pi.take()
    assert pi.card.exists()


def test_card_whose_settings_do_not_fit_those_of_before_is_refused(pi: Pi) -> None:
    pi.settings.write_text('[mqtt]\npassword_file = "/etc/other"\n')
    pi.card.write_text(GOOD)
    with pytest.raises(ConfigError, match="leave one"):
        pi.take()
    pi.settings.write_text("device = \n")
    with pytest.raises(ConfigError, match=r"config\.toml: not TOML"):
        pi.take()
    assert pi.card.read_text() == GOOD


def test_card_may_say_that_there_is_no_password(pi: Pi) -> None:
    pi.password.write_text("of before\n")
    pi.card.write_text('[mqtt]\nusername = "hallway"\npassword = ""\n')
    assert pi.take() == ["mqtt.username", "mqtt.password"]
    assert pi.password.read_text() == ""


def test_card_with_a_second_suffix_is_named(pi: Pi) -> None:
    pi.card.with_name("emotion-edge.toml.txt").write_text(GOOD)
    with pytest.raises(ConfigError, match=r"emotion-edge\.toml\.txt: rename it to emotion-edge\.toml"):
        pi.take()


class ReadOnly(Files):
    """A boot partition that turns read-only when the card is about to be removed."""

    def rename(self, old: Path, new: Path) -> None:
        if old.suffix == ".toml" and old.name == "emotion-edge.toml":
            raise OSError(30, os.strerror(30))
        super().rename(old, new)


def test_card_on_a_read_only_partition_is_not_taken(pi: Pi) -> None:
    pi.card.write_text(GOOD)
    pi.log.mkdir()  # as little writable as a file there would be, for root too
    before = pi.everything()
    with pytest.raises(ConfigError, match="not taken, because it could not be removed afterwards"):
        pi.take()
    assert pi.everything() == before
    assert pi.card.read_text() == GOOD


def test_card_that_cannot_be_removed_is_reported_each_time(pi: Pi) -> None:
    pi.card.write_text(GOOD)
    for _ in range(2):
        with pytest.raises(ConfigError, match="taken, but it cannot be removed"):
            pi.take(ReadOnly())
    assert pi.password.read_text() == f"{SECRET}\n"
    assert not pi.settings.with_name("config.toml.previous").exists()
    pi.take()
    assert SECRET.encode() not in pi.boot_partition()


def steps_of_a_card(folder: Path) -> int:
    folder.mkdir()
    pi, disk = Pi(folder), FragileDisk()
    pi.settings.write_text('device = "old"\n')
    pi.card.write_text(GOOD)
    pi.take(disk)
    return len(disk.steps)


@pytest.mark.parametrize("loss", ["nothing", "contents", "everything"])
def test_power_cut_at_any_step_neither_loses_nor_leaves_the_password(tmp_path: Path, loss: Loss) -> None:
    steps = steps_of_a_card(tmp_path / "whole")
    assert steps > 12
    for step in range(steps):
        folder = tmp_path / str(step)
        folder.mkdir()
        pi, disk = Pi(folder), FragileDisk(cut_at=step)
        pi.settings.write_text('device = "old"\n')
        pi.card.write_text(GOOD)
        with pytest.raises(PowerCut):
            pi.take(disk)
        disk.lose(loss)
        pi.take()
        settings = load_settings(pi.settings, environment={})
        assert (settings.device, settings.mqtt.username) == ("hallway", "hallway"), step
        assert pi.settings.with_name("config.toml.previous").read_text() == 'device = "old"\n', step
        assert pi.password.read_text() == f"{SECRET}\n", step
        assert pi.password.stat().st_mode & 0o777 == 0o600, step
        assert SECRET.encode() not in pi.boot_partition(), step
        assert {path.name for path in pi.settings.parent.iterdir()} <= {
            "config.toml", "config.toml.previous", "mqtt-password",
        }, step  # fmt: skip
