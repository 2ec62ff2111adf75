"""scripts/image refuses what is no image of 64-bit Raspberry Pi OS, says why, and leaves nothing behind.

What it makes of a good image is seen by scripts/test-image, which boots it.
"""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts/image"
TOOLS = ("losetup", "partx", "sfdisk", "mkfs.ext4", "resize2fs", "mcopy")
MB = 1_048_576
ROOT_AT = 2 * MB
ELF = {"armhf": (1, 0x28), "arm64": (2, 0xB7), "amd64": (2, 0x3E)}


def image(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([SCRIPT, *arguments], capture_output=True, text=True, check=False)


@pytest.fixture
def loop_devices() -> None:
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    if missing := [tool for tool in TOOLS if shutil.which(tool, path=path) is None]:
        pytest.skip(f"missing: {', '.join(missing)}")
    if os.geteuid() != 0 or subprocess.run(["losetup", "--find"], capture_output=True, check=False).returncode:
        pytest.skip("loop devices need root")


def make_image(
    folder: Path, types: str = "c 83", processor: str = "arm64", files: dict[str, str] | None = None
) -> Path:
    """Make a card with a FAT partition that is empty and a root with a program of a processor and files."""
    root, card = folder / "root", folder / "card.img"
    kind, machine = ELF[processor]
    for name, text in (files or {}).items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    (root / "usr/bin").mkdir(parents=True, exist_ok=True)
    (root / "usr/bin/dpkg").write_bytes(b"\x7fELF" + bytes([kind]) + bytes(13) + bytes([machine, 0]))
    with card.open("wb") as file:
        file.truncate(ROOT_AT + 4 * MB)
    table = "".join(f"{start},{size},{type_}\n" for (start, size), type_ in zip(
        [(2048, 2048), (4096, 8192)], types.split(), strict=True))  # fmt: skip
    subprocess.run(["sfdisk", "--quiet", card], input=table, text=True, check=True)
    offset = f"offset={ROOT_AT}"
    subprocess.run(["mkfs.ext4", "-q", "-d", root, "-E", offset, card, "4096k"], check=True, capture_output=True)
    return card


def refused(folder: Path, *arguments: str | Path) -> str:
    before = sorted(path.name for path in folder.iterdir())
    done = image(*arguments)
    assert done.returncode != 0
    assert sorted(path.name for path in folder.iterdir()) == before
    lines = done.stderr.splitlines()
    assert lines[-1].startswith("error: "), done.stderr
    return lines[-1]


@pytest.mark.parametrize("content", [b"", b"hello\n" * 1000, bytes(MB), b"PK\x03\x04" + bytes(5000)])
def test_image_refuses_a_file_that_is_no_disk(loop_devices: None, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.img").write_bytes(content)
    assert refused(tmp_path, tmp_path / "a.img").endswith("a.img: no disk image: it has no table of partitions")


def test_image_refuses_a_damaged_archive(loop_devices: None, tmp_path: Path) -> None:
    (tmp_path / "a.img.xz").write_bytes(b"\xfd7zXZ\x00" + bytes(100))
    assert refused(tmp_path, tmp_path / "a.img.xz").endswith("a.img.xz: cannot be unpacked")


def test_image_refuses_other_partitions_and_names_their_types(loop_devices: None, tmp_path: Path) -> None:
    found = refused(tmp_path, make_image(tmp_path, types="7 83"))
    assert "no image of Raspberry Pi OS" in found
    assert found.endswith("found types 0x7 0x83")


def test_image_refuses_half_a_download(loop_devices: None, tmp_path: Path) -> None:
    card = make_image(tmp_path)
    os.truncate(card, ROOT_AT + MB)
    assert refused(tmp_path, card).endswith(f"incomplete: it has {ROOT_AT + MB} of {ROOT_AT + 4 * MB} bytes")


@pytest.mark.parametrize(
    ("processor", "files", "expected"),
    [
        ("armhf", {"etc/rpi-issue": ""}, "a 32-bit image: take Raspberry Pi OS Lite (64-bit)"),
        ("amd64", {"etc/rpi-issue": ""}, "there are no programs for 64-bit ARM in it"),
        ("arm64", {"etc/os-release": "ID=debian"}, "there is no /etc/rpi-issue in it"),
    ],
    ids=["32-bit", "PC", "Debian"],
)
def test_image_refuses_other_systems(
    loop_devices: None, tmp_path: Path, processor: str, files: dict[str, str], expected: str
) -> None:
    assert refused(tmp_path, make_image(tmp_path, processor=processor, files=files)).endswith(expected)


def test_image_refuses_wrong_settings_before_any_work(loop_devices: None, tmp_path: Path) -> None:
    card = make_image(tmp_path)
    (tmp_path / "mine.toml").write_text('devise = "hallway"\n')
    done = image(card, "--settings", tmp_path / "mine.toml")
    assert done.returncode == 78
    assert "there is no setting devise; did you mean device?" in done.stderr


def test_image_refuses_a_missing_file_and_an_unknown_option(tmp_path: Path) -> None:
    assert image("--fast").returncode == 2
    assert image(tmp_path / "none.img").stderr.splitlines()[-1] in {
        f"error: {tmp_path}/none.img: no such file",
        "error: this needs root: sudo scripts/image",
    }
