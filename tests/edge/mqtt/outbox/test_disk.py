"""The outbox goes on while the disk is full or cannot be used; nobody else reads what it stores."""

import contextlib
import logging
import os
import shutil
import sqlite3
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edge.daemon.service import open_outbox
from edge.mqtt.outbox import Outbox
from edge.settings import Settings
from tests.fakes.clock import FakeClock
from tests.fakes.outbox import EVENT, Opens, long_event, stored


def kill(box: Outbox, path: Path) -> None:
    """As a kill would leave it: nothing is noted, nothing goes back to the disk."""
    left = path.parent.with_name("left")
    shutil.copytree(path.parent, left)
    box.close()
    shutil.rmtree(path.parent)
    left.rename(path.parent)


@contextlib.contextmanager
def unusable(path: Path) -> Iterator[None]:
    """The outbox is there and cannot be opened, as with a file of another user, or a card that fails."""
    hidden = path.with_name("hidden")
    hidden.mkdir()
    for part in path.parent.glob(f"{path.name}*"):
        if part.suffix != ".lock":
            part.rename(hidden / part.name)
    path.mkdir()
    yield
    path.rmdir()
    for part in hidden.iterdir():
        part.rename(path.with_name(part.name))


def test_events_wait_in_memory_while_the_disk_is_full(
    reopen: Opens, clock: FakeClock, fill_disk: Callable[[], None], caplog: pytest.LogCaptureFixture
) -> None:
    box = reopen()
    for _ in range(3):
        box.append([EVENT])
    fill_disk()
    assert box.append([long_event(10_000)])[0] == 4
    assert not box.on_disk
    box.acknowledge(1)
    assert (stored(box), box.append([EVENT])[0]) == ([2, 3, 4], 5)
    (record,) = caplog.records
    assert "the disk is full; free some space; until then events wait in memory" in record.message
    assert "\n" not in record.message
    clock.pass_time(61)
    assert stored(box) == [2, 3, 4, 5]
    assert box.on_disk
    assert "can be written again" in caplog.text
    box.close()
    box = reopen()
    assert (stored(box), box.append([EVENT])[0], box.dropped) == ([2, 3, 4, 5], 6, 0)
    box.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small disk")
def test_a_disk_that_is_really_full(tmp_path: Path, clock: FakeClock) -> None:
    if shutil.which("mount") is None:
        pytest.skip("no disk can be mounted here: there is no mount, as in a bare container")
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "none", disk], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip(f"no disk can be mounted here: {mounted.stderr.decode().strip()}")
    try:
        box = Outbox(disk / "outbox.sqlite", max_events=10_000, max_age_s=3600, clock=clock)
        for _ in range(20):
            box.append([EVENT])
        (disk / "other").write_bytes(b"")
        with contextlib.suppress(OSError), (disk / "other").open("wb", buffering=0) as other:
            while True:
                other.write(bytes(512))
        for _ in range(300):
            box.append([long_event(1000)])
        assert not box.on_disk
        box.acknowledge(*range(1, 11))
        assert stored(box) == list(range(11, 321))
        (disk / "other").unlink()
        box.acknowledge(*range(11, 301))
        clock.pass_time(61)
        assert (stored(box), box.on_disk) == (list(range(301, 321)), True)
        box.close()
        box = Outbox(disk / "outbox.sqlite", max_events=10_000, max_age_s=3600, clock=clock)
        assert (stored(box), box.append([EVENT])[0], box.dropped) == (list(range(301, 321)), 321, 0)
        box.close()
    finally:
        subprocess.run(["umount", disk], check=True)


def test_outbox_gives_no_number_twice_after_a_kill_on_full_disk(
    path: Path, reopen: Opens, clock: FakeClock, fill_disk: Callable[[], None], caplog: pytest.LogCaptureFixture
) -> None:
    box = reopen()
    box.append([EVENT])
    fill_disk()
    assert box.append([long_event(10_000)])[0] == 2
    kill(box, path)
    box = reopen()
    assert box.append([EVENT])[0] > clock.unix_s()
    assert caplog.text.count("the last number is not known; events go on from seq 1750") == 1
    box.close()


@pytest.mark.parametrize("folder", ["/proc/self/emotion-edge", "file"])
def test_a_folder_that_cannot_be_written_does_not_stop_anything(
    folder: str, tmp_path: Path, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    box = Outbox(tmp_path / folder / "outbox.sqlite", max_events=100, max_age_s=60, clock=clock)
    last = int(clock.unix_s() * 1000)
    assert [box.append([EVENT])[0] - last for _ in range(3)] == [1, 2, 3], "what earlier starts gave is not known"
    clock.pass_time(61)
    assert (box.append([EVENT])[0], stored(box), box.dropped, box.on_disk) == (last + 4, [last + 4], 3, False)
    assert caplog.text.count("cannot be written; check state_dir") == 1
    box.close()


def test_a_read_only_disk_gives_what_it_holds(
    path: Path, reopen: Opens, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    box = reopen()
    for _ in range(3):
        box.append([EVENT])
    box.close()
    before = path.read_bytes()

    def read_only(path: Path, *, synchronous: str) -> sqlite3.Connection:
        return sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, isolation_level=None)

    monkeypatch.setattr("edge.mqtt.outbox.repair.connect", read_only)
    monkeypatch.setattr("edge.mqtt.outbox.queue.connect", read_only)
    box = reopen()
    assert (stored(box), box.append([EVENT])[0]) == ([1, 2, 3], 4)
    assert not box.on_disk
    assert "cannot be written" in caplog.text
    kill(box, path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("synchronous", ["off", "normal", "full"])
def test_what_reaches_the_disk_when_is_as_set(
    path: Path, clock: FakeClock, connections: list[sqlite3.Connection], synchronous: Any
) -> None:
    box = Outbox(path, max_events=9, max_age_s=60, synchronous=synchronous, clock=clock)
    box.append([EVENT])
    levels = [db.execute("PRAGMA synchronous").fetchone()[0] for db in connections]
    assert levels == {"off": [0, 0], "normal": [1, 1], "full": [2, 1]}[synchronous]
    assert box.commits >= 1
    box.close()


def test_outbox_not_to_be_opened_loses_no_event_and_no_number(
    path: Path, reopen: Opens, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    box = reopen()
    box.append([EVENT] * 5)
    box.close()
    last = int(clock.unix_s() * 1000)
    with unusable(path):
        box = reopen()
        assert (box.append([EVENT, EVENT]), box.on_disk) == ([last + 1, last + 2], False)
        assert caplog.text.count(f"they go on from seq {last + 1}") == 1
    clock.pass_time(61)
    assert (stored(box), box.dropped, box.on_disk) == ([1, 2, 3, 4, 5, last + 1, last + 2], 0, True)
    box.close()


def test_outbox_gives_no_number_twice_if_a_start_cannot_write(
    path: Path, reopen: Opens, clock: FakeClock, fill_disk: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    box = reopen()
    box.append([EVENT])
    fill_disk()
    assert box.append([long_event(10_000)]) == [2]
    kill(box, path)
    with unusable(path):
        box = reopen()
        assert box.append([EVENT])[0] > clock.unix_s()
        kill(box, path)

    def no_lock(*_: object) -> int:
        raise PermissionError

    def read_only(path: Path, *, synchronous: str) -> sqlite3.Connection:
        raise sqlite3.OperationalError

    monkeypatch.setattr("edge.mqtt.outbox.repair.connect", read_only)
    monkeypatch.setattr("edge.mqtt.outbox.repair.os.open", no_lock)
    clock.pass_time(1)
    box = reopen()
    assert (stored(box), box.append([EVENT])) == ([1], [int(clock.unix_s() * 1000) + 1])
    monkeypatch.undo()
    box.close()


def test_stop_with_events_in_memory_says_how_many_are_lost(
    path: Path, reopen: Opens, clock: FakeClock, fill_disk: Callable[[], None], caplog: pytest.LogCaptureFixture
) -> None:
    box = reopen()
    box.append([EVENT] * 3)
    fill_disk()
    box.append([long_event(10_000), EVENT])
    with unusable(path):
        box.close()
        last = caplog.records[-1]
    assert last.levelno == logging.ERROR
    assert last.message.startswith("2 events are lost: they waited in memory, and outbox ")
    assert "cannot be written" in last.message
    box = reopen()
    assert (stored(box), box.append([EVENT])) == ([1, 2, 3], [int(clock.unix_s() * 1000) + 1])
    box.close()


def test_a_stop_on_a_full_disk_ends_in_order(reopen: Opens, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    box = reopen()
    box.append([EVENT])
    monkeypatch.setattr("edge.mqtt.outbox.tables.write_time", full)
    box.close()
    monkeypatch.undo()
    box = reopen()
    assert stored(box) == [1]
    box.close()


def test_nobody_else_reads_what_waits(path: Path) -> None:
    before = os.umask(0o022)
    try:
        settings = Settings(state_dir=str(path.parent))
        with contextlib.closing(open_outbox(settings)) as box:
            box.append([EVENT])
            (path.parent / "outbox.sqlite3-wal").stat()
            modes = {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
            assert (stat.S_IMODE(path.parent.stat().st_mode), modes) == (0o700, {0o600})
    finally:
        os.umask(before)
