"""`scripts/licenses` and what the wheel says about licenses."""

import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_licenses_lists_each_installed_package_once() -> None:
    command = [sys.executable, str(ROOT / "scripts/_licenses.py")]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    names = [line.split()[0] for line in lines]
    assert names[0] == "package"
    assert len(names) == len(set(names))
    assert {"numpy", "paho-mqtt", "msgspec"} <= set(names)
    assert "emotion-edge" not in names
    stated = {line.split()[0]: line for line in lines}
    assert "BSD" in stated["numpy"]
    assert "EPL-2.0" in stated["paho-mqtt"]


def test_wheel_holds_the_license_and_the_notice_of_the_models() -> None:
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert pyproject["project"]["license"] == "MIT"
    assert pyproject["project"]["license-files"] == ["LICENSE", "models/NOTICE.md"]
    assert (ROOT / "LICENSE").read_text().startswith("MIT License")
    copied = (ROOT / "systemd/install.sh").read_text()
    assert "README.md,LICENSE}" in copied, "the installer builds from a copy, which needs the license too"


def test_notice_names_every_model_file_and_data_set() -> None:
    notice = (ROOT / "models/NOTICE.md").read_text()
    for path in sorted((ROOT / "models").rglob("*")):
        if path.suffix in {".tflite", ".pkl", ".dat"} and path.parent.suffix != ".previous":
            named = f"{path.parent.name}/{path.name}"
            same = (ROOT / "models/default" / path.name).exists()  # the notice names copies by where they come from
            assert named in notice or same, named
    assert all(name in notice for name in ("FER2013", "FER+", "HELEN", "AFW", "research only"))
