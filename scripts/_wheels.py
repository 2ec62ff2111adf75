"""Find the wheels of the device set for another machine, and with ``--into`` download them; nothing is built."""

import argparse
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
GLIBC_MINOR = {"3.11": 36, "3.12": 39, "3.13": 41, "3.14": 42}
"""Of Debian 12, Ubuntu 24.04, Debian 13 and the first release with Python 3.14."""


def main() -> None:
    """Resolve the device set with the extras ``knn`` and ``signed``, exactly as the constraints file has it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("python", choices=GLIBC_MINOR)
    parser.add_argument("machine", choices=("aarch64", "x86_64"))
    parser.add_argument("--into", type=Path, help="folder for the wheels")
    asked = parser.parse_args()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = project["dependencies"] + [
        line for extra in ("knn", "signed") for line in project["optional-dependencies"][extra]
    ]
    tags = [f"manylinux_2_{minor}_{asked.machine}" for minor in range(5, GLIBC_MINOR[asked.python] + 1)]
    where = [f"--platform={tag}" for tag in (*tags, f"manylinux2014_{asked.machine}", f"linux_{asked.machine}")]
    job = ["download", "--dest", str(asked.into)] if asked.into else ["install", "--dry-run", "--ignore-installed"]
    command = [
        sys.executable, "-m", "pip", *job, "-qq", "--disable-pip-version-check", "--only-binary=:all:",
        "--implementation=cp", f"--python-version={asked.python}", *where,
        "--ignore-requires-python",  # older releases of pip compare it with the Python that they run on
        "-c", str(ROOT / f"constraints/python{asked.python}.txt"),
    ]  # fmt: skip
    more = [] if asked.into else ["--target=unused", "--report=-"]
    done = subprocess.run([*command, *more, *wanted], check=False, stdout=subprocess.PIPE)
    if done.returncode:
        sys.exit(f"Python {asked.python}, {asked.machine}: see above")
    if asked.into:
        return
    found = json.loads(done.stdout)["install"]
    pinned = set(
        re.findall(r"^([\w.-]+)==", (ROOT / f"constraints/python{asked.python}.txt").read_text(), re.MULTILINE)
    )
    loose = sorted(
        name for one in found if _plain(name := one["metadata"]["name"]) not in {_plain(pin) for pin in pinned}
    )
    print(
        f"Python {asked.python}  {asked.machine:9}{len(found)} wheels, each of a tested version"
        + (f" but {', '.join(loose)}" if loose else "")
    )


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    main()
