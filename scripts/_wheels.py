"""Find the wheels of the device set for another machine, and fetch or unpack them; nothing is built."""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
GLIBC_MINOR = {"3.11": 36, "3.12": 39, "3.13": 41, "3.14": 42}
"""Of Debian 12, Ubuntu 24.04, Debian 13 and the first release with Python 3.14."""
EXTRAS = ("knn", "signed", "web")
"""All that a device may be set to use."""


def main() -> None:
    """Resolve the device set with `EXTRAS`, exactly as the constraints file has it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("python", choices=GLIBC_MINOR)
    parser.add_argument("machine", choices=("aarch64", "x86_64"))
    parser.add_argument("--into", type=Path, help="folder for the wheels")
    parser.add_argument("--unpack", type=Path, help="site-packages folder to unpack them in")
    asked = parser.parse_args()
    if asked.into:
        _pip(asked.python, asked.machine, "download", f"--dest={asked.into}")
    elif asked.unpack:
        with tempfile.TemporaryDirectory() as folder:
            _pip(asked.python, asked.machine, "download", f"--dest={folder}")
            for wheel in Path(folder).glob("*.whl"):
                zipfile.ZipFile(wheel).extractall(asked.unpack)
    else:
        _print_resolved(asked.python, asked.machine)


def _print_resolved(python: str, machine: str) -> None:
    report = _pip(python, machine, "install", "--dry-run", "--ignore-installed", "--target=unused", "--report=-")
    names = [one["metadata"]["name"] for one in json.loads(report)["install"]]
    pinned = re.findall(r"^([\w.-]+)==", _constraints(python).read_text(), re.MULTILINE)
    loose = sorted(name for name in names if _plain(name) not in {_plain(pin) for pin in pinned})
    print(
        f"Python {python}  {machine:9}{len(names)} wheels, each of a tested version"
        + (f" but {', '.join(loose)}" if loose else "")
    )


def _pip(python: str, machine: str, *job: str) -> bytes:
    """Run a job of pip as if on the other machine, and return what it prints."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = project["dependencies"] + [line for extra in EXTRAS for line in project["optional-dependencies"][extra]]
    tags = [f"manylinux_2_{minor}_{machine}" for minor in range(5, GLIBC_MINOR[python] + 1)]
    command = [
        sys.executable, "-m", "pip", *job, "-qq", "--disable-pip-version-check", "--only-binary=:all:",
        "--implementation=cp", f"--python-version={python}",
        *(f"--platform={tag}" for tag in (*tags, f"manylinux2014_{machine}", f"linux_{machine}")),
        "--ignore-requires-python",  # older releases of pip compare it with the Python that they run on
        "-c", str(_constraints(python)),
    ]  # fmt: skip
    done = subprocess.run([*command, *wanted], check=False, stdout=subprocess.PIPE)
    if done.returncode:
        sys.exit(f"Python {python}, {machine}: see above")
    return done.stdout


def _constraints(python: str) -> Path:
    return ROOT / f"constraints/python{python}.txt"


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    main()
