"""A new database takes the place of a damaged or an older one, wherever that is cut off, and on a disk that is full."""

import contextlib
import errno
import shutil
import sqlite3
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from edge.files import Files
from edge.mqtt.outbox import repair as outbox_file
from edge.mqtt.outbox.tables import SCHEMA
from tests.fakes.clock import FakeClock
from tests.fakes.disk import FragileDisk, Loss, PowerCut
from tests.fakes.outbox import EVENT, Opens, long_event, opens, payload, stored

FORMAT_1 = """
    BEGIN IMMEDIATE;
    CREATE TABLE event (
        seq INTEGER PRIMARY KEY, stored_s REAL NOT NULL, payload BLOB NOT NULL, crc INTEGER NOT NULL);
    CREATE TABLE counter (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE time (id INTEGER PRIMARY KEY, outbox_s REAL NOT NULL, stamp BLOB NOT NULL);
    INSERT INTO counter VALUES ('seq', 0), ('depth', 0), ('bytes', 0), ('dropped', 0);
    CREATE TRIGGER stored AFTER INSERT ON event BEGIN
        UPDATE counter SET value = value + 1 WHERE name = 'depth';
        UPDATE counter SET value = value + length(NEW.payload) WHERE name = 'bytes'; END;
    CREATE TRIGGER gone AFTER DELETE ON event BEGIN
        UPDATE counter SET value = value - 1 WHERE name = 'depth';
        UPDATE counter SET value = value - length(OLD.payload) WHERE name = 'bytes'; END;
    PRAGMA user_version = 1;
    COMMIT;
"""


def of_format_1(path: Path) -> None:
    """What the first version leaves when it is killed: events 3 to 20 of 20, its log beside it, 5 were dropped."""
    path.parent.mkdir()
    working = sqlite3.connect(path.with_name("working"), isolation_level=None)
    working.execute("PRAGMA journal_mode = WAL")
    working.executescript(FORMAT_1)
    for seq in range(1, 21):
        working.execute("INSERT INTO event VALUES (?, 1e9, ?, ?)", (seq, payload(seq), zlib.crc32(payload(seq))))
    working.execute("DELETE FROM event WHERE seq < 3")
    working.execute("UPDATE counter SET value = 20 WHERE name = 'seq'")
    working.execute("UPDATE counter SET value = 5 WHERE name = 'dropped'")
    working.execute("INSERT INTO time VALUES (0, 1e9, ?)", (b"{}",))
    for suffix in ("", "-wal"):
        shutil.copy(path.with_name(f"working{suffix}"), path.with_name(path.name + suffix))
    working.close()
    path.with_name("working").unlink()


def damaged(path: Path) -> None:
    """What a kill leaves on a disk that forgot a page of events: 200 of 500, and five more in the log."""
    box = opens(path.with_name("working") / path.name, FakeClock())(synchronous="off")
    box.append([long_event(90)] * 500)
    with contextlib.closing(sqlite3.connect(path.with_name("working") / path.name)) as other:
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    box.append([EVENT] * 5)
    path.parent.mkdir(exist_ok=True)
    for suffix in ("", "-wal"):
        shutil.copy(path.with_name("working") / (path.name + suffix), path.with_name(path.name + suffix))
    box.close()
    shutil.rmtree(path.with_name("working"))
    raw = bytearray(path.read_bytes())
    at = raw.index(payload(300, 90)) // 4096 * 4096
    raw[at : at + 4096] = bytes(4096)
    path.write_bytes(raw)


def test_an_outbox_of_the_first_format_is_taken_over_whole(
    path: Path, reopen: Opens, caplog: pytest.LogCaptureFixture
) -> None:
    of_format_1(path)
    caplog.set_level("INFO")
    box = reopen()
    assert "is converted to format 2; older versions refuse it from now on" in caplog.text
    assert [(event.seq, event.payload) for event in box.batch(0, 99)] == [(n, payload(n)) for n in range(3, 21)]
    assert (box.depth, box.dropped, box.set_aside, box.on_disk) == (18, 5, 0, True)
    assert box.append([EVENT]) == [21]
    box.close()
    assert {part.name for part in path.parent.iterdir()} == {path.name, f"{path.name}.lock"}
    box = reopen()
    assert stored(box) == list(range(3, 22))
    box.close()


def test_empty_outbox_of_the_first_format_keeps_its_last_number(path: Path, reopen: Opens) -> None:
    of_format_1(path)
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("DELETE FROM event")
    database.close()
    box = reopen()
    assert (box.append([EVENT]), box.depth, box.set_aside) == ([21], 1, 0)
    box.close()


@pytest.mark.parametrize("loss", ["nothing", "everything"])
@pytest.mark.parametrize("old", [of_format_1, damaged])
def test_a_repair_that_is_cut_off_at_any_step_loses_nothing(
    old: Callable[[Path], None], loss: Loss, tmp_path: Path, clock: FakeClock
) -> None:
    original = tmp_path / "original" / "outbox.sqlite"
    old(original)
    whole = tmp_path / "whole" / "outbox.sqlite"
    shutil.copytree(original.parent, whole.parent)
    disk = FragileDisk()
    box = opens(whole, clock)(files=disk)
    expected = (stored(box), box.dropped, box.append([EVENT]))
    assert len(expected[0]) > 10
    box.close()
    disk.lose("nothing")
    assert [what for what, _ in disk.steps][:3] == ["sync", "rename", "sync"], "on the disk before it is renamed"
    for cut_at in range(len(disk.steps)):
        path = tmp_path / f"cut {cut_at}" / "outbox.sqlite"
        shutil.copytree(original.parent, path.parent)
        fragile = FragileDisk(cut_at=cut_at)
        with pytest.raises(PowerCut):
            opens(path, clock)(files=fragile)
        fragile.lose(loss)
        box = opens(path, clock)()
        assert (stored(box), box.dropped, box.append([EVENT])) == expected, disk.steps[cut_at]
        box.close()
        left = {part.name for part in path.parent.iterdir() if ".damaged-" not in part.name}
        assert left == {"outbox.sqlite", "outbox.sqlite.lock"}


def test_a_new_database_that_was_never_finished_is_made_again(path: Path, reopen: Opens) -> None:
    of_format_1(path)
    path.with_name("outbox.sqlite.building").write_bytes(b"half of it" * 1000)
    box = reopen()
    assert (len(stored(box)), box.append([EVENT])) == (18, [21])
    box.close()


class Full(Files):
    """A disk that takes nothing more while it is full."""

    full = True

    def sync(self, path: Path) -> None:
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        super().sync(path)


class FullLater(Full):
    """A disk that takes the new database, and not its last name."""

    def sync(self, path: Path) -> None:
        Files.sync(self, path)

    def rename(self, old: Path, new: Path) -> None:
        if self.full and old.suffix == ".new":
            raise OSError(errno.ENOSPC, "No space left on device")
        super().rename(old, new)


@pytest.mark.parametrize("full_for", ["SQLite", "the kernel", "the last name"])
@pytest.mark.parametrize("old", [of_format_1, damaged])
def test_what_was_saved_waits_in_memory_where_the_disk_is_full(
    old: Callable[[Path], None],
    full_for: str,
    path: Path,
    clock: FakeClock,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    old(path)
    whole = path.with_name("whole") / path.name
    shutil.copytree(path.parent, whole.parent)
    box = opens(whole, clock)()
    expected, lost = stored(box), box.dropped
    last = box.append([EVENT])[0] - 1
    box.close()

    disk = FullLater() if full_for == "the last name" else Full()
    disk.full = full_for != "SQLite"
    if full_for == "SQLite":
        few_pages = SCHEMA.replace("BEGIN IMMEDIATE;", "PRAGMA max_page_count = 3; BEGIN IMMEDIATE;")
        monkeypatch.setattr(outbox_file, "SCHEMA", few_pages)
    box = opens(path, clock)(files=disk)
    assert (stored(box), box.dropped, box.on_disk) == (expected, lost, False)
    assert box.append([EVENT]) == [last + 1]
    assert "the disk is full" in caplog.text
    monkeypatch.undo()
    disk.full = False
    clock.pass_time(61)
    assert (stored(box), box.dropped, box.on_disk) == ([*expected, last + 1], lost, True)
    box.close()
    box = opens(path, clock)()
    assert (stored(box), box.append([EVENT])) == ([*expected, last + 1], [last + 2])
    box.close()


def test_damage_on_a_full_disk_keeps_what_is_readable_in_memory(path: Path, reopen: Opens, clock: FakeClock) -> None:
    disk = Full()
    disk.full = False
    box = reopen(files=disk)
    box.append([EVENT] * 3)
    disk.full = True
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("UPDATE event SET payload = x'00' WHERE seq = 2")
    database.close()
    assert (stored(box), box.on_disk, box.dropped) == ([1, 3], False, 1)
    assert box.append([EVENT]) == [4]
    disk.full = False
    clock.pass_time(61)
    assert (stored(box), box.on_disk, box.dropped, box.set_aside) == ([1, 3, 4], True, 1, 1)
    box.close()
