"""The unit that takes a card's settings, and the file that an image has for them."""

import re
import shutil
from pathlib import Path

import pytest

from edge.settings import load_settings
from edge.settings.card import take_card
from tests.systemd.test_unit import ROOT, analyze, call, exposure, settings_of

UNIT = ROOT / "systemd/emotion-edge-firstboot.service"
CARD = ROOT / "systemd/card.toml"
__all__ = ["analyze"]


def test_firstboot_unit_takes_the_file_before_the_daemon_starts() -> None:
    unit = settings_of(UNIT.read_text())
    assert ("Before", "emotion-edge.service") in unit
    command = dict(unit)["ExecStart"]
    assert command.endswith("config take /boot/firmware/emotion-edge.toml")
    assert (
        command.split()[0]
        == dict(settings_of((ROOT / "systemd/emotion-edge.service").read_text()))["ExecStart"].split()[0]
    )


def test_firstboot_unit_starts_for_each_file_that_the_command_looks_at(tmp_path: Path) -> None:
    names = re.findall(r"^ConditionPathExists=\|/boot/firmware/(\S+)$", UNIT.read_text(), re.MULTILINE)
    assert sorted(names) == ["emotion-edge.toml", "emotion-edge.toml.taken", "emotion-edge.toml.txt"]


def test_firstboot_unit_is_sound_and_hardly_exposed(analyze: str, tmp_path: Path) -> None:
    program = tmp_path / "opt/emotion-edge/.venv/bin/emotion-edge"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("=/opt", f"={tmp_path}/opt"))
    done = call(analyze, "verify", "--man=no", unit)
    assert UNIT.name not in done.stdout + done.stderr
    assert exposure(analyze, UNIT) < 4


def test_card_of_an_image_sets_nothing_until_its_owner_does(tmp_path: Path) -> None:
    card, settings = tmp_path / "emotion-edge.toml", tmp_path / "config.toml"
    shutil.copy(CARD, card)
    assert take_card(card, settings) == []
    assert card.exists()


@pytest.mark.parametrize("password", ["", "secret"])
def test_card_of_an_image_is_valid_with_each_line_in_force(tmp_path: Path, password: str) -> None:
    card, settings = tmp_path / "emotion-edge.toml", tmp_path / "config.toml"
    text = re.sub(r"(?m)^# (?=\w+ = )", "", CARD.read_text()).replace('password = ""', f'password = "{password}"')
    card.write_text(text)
    assert len(take_card(card, settings)) == 6
    assert load_settings(settings, environment={}).homeassistant.enabled
    assert (tmp_path / "mqtt-password").read_text().strip() == password
