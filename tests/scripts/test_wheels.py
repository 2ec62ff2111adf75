"""The tested sets of versions: each supported Python has one, and it names all that a device installs."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PYTHONS = ["3.11", "3.12", "3.13", "3.14"]


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", re.split(r"[\[<>=!~; ]", name)[0]).lower()


def test_wheels_are_known_for_each_python_that_is_supported() -> None:
    stated = [line.rpartition(" ")[2] for line in PROJECT["classifiers"] if "Python :: 3." in line]
    assert stated == PYTHONS
    assert sorted(path.stem for path in (ROOT / "constraints").glob("*.txt")) == [f"python{one}" for one in PYTHONS]
    command = [sys.executable, str(ROOT / "scripts/_wheels.py"), "--help"]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert f"{{{','.join(PYTHONS)}}}" in said


@pytest.mark.parametrize("python", PYTHONS)
def test_constraints_name_what_a_device_installs(python: str) -> None:
    lines = (ROOT / f"constraints/python{python}.txt").read_text().splitlines()
    assert python in lines[0]
    pinned = {plain(line) for line in lines[1:]}
    extras = PROJECT["optional-dependencies"]
    wanted = [line for name in ("knn", "signed", "photos", "web", "collect") for line in extras.get(name, ())]
    assert {plain(line) for line in PROJECT["dependencies"] + wanted} <= pinned


def test_dependencies_of_a_device_promise_nothing_for_32_bits() -> None:
    assert not [line for line in PROJECT["dependencies"] if "armv7" in line or "platform_machine" in line]
